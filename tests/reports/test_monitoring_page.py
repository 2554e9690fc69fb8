"""The card of a monitoring: verdict and trend first, details behind, and links only to what lies beside."""

import dataclasses
import re

import pytest

from spamctl.drift.verdict import JudgementConfig, judge
from spamctl.reports.monitor_page import KeptRun, index, page
from spamctl.reports.monitor_plots import monitoring_plots
from spamctl.schema.codec import to_json
from tests.drift.moving_samples import made
from tests.hostile import PAYLOADS
from tests.monitored import CALM, DRIFTED, EVERY, TOO_FEW, hostile, told
from tests.reports.test_cards import words
from tests.reports.test_monitoring import shown
from tests.reports.test_page import Outline
from tests.ticks import last

PLOTS = dict.fromkeys(("drift_trend", "quality_trend", "tests", "probabilities", "words"), b"\x89PNG")


def test_verdict_and_trend_come_first_and_facts_last():
    card = page(told(DRIFTED), PLOTS)
    text = words(card)
    order = [
        "FAILED: accuracy fell",
        "SIMULATED LABELS: 100 labels were simulated",
        "What to type next: spamctl label --export labelled.csv",
        "Trend",
        "Checks",
        "✘ failed drift messages have changed",
        "Tests",
        "currency input 0.1 0.12 2.31 0.005 412 ALARM",
        "AUC of 0.7100",
        "accuracy 0.9400 0.9100–0.9700 0.9712 0.9602–0.9822",
        "Labels: 200 rows",
        "Quality by version",
        "Quality by family",
        "What changed",
        "4 words and phrases, spam side",
        "parcel courier, unpaid +9.1 4.00 % 0.10 %",
        "1 message nearest to the change, spam side",
        "0.4200 Your parcel is held at the depot",
        "source api 412 100.00 % 2.31",
        "median length 61 104",
        "sha256 9f2c9f2c9f2c: 908 messages, 122 spam",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    images = [re.search(r'alt="([^"]*)"', tag)[1] for tag in re.findall(r"<img[^>]*>", card)]
    assert images == ["drift trend", "quality trend", "tests", "probabilities", "words"]


@pytest.mark.parametrize(("result", "kind"), [(DRIFTED, "bad"), (CALM, "good"), (TOO_FEW, "fair")], ids=EVERY)
def test_the_verdict_has_its_colour(result, kind):
    assert f'<h1 class="verdict {kind}">{result["verdict"].upper()}: ' in page(told(result), {})


def test_a_card_alone_links_to_nothing_and_one_in_a_folder_to_what_lies_beside():
    assert "<a " not in page(told(DRIFTED), PLOTS)
    beside = Outline(page(told(DRIFTED), {}, ["drift.html", "tests.csv"]))
    assert beside.addresses == ["drift.html", "tests.csv", "../index.html"]
    assert "Drift, by Evidently" in beside.words


def test_the_list_names_each_run_with_its_verdict_the_given_order_kept():
    runs = [
        KeptRun(result["run_id"], f"2026-03-{day}T10:00:00", told(result))
        for day, result in zip((12, 11, 10), EVERY.values(), strict=True)
    ]
    text = words(index([*runs, KeptRun("old", "", fault="cannot be read: <b>")]))
    order = [
        "Newest run: FAILED: accuracy fell",
        "4 runs kept here",
        "2026-03-12 10:00 17 ✘ failed 415 2.31 24.03 % 0.9400 0.8182 0.0128 3",
        "2026-03-11 10:00 18 ✔ ok 415 0.5",
        "2026-03-10 10:00 19 ! warning 415 n/a 15.40 % not measured 3",
        "old cannot be read: &lt;b&gt;",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert Outline(index(runs)).addresses == ["17/index.html", "18/index.html", "19/index.html"]


def test_a_list_without_runs_is_a_list():
    assert "0 runs kept here" in words(index([]))


@pytest.mark.parametrize(("rows", "moved"), [(12, 0.0), (60, 0.0), pytest.param(60, 1.0, marks=pytest.mark.slow)])
def test_what_the_judge_says_can_be_shown(moved, rows):
    reference, current = made(80), made(rows, seed=1, moved=moved, labelled=0.5)
    judgement = to_json(last(judge(reference, current, JudgementConfig(replicates=100))))
    result = DRIFTED | judgement
    text = shown(result)
    assert f"{judgement['verdict'].upper()}: " in text
    plots = monitoring_plots(told(result), reference.probabilities.tolist(), current.probabilities.tolist())
    card = words(page(told(result), plots))
    for each in judgement["checks"]:
        assert each["sentence"].replace("'", "&#x27;") in card
    assert ("ALARM" in text) == any(test["alarm"] for test in judgement["tests"])


def test_a_judgement_of_one_class_or_no_label_can_be_shown():
    current = made(60, seed=1)
    for truth in (["spam"] * 60, ["not spam"] * 60, [""] * 60):
        judgement = to_json(
            last(judge(made(60), dataclasses.replace(current, truth=truth), JudgementConfig(replicates=100)))
        )
        assert "Quality" in words(page(told(DRIFTED | judgement), {}))
        assert "accuracy" in shown(DRIFTED | judgement)


@pytest.mark.browser
@pytest.mark.slow
def test_hostile_words_everywhere_run_nothing_and_ask_for_nothing(visit, tmp_path):
    result = told(hostile(PAYLOADS))
    plots = monitoring_plots(result, [0.1, 0.9], [0.2, 0.8])
    runs = [KeptRun("1", "".join(PAYLOADS), result)]
    runs += [KeptRun(payload, payload, fault=payload) for payload in PAYLOADS]
    for name, made_page in {"card": page(result, plots, ["drift.html"]), "list": index(runs)}.items():
        path = tmp_path / f"{name}.html"
        path.write_text(made_page, encoding="utf-8")
        seen = visit(path)
        assert "<title>RAN" not in seen.dom
        assert seen.dom.count("<script") == 0
        assert seen.dom.count("onerror=") == made_page.count("onerror=")
        assert seen.asked == []
