"""A window is judged whole: calm, drifted, unlabelled, small, odd, and always as plain values."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest

from spamctl.drift import hypothesis_tests
from spamctl.drift.hypothesis_tests import run_tests
from spamctl.drift.verdict import JudgementConfig, judge
from spamctl.errors import DataError
from spamctl.schema.codec import to_json
from spamctl.schema.monitor import Judgement
from tests.drift.made_samples import bare, messages, sample
from tests.ticks import last

PLAN = JudgementConfig(replicates=300)
NOWHERE = {"causes"}  # where text may stand


def judged(reference, current, plan=PLAN):
    """Judge, and return the answer as JSON carries it."""
    found = last(judge(reference, current, plan))
    assert isinstance(found, Judgement)
    return json.loads(json.dumps(to_json(found), allow_nan=False))


def check(found, name):
    return next(one for one in found["checks"] if one["name"] == name)


@pytest.fixture(scope="module")
def reference():
    return sample(messages(300, 0), width=4, labels="test part")


def test_a_calm_window_without_labels_is_ok(reference):
    found = judged(reference, sample(messages(150, 1), seed=1, width=4, labels=""))
    assert found["verdict"] == "ok"
    assert [one["name"] for one in found["checks"]] == ["volume", "inputs", "outputs", "quality", "estimate", "repeats"]
    assert all(one["advice"] == "" for one in found["checks"])
    assert "no message of the window has a trusted label" in check(found, "quality")["sentence"]
    assert check(found, "quality")["status"] == "not done"
    assert found["quality"] is None
    assert found["drift_score"] < 1
    assert found["estimate"]["trustworthy"]
    assert {one["kind"] for one in found["tests"]} == {"input", "output"}


def test_drift_is_named_with_what_to_do_next(reference):
    found = judged(reference, sample(messages(150, 1, share=0.8), seed=1, width=4, shift=2.0))
    assert found["verdict"] == "failed"
    assert check(found, "inputs")["status"] == check(found, "outputs")["status"] == "failed"
    assert "share called spam 30.0% → 80.0%" in check(found, "outputs")["sentence"]
    assert "spamctl label" in check(found, "inputs")["advice"]
    assert found["drift_score"] > 1
    assert not found["estimate"]["trustworthy"]
    assert found["domain_classifier"]["auc"] > found["domain_classifier"]["threshold"]
    by_name = {one["name"]: one for one in found["tests"]}
    assert by_name["features"]["alarm"]
    assert by_name["text"]["alarm"]


def test_worse_verdicts_alarm_though_messages_are_the_same(reference):
    found = judged(reference, sample(messages(200, 1), seed=1, width=4, wrong=0.15))
    assert check(found, "quality")["status"] == "failed"
    assert "accuracy 100.0% → 8" in check(found, "quality")["sentence"]
    assert {one["name"] for one in found["tests"] if one["alarm"] and one["kind"] == "quality"} == {
        "accuracy",
        "false_positive_rate",
    }


def test_better_verdicts_never_alarm():
    found = judged(sample(messages(200, 0), wrong=0.3), sample(messages(200, 1), seed=1))
    assert not any(one["alarm"] for one in found["tests"] if one["kind"] == "quality")


def test_simulated_labels_are_agreement_and_ring_no_alarm(reference):
    found = judged(reference, sample(messages(100, 1), seed=1, wrong=0.3, labels="simulated", width=4))
    assert found["quality"] is None
    assert found["simulated"]["rows"] == 100
    assert not any(one["kind"] == "quality" for one in found["tests"])


def test_labels_of_doubtful_rows_are_said_to_be_no_random_sample(reference):
    rows = sample(messages(200, 1), seed=1, width=4)
    doubtful = set(np.argsort(np.abs(rows.probabilities - 0.5))[:40])
    labels = [label if row in doubtful else "" for row, label in enumerate(rows.truth)]
    found = judged(reference, replace(rows, truth=labels))
    assert check(found, "quality")["status"] == found["verdict"] == "warning"
    assert "not a random sample" in check(found, "quality")["sentence"]
    assert not any(one["kind"] == "quality" for one in found["tests"])


def test_a_random_sample_of_rows_that_repeat_is_not_said_to_be_none(reference):
    rows = sample(messages(60, 1), seed=1, width=4)
    often = np.argsort(np.abs(rows.probabilities - 0.5))[:20]  # the most doubtful stand there ten times each
    rows = rows.take(np.concatenate([np.arange(60), np.repeat(often, 9)]))
    said = []
    for seed in range(10):
        drawn = set(np.random.default_rng(seed).permutation(len(rows))[:60])
        labels = [label if row in drawn else "" for row, label in enumerate(rows.truth)]
        said.append(check(judged(reference, replace(rows, truth=labels)), "quality")["sentence"])
    assert not any("not a random sample" in sentence for sentence in said)


@pytest.mark.parametrize("rows", [1, 2, 29])
def test_a_small_window_is_too_few_to_tell(reference, rows):
    found = judged(reference, sample(messages(rows, 1, share=1.0), seed=1, width=4))
    assert found["verdict"] == "warning"
    assert check(found, "volume")["sentence"].startswith("too few messages")
    assert not {"inputs", "outputs"} & {one["name"] for one in found["checks"]}
    assert found["tests"] == []
    assert found["drift_score"] is None
    assert found["quality"]["rows"] == rows


def test_repeats_are_no_drift_and_no_volume(reference):
    calm = messages(100, 1)
    often = sample([calm[0]] * 300 + calm, seed=1, width=4, labels="")
    found = judged(reference, often)
    assert check(found, "inputs")["status"] == check(found, "outputs")["status"] == "ok"
    assert check(found, "repeats")["status"] == "warning"
    assert found["data"]["current"] | {"length_median": 0} == {
        "rows": 400,
        "distinct": 100,
        "repeated": 300,
        "empty": 0,
        "length_median": 0,
        "odd_unicode_share": 0,
        "scripts": {"Latin": 1},
    }
    assert check(judged(reference, sample([calm[0]] * 300)), "volume")["status"] == "warning"


def test_of_near_duplicates_the_one_with_a_label_counts(reference):
    once = sample(messages(60, 1), seed=1, width=4)
    twice = once.take([*range(60), *range(60)])
    found = judged(reference, replace(twice, truth=[""] * 60 + list(once.truth)))
    assert {one["rows"] for one in found["tests"] if one["kind"] == "quality"} == {60}


def test_a_small_reference_is_too_few_too():
    found = judged(sample(messages(20, 0)), sample(messages(100, 1)))
    assert "test part" in check(found, "volume")["sentence"]


@pytest.mark.parametrize("side", [0, 1])
def test_no_row_at_all_is_refused(reference, side):
    sides = [reference, reference]
    sides[side] = reference.take([])
    with pytest.raises(DataError, match="no message"):
        last(judge(*sides, PLAN))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_one_class_is_judged(reference, share):
    one_class = sample(messages(100, 1, share=share), seed=1, width=4)
    assert judged(reference, one_class)["verdict"] == "failed"
    assert judged(one_class, one_class)["verdict"] == "ok"


@pytest.mark.parametrize(
    "texts",
    [
        [""] * 100,
        ["   "] * 100,
        ["the same"] * 100,
        ["\x00" * row for row in range(100)],
        ["\ud800" + "x" * row for row in range(100)],
        ["🎉" * row for row in range(100)],
        ["</script><script>alert(1)</script>" + "'" * row for row in range(100)],
    ],
    ids=["empty", "blank", "identical", "NUL", "surrogates", "pictures", "markup"],
)
def test_texts_of_every_kind_are_judged(reference, texts):
    odd = bare(texts)
    for sides in ((reference, odd), (odd, reference), (odd, odd)):
        found = last(judge(*sides, PLAN))
        assert found.verdict in {"ok", "warning", "failed"}
        words = json.dumps({key: value for key, value in to_json(found).items() if key not in NOWHERE})
        assert "script>" not in words


def test_the_order_of_rows_and_the_hour_change_nothing(reference):
    current = sample(messages(120, 1), seed=1, width=4, versions=("1", "2"))
    order = list(range(120))
    random.Random(0).shuffle(order)
    assert judged(reference, current) == judged(reference.take(order + list(range(120, 300))), current.take(order))
    assert judged(reference, current) == judged(reference, current)


def test_features_of_another_width_are_not_compared(reference):
    for width in (0, 3):
        found = judged(reference, sample(messages(100, 1), seed=1, width=width))
        assert "features" not in {one["name"] for one in found["tests"]}
        assert found["estimate"]["outside_support"] is not None


def test_large_sides_are_compared_in_part_and_it_is_said(monkeypatch, reference):
    monkeypatch.setattr(hypothesis_tests, "MOST_OF_A_SIDE", 60)
    found = judged(reference, sample(messages(200, 1), seed=1, width=4))
    by_name = {one["name"]: one for one in found["tests"]}
    assert by_name["text"]["rows"] == by_name["features"]["rows"] == 60
    assert by_name["length"]["rows"] == 200
    assert found["verdict"] == "ok"


@pytest.mark.slow
def test_a_calm_window_rings_as_rarely_as_was_asked_for():
    rows = messages(400, 0)
    rings = 0
    for seed in range(100):
        random.Random(seed).shuffle(rows)
        sides = sample(rows[:300], seed=seed, wrong=0.05), sample(rows[300:], seed=seed + 1, wrong=0.05)
        rng = np.random.default_rng(seed)
        pooled = hypothesis_tests.pool_samples(*sides, 99, rng)
        rings += any(one.alarm for one in run_tests(pooled, hypothesis_tests.quality_nulls(*sides, 99, rng), 0.05))
    assert 1 <= rings <= 13  # of 100 at 5 %: fewer has a chance of 0.6 %, more of 0.05 %


def test_of_a_large_window_quality_is_measured_on_all_labels_that_were_drawn(reference):
    window = sample(messages(200, seed=8))
    labelled = window.take(window.trusted)
    unlabelled = replace(window, truth=[""] * len(window), label_sources=[""] * len(window))
    assert last(judge(reference, unlabelled, PLAN)).quality is None
    found = last(judge(reference, unlabelled, PLAN, labelled))
    assert found.quality.rows == len(labelled) == 200
    assert to_json(found.quality) == judged(reference, window)["quality"]
    assert found.verdict == "ok"
