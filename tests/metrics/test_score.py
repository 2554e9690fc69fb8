"""Hold every metric and its interval to textbook values, to scikit-learn, and to their bounds."""

import json
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from spamctl.errors import DataError
from spamctl.metrics import scores as scoring
from spamctl.metrics.scores import METRICS, proportion, score
from spamctl.schema.codec import from_json, to_json
from spamctl.schema.rates import Confusion, Interval, Score
from tests.each import each

ROWS = st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9, 1.0])), max_size=30)
BOTH = [(True, 0.5), (True, 0.9), (False, 0.1), (False, 0.5)]


def sample(rows=1000, seed=0):
    """Return truth and probabilities of a fair classifier, with ties across the classes."""
    rng = np.random.default_rng(seed)
    truth = np.arange(rows) % 5 == 0  # a test part is stratified
    return truth, np.round(np.clip(rng.normal(np.where(truth, 0.7, 0.2), 0.2), 0, 1), 2)


@each(
    ("hits", "rows", "method", "low", "high"),
    [
        (81, 263, "wilson", 0.2553, 0.3662),  # Newcombe (1998), table I, method 3
        (15, 148, "wilson", 0.0624, 0.1605),
        (0, 20, "wilson", 0.0000, 0.1611),
        (1, 29, "wilson", 0.0061, 0.1718),
        (81, 263, "exact", 0.2527, 0.3676),  # the same table, method 5
        (15, 148, "exact", 0.0578, 0.1617),
        (0, 20, "exact", 0.0000, 0.1684),
        (1, 29, "exact", 0.0009, 0.1776),
    ],
)
def test_proportions_have_the_textbook_interval(hits, rows, method, low, high):
    found = proportion(hits, rows, method)
    assert found.value == hits / rows
    assert (found.low, found.high) == pytest.approx((low, high), abs=6e-5)


def test_no_row_tells_nothing():
    assert proportion(0, 0) == Interval(value=0.0, low=0.0, high=1.0)


@given(st.integers(1, 500).flatmap(lambda rows: st.tuples(st.integers(0, rows), st.just(rows))))
def test_an_interval_holds_its_value_and_more_rows_narrow_it(case):
    hits, rows = case
    few, many = proportion(hits, rows), proportion(10 * hits, 10 * rows)
    assert 0 <= few.low <= few.value <= few.high <= 1
    assert many.high - many.low < few.high - few.low


def test_metrics_agree_with_scikit_learn():
    truth, p = sample()
    called, found = p >= 0.5, score(truth, p, 0.5, resamples=20).metrics
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(truth, called),
        "precision": sklearn_metrics.precision_score(truth, called),
        "recall": sklearn_metrics.recall_score(truth, called),
        "f1": sklearn_metrics.f1_score(truth, called),
        "mcc": sklearn_metrics.matthews_corrcoef(truth, called),
        "roc_auc": sklearn_metrics.roc_auc_score(truth, p),
        "pr_auc": sklearn_metrics.average_precision_score(truth, p),
        "false_positive_rate": 1 - sklearn_metrics.recall_score(~truth, ~called),
        "brier": sklearn_metrics.brier_score_loss(truth, p),
    }
    assert {name: getattr(found, name).value for name in expected} == pytest.approx(expected)
    assert tuple(to_json(found)) == METRICS


def test_a_case_done_by_hand():
    found = score([True, True, True, False, False, False, False, False], [0.9, 0.6, 0.2, 0.7, 0.1, 0.1, 0.1, 0.1], 0.5)
    assert found.confusion == Confusion(true_positives=2, false_positives=1, false_negatives=1, true_negatives=4)
    assert found.metrics.accuracy.value == 6 / 8
    assert found.metrics.f1.value == pytest.approx(4 / 6)
    assert found.metrics.mcc.value == pytest.approx((2 * 4 - 1 * 1) / 15)
    assert found.metrics.roc_auc.value == pytest.approx((5 + 4 + 4) / 15)
    assert found.metrics.pr_auc.value == pytest.approx((1 / 1 + 2 / 3 + 3 / 4) / 3)
    assert found.notes == ()


def test_the_threshold_itself_is_spam():
    assert score([True, True, False, False], [0.5, 0.5, 0.5, 0.4], 0.5).confusion.false_positives == 1


@given(ROWS)
def test_areas_of_any_rows_agree_with_scikit_learn(pairs):
    truth, p = map(np.array, zip(*BOTH, *pairs, strict=True))
    assert scoring.roc_auc(p[truth], p[~truth]) == pytest.approx(sklearn_metrics.roc_auc_score(truth, p))
    assert scoring.average_precision(p[truth], p[~truth]) == pytest.approx(
        sklearn_metrics.average_precision_score(truth, p)
    )
    assert scoring.matthews(p[truth] >= 0.5, p[~truth] >= 0.5) == pytest.approx(
        sklearn_metrics.matthews_corrcoef(truth, p >= 0.5)
    )


def test_a_batch_of_resamples_scores_each_alone():
    rng = np.random.default_rng(0)
    spam, rest = rng.random((6, 5)).round(1), rng.random((6, 9)).round(1)
    for measure in (scoring.roc_auc, scoring.average_precision):
        alone = [measure(*pair) for pair in zip(spam, rest, strict=True)]
        assert measure(spam, rest) == pytest.approx(np.array(alone))


@given(ROWS, st.floats(0, 1))
def test_every_interval_is_finite_and_holds_its_value(pairs, threshold):
    truth, p = zip(*BOTH, *pairs, strict=True)
    metrics = score(truth, p, threshold, resamples=15).metrics
    for name in METRICS:
        found = getattr(metrics, name)
        assert (-1 if name == "mcc" else 0) <= found.low <= found.value <= found.high <= 1


@pytest.mark.slow
def test_intervals_hold_the_truth_about_as_often_as_they_say():
    population = score(*sample(200_000, seed=100), 0.5, resamples=2).metrics
    parts = [score(*sample(400, seed), 0.5, resamples=200).metrics for seed in range(60)]
    for name in METRICS:
        value, found = getattr(population, name).value, [getattr(part, name) for part in parts]
        hits = sum(one.low <= value <= one.high for one in found)
        assert hits >= 51, name  # of 60 at 95 %: fewer has a chance of 1 in 1,300


def test_a_seed_settles_the_resamples():
    truth, p = sample(100)
    first, again, other = (score(truth, p, 0.5, resamples=50, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.metrics.roc_auc != other.metrics.roc_auc
    assert first.metrics.accuracy == other.metrics.accuracy


def test_a_score_survives_json():
    kept = score(*sample(60), 0.95, resamples=20)
    told = json.dumps(to_json(kept), allow_nan=False)
    assert from_json(Score, json.loads(told)) == kept


def test_nothing_called_spam_is_said_and_shown_as_zero():
    found = score([True, True, False, False], [0.2, 0.3, 0.1, 0.2], 0.9, resamples=20)
    assert found.metrics.precision == Interval(value=0.0, low=0.0, high=1.0)
    assert found.metrics.f1.value == found.metrics.mcc.value == 0
    assert "no message was called spam" in found.notes[0]


def test_everything_called_spam_is_said():
    found = score([True, True, False, False], [0.2, 0.3, 0.1, 0.2], 0.05, resamples=20)
    assert found.metrics.mcc.value == 0
    assert "every message was called spam" in found.notes[0]


def test_a_perfect_score_still_admits_doubt_in_its_proportions():
    found = score([True] * 10 + [False] * 30, [0.9] * 10 + [0.1] * 30, 0.5).metrics
    assert all(
        getattr(found, name).value == 1
        for name in ("accuracy", "precision", "recall", "f1", "mcc", "roc_auc", "pr_auc")
    )
    assert all(getattr(found, name).low < 0.92 for name in ("accuracy", "precision", "recall", "f1"))
    assert found.false_positive_rate.high > 0.1


def test_an_interval_without_width_is_said():
    parted = ([True] * 10 + [False] * 30, [0.9] * 10 + [0.1] * 30)
    right, late = score(*parted, 0.5), score(*parted, 0.95)
    assert right.metrics.roc_auc == right.metrics.mcc == Interval(1.0, 1.0, 1.0)
    assert [note.split(":")[0] for note in right.notes] == ["spam outranks all the rest", "no verdict was wrong"]
    assert [note.split(":")[0] for note in late.notes] == ["no message was called spam", "spam outranks all the rest"]


@each(
    ("truth", "p", "words"),
    [
        ([True] * 4, [0.5] * 4, "4 spam and 0 not spam"),
        ([True, False, False], [0.5] * 3, "two of each"),
        ([True, True, False, False], [0.5, 0.5, 0.5, 1.5], "must lie in 0 to 1"),
        ([True, True, False, False], [0.5, 0.5, 0.5, np.inf], "not finite"),
    ],
)
def test_rows_that_cannot_be_scored_are_refused(truth, p, words):
    with pytest.raises(DataError, match=words):
        score(truth, p, 0.5)


def test_a_thousand_rows_and_resamples_take_less_than_two_seconds():
    truth, p = sample(1000)
    start = time.process_time()
    score(truth, p, 0.5)
    assert time.process_time() - start < 2
