"""The gate opens at the threshold, not a hair below it, never for what is no filter, and says why it stays shut."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamctl.metrics.scores import METRICS
from spamctl.metrics.scores import score as scored
from spamctl.registry.promotion import apply_gate
from spamctl.schema.codec import from_json, to_json
from spamctl.schema.rates import Score
from tests.each import each

MEASURED = {"value": 0.95, "low": 0.90, "high": 0.97}
SHARE = st.floats(0, 1)


def score(accuracy=MEASURED, area=(0.9, 0.99), hits=10, right=95, spam=12, rows=100):
    """Return a test score of `rows` rows, whose other metrics nobody looks at."""
    low, high = area
    counts = {"true_positives": hits, "false_negatives": spam - hits, "true_negatives": right - hits}
    counts["false_positives"] = rows - spam - counts["true_negatives"]
    areas = {"value": (low + high) / 2, "low": low, "high": high}
    metrics = dict.fromkeys(METRICS, MEASURED) | {"accuracy": accuracy, "roc_auc": areas}
    told = {"rows": rows, "threshold": 0.5, "confusion": counts, "metrics": metrics, "notes": []}
    return from_json(Score, told)


@each(
    ("threshold", "mode", "passed"),
    [
        (0.95, "point", True),
        (math.nextafter(0.95, 1), "point", False),
        (0.90, "lower-bound", True),
        (math.nextafter(0.90, 1), "lower-bound", False),
        (0.95, "lower-bound", False),
        (0.0, "point", True),
        (1.0, "point", False),
    ],
)
def test_the_threshold_itself_passes(threshold, mode, passed):
    assert apply_gate(score(), threshold, mode).passed is passed


def test_a_shut_gate_says_what_was_measured_and_what_was_asked():
    assert apply_gate(score(), 0.99, "point").reason == "test accuracy 0.95 is below --accuracy-threshold 0.99"
    assert apply_gate(score(), 0.93, "lower-bound").reason == (
        "the lower bound of test accuracy 0.9 is below --accuracy-threshold 0.93"
    )


def test_an_open_gate_has_nothing_to_explain():
    assert apply_gate(score(), 0.7, "point").reason == ""


@pytest.mark.parametrize("mode", ["point", "lower-bound"])
def test_a_measurement_that_is_no_number_does_not_pass(mode):
    assert not apply_gate(score({"value": math.nan, "low": math.nan, "high": math.nan}), 0.0, mode).passed
    assert not apply_gate(score(area=(math.nan, math.nan)), 0.0, mode).passed


@given(SHARE, SHARE, SHARE)
def test_the_lower_bound_is_never_the_easier_gate(a, b, threshold):
    measured = score({"low": min(a, b), "value": max(a, b), "high": 1.0})
    assert apply_gate(measured, threshold, "point").passed >= apply_gate(measured, threshold, "lower-bound").passed


def test_a_gate_is_told_as_plain_values():
    assert to_json(apply_gate(score(), 0.7, "point")) == {
        "threshold": 0.7,
        "mode": "point",
        "accuracy": 0.95,
        "low": 0.90,
        "majority": 0.88,
        "passed": True,
        "reason": "",
    }


def test_a_miss_by_a_hair_is_not_rounded_away():
    reason = apply_gate(score({"value": 0.99999, "low": 0.99, "high": 1.0}), 1.0, "point").reason
    assert reason == "test accuracy 0.99999 is below --accuracy-threshold 1"


@each(
    ("given", "told"),
    [
        ({"hits": 0, "right": 88}, "it catches none of 12 spam test messages (recall 0)"),
        ({"right": 88}, "right on 88 of 100 test messages, and calling every message not spam is right on 88"),
        ({"spam": 60, "hits": 60, "right": 60}, "calling every message spam is right on 60"),
        ({"area": (0.42, 0.58)}, "ROC AUC 0.5000, 95 % interval 0.4200 to 0.5800, and 0.5 is chance"),
        ({"area": (0.5, 0.6)}, "no better than chance"),
        ({"area": (0.3, 0.4)}, "no better than chance"),
    ],
)
@each("mode", ["point", "lower-bound"])
def test_what_is_no_filter_does_not_pass_whatever_the_threshold(given, told, mode):
    gate = apply_gate(score(**given), 0.0, mode)
    assert not gate.passed
    assert told in gate.reason
    assert "\n" not in gate.reason


@pytest.mark.parametrize("given", [{"right": 89}, {"hits": 1, "right": 89}, {"area": (math.nextafter(0.5, 1), 0.6)}])
def test_a_filter_that_is_barely_one_passes(given):
    assert apply_gate(score(**given), 0.0, "point").passed


def test_never_spam_is_refused_as_it_was_once_crowned():
    truth = np.arange(925) < 115
    probabilities = np.random.default_rng(0).uniform(0, 0.3, truth.size)
    gate = apply_gate(scored(truth, probabilities, 0.5), 0.7, "point")
    assert gate.accuracy == gate.majority > 0.87
    for told in ("catches none of 115", "no better than chance", "calling every message not spam is right on 810"):
        assert told in gate.reason
