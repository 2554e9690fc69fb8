"""The gate opens at the threshold, not a hair below it, and says why it stays shut."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamctl.model.gate import judge

MEASURED = {"value": 0.95, "low": 0.90, "high": 0.97}
SHARE = st.floats(0, 1)


@pytest.mark.parametrize(
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
    assert judge(MEASURED, threshold, mode).passed is passed


def test_a_shut_gate_says_what_was_measured_and_what_was_asked():
    assert judge(MEASURED, 0.99, "point").reason == "test accuracy 0.95 is below --accuracy-threshold 0.99"
    assert judge(MEASURED, 0.93, "lower-bound").reason == (
        "the lower bound of test accuracy 0.9 is below --accuracy-threshold 0.93"
    )


def test_an_open_gate_has_nothing_to_explain():
    assert judge(MEASURED, 0.7, "point").reason == ""


@pytest.mark.parametrize("mode", ["point", "lower-bound"])
def test_a_measurement_that_is_no_number_does_not_pass(mode):
    assert not judge({"value": math.nan, "low": math.nan, "high": math.nan}, 0.0, mode).passed


@given(SHARE, SHARE, SHARE)
def test_the_lower_bound_is_never_the_easier_gate(a, b, threshold):
    measured = {"low": min(a, b), "value": max(a, b), "high": 1.0}
    assert judge(measured, threshold, "point").passed >= judge(measured, threshold, "lower-bound").passed


def test_a_gate_is_told_as_plain_values():
    assert judge(MEASURED, 0.7, "point").as_dict() == {
        "threshold": 0.7,
        "mode": "point",
        "accuracy": 0.95,
        "low": 0.90,
        "passed": True,
        "reason": "",
    }


def test_a_miss_by_a_hair_is_not_rounded_away():
    reason = judge({"value": 0.99999, "low": 0.99, "high": 1.0}, 1.0, "point").reason
    assert reason == "test accuracy 0.99999 is below --accuracy-threshold 1"
