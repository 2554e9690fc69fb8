"""A demonstration tells its story in figures, on a page and in a table, whatever its parts are called."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from spamctl.reports import demo
from spamctl.reports.demo import Act
from spamctl.schema.monitor import Check
from spamctl.schema.rates import Interval
from tests.hostile import PAYLOADS
from tests.monitored import DRIFTED, check, span, told
from tests.reports.test_cards import calm_title


def watch(title, accuracy, drift, verdict):
    rates = {"accuracy": accuracy, "recall": accuracy - 0.1, "false_positive_rate": 1 - accuracy}
    spans = {name: span(value, 0.02) for name, value in rates.items()}
    checks = [check("drift", verdict, "the words moved", "spamctl train")]
    result = DRIFTED | {"quality": DRIFTED["quality"] | spans, "checks": checks, "drift_score": drift}
    return Act(f"Monitor: {title}", "spamctl monitor", verdict, 9.4, told(result))


@pytest.fixture
def acts():
    return [
        Act("Train a filter", "spamctl train", "version 1", 170.2),
        watch("clean messages", 0.985, 0.7, "ok"),
        watch("drifted messages", 0.81, 3.1, "failed"),
        watch("drifted messages again", 0.97, 1.4, "failed"),
    ]


def test_the_sentence_has_three_rates_at_each_watch(acts):
    assert demo.sentence(acts) == (
        "Accuracy: 0.985 before drift, 0.810 under drift, 0.970 after retraining "
        "(recall 0.885 → 0.710 → 0.870, false-positive rate 0.015 → 0.190 → 0.030)"
    )


@pytest.mark.parametrize(
    ("rate", "value", "good"),
    [
        ("recall", 0.7, False),
        ("recall", None, True),
        ("recall", 0.72, True),
        ("false_positive_rate", 0.2, False),
    ],
)
def test_a_rate_that_fell_is_no_good_end_though_accuracy_rose(acts, rate, value, good):
    last = acts[-1].monitored
    quality = replace(last.quality, **{rate: None if value is None else Interval(value, value, value)})
    acts[-1] = replace(acts[-1], monitored=replace(last, quality=quality))
    assert demo.is_good(acts) is good
    assert ('class="verdict good"' in demo.page(acts, [])) is good
    assert value is not None or "→ n/a" in demo.sentence(acts)


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_has_every_act_and_the_page(acts, width):
    out = io.StringIO()
    demo.show(acts, 301.7, "demo/reports/index.html", Console(file=out, width=width, force_terminal=False))
    printed = out.getvalue()
    assert all(act.title.split()[0] in printed for act in acts)
    assert "302 s in all; nothing is left running" in printed
    assert printed.rstrip().endswith("Next: open demo/reports/index.html")
    assert max(map(len, printed.splitlines())) <= width


def test_an_act_is_announced_with_what_one_would_type(acts):
    out = io.StringIO()
    demo.announce(2, acts[1].title, acts[1].command, Console(file=out, width=80))
    assert out.getvalue().split("\n")[1:3] == ["━━ 2. Monitor: clean messages", "   $ spamctl monitor"]


def test_the_page_links_every_card_and_runs_no_payload(acts):
    hostile = [Act(payload, payload, payload, 1.0) for payload in PAYLOADS]
    html = demo.page([*hostile, *acts], [Path("reports/cards/train-1-evaluation.html")])
    assert 'href="cards/train-1-evaluation.html"' in html
    assert "<script" not in html.lower()
    assert "<img src=x" not in html
    assert html.count("data:image/png;base64,") == 1


@pytest.mark.parametrize("name", ["my notes.html", "a&b.html", ".hidden.html", "été.html"])
def test_a_file_that_another_program_left_among_the_cards_is_passed_over(acts, name):
    html = demo.page(acts, [Path("reports", name), Path("reports/cards/train-1-evaluation.html")])
    assert html.count("<a href=") == 1


@pytest.mark.browser
@pytest.mark.slow
def test_hostile_words_in_every_act_run_nothing_and_ask_for_nothing(visit, acts, tmp_path):
    checks = tuple(Check(payload, payload, payload, payload) for payload in PAYLOADS)
    hostile = [Act(payload, payload, payload, 1.0) for payload in PAYLOADS]
    everything = "".join(PAYLOADS)
    watches = [  # whose titles are the demonstration's own, and are drawn
        replace(act, command=everything, figure=everything, monitored=replace(act.monitored, checks=checks))
        for act in acts[1:]
    ]
    html = demo.page([*hostile, *watches], [Path("reports/cards/train-1-evaluation.html")])
    assert calm_title(visit, tmp_path / "index.html", html) == "The life of a spam filter"
