"""The cards of a run tell the verdict first, then everything that supports it."""

import re
from dataclasses import replace

import pytest

from spamctl.reports import train_cards
from spamctl.schema.evaluation import Mistake, Slice
from spamctl.schema.rates import Interval
from spamctl.schema.train import BlockScore
from tests.reports.conftest import BASELINE, score
from tests.reports.test_feedback import COMPARISON, TOLD

SLICES = [Slice("with a URL", 56, 50, Interval(0.98, 0.8954, 0.9965), None)]
MISTAKES = [Mistake("Call <b>me</b>\u202e", "spam", 0.0123)]
PLOTS = {"confusion_matrix": b"\x89PNG"}
BLOCKS = [BlockScore(block, 0.2 / block, 0.01, 0.9 + block / 100) for block in (1, 2)]


def words(page):
    """Return what a reader reads, in reading order."""
    text = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text)).strip()


def evaluation(summary, mistakes=MISTAKES):
    return train_cards.evaluation_page(summary, plots=PLOTS, slices=SLICES, mistakes=mistakes)


def test_the_verdict_comes_first_then_the_proof(result):
    text = words(evaluation(result()))
    order = [
        "Registered as spam version 3, now the champion",
        "Scores on 908 held-out test messages",
        "accuracy 0.9956 0.9887–0.9983 0.9857 0.9757–0.9916",
        "The linear baseline is better on precision and false-positive rate.",
        "Pictures",
        "with a URL 56 50 0.9800 0.8954–0.9965 n/a",
        "spam 0.0123 Call &lt;b&gt;me&lt;/b&gt;\\u202e",
        "smollm2-135m, block 9 of 30",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_the_better_score_is_bold(result):
    page = evaluation(result())
    assert '<td class="number"><strong>0.9956</strong></td><td class="faint">0.9887' in page
    assert "<strong>1.0000</strong>" in page
    assert "<strong>0.0123</strong>" not in page


def test_a_fallback_and_a_better_baseline_stand_above_the_scores(result):
    better = BASELINE | {"accuracy": score(0.9999, 0.99, 1.0)}
    summary = result(fallback=True, registered=False, reason="too few", baseline=better)
    text = words(evaluation(summary)).partition("Scores on")[0]
    assert "Not registered: too few" in text
    assert "FALLBACK: the base model asked for was not available" in text
    assert "The linear baseline is more accurate than this model." in text


def test_no_mistake_is_said_in_words(result):
    assert "Every test message got the right verdict." in words(evaluation(result(), mistakes=[]))


def test_depth_marks_the_chosen_block_and_explains_the_rule():
    text = words(train_cards.depth_page(b"PNG", scores=BLOCKS, chosen=2, floor=1, of=9, base_model="tiny"))
    assert "tiny: 2 of 9 blocks are kept" in text
    assert "2 (chosen) 0.9200 0.1000 0.0100" in text
    assert "1 0.9100 0.2000 0.0100" in text


def test_a_depth_that_was_asked_for_is_told_as_such():
    text = words(train_cards.fixed_depth_page(3, 12, base_model="tiny"))
    assert "tiny: 3 of 12 blocks are kept" in text
    assert "no block was scored" in text


@pytest.mark.browser
@pytest.mark.slow
def test_hostile_words_everywhere_run_nothing_and_ask_for_nothing(visit, result, payloads, tmp_path):
    everything = "".join(payloads)
    slices = [replace(SLICES[0], name=payload) for payload in payloads]
    mistakes = [Mistake(payload, payload, 0.5) for payload in payloads]
    data = replace(result().data, origin=everything)
    summary = result(
        base_model=everything, model_name=everything, engine=everything, data=data, fallback=True, tune=everything
    )
    page = train_cards.evaluation_page(summary, plots={everything: b"\x89PNG"}, slices=slices, mistakes=mistakes)
    assert calm_title(visit, tmp_path / "card.html", page).startswith("Registered as ")


def calm_title(visit, path, page):
    """Return the title of a page that runs nothing and asks for nothing."""
    path.write_text(page, encoding="utf-8")
    seen = visit(path)
    assert seen.dom.count("<script") == 0
    assert seen.asked == []
    title = re.search(r"<title>(.*?)</title>", seen.dom, re.DOTALL)[1]
    assert title != "RAN"
    return title


@pytest.mark.browser
@pytest.mark.slow
def test_hostile_words_from_feedback_run_nothing_and_ask_for_nothing(visit, result, payloads, tmp_path):
    everything = "".join(payloads)
    rows = [dict.fromkeys(("uuid", "label", "source"), payload) | {"probability": 0.5} for payload in payloads]
    told = TOLD | {
        "store": everything,
        "sources": dict.fromkeys(payloads, 1),
        "left_out": dict.fromkeys(payloads, 1),
        "passed_over": dict.fromkeys(payloads, 2),
        "set_aside": rows,
        "newest": everything,
    }
    beside = COMPARISON | {"champion": everything}
    summary = result(alias="challenger", reason=everything, feedback=told, comparison=beside, notes=payloads)
    page = train_cards.evaluation_page(summary, plots={}, slices=[], mistakes=[])
    assert "Comparison with the champion" in page
    assert "doubtful labels, excluded" in page
    assert calm_title(visit, tmp_path / "card.html", page).startswith("Registered as ")


@pytest.mark.browser
@pytest.mark.slow
def test_a_hostile_base_model_runs_nothing_on_the_cards_of_its_depth(visit, payloads, tmp_path):
    everything = "".join(payloads)
    chosen = train_cards.depth_page(b"\x89PNG", scores=BLOCKS, chosen=2, floor=1, of=4, base_model=everything)
    for page in (chosen, train_cards.fixed_depth_page(3, 12, base_model=everything)):
        assert calm_title(visit, tmp_path / "card.html", page).endswith("blocks are kept")
