"""A family of tests rings as often as was asked for, and an alarm is where a statistic reaches its threshold."""

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamctl.drift.hypothesis_tests import judge_family

RATE = 0.05


def correlated(tests, deals, rng, correlation):
    """Draw statistics (tests, deals) that share a part."""
    shared = rng.normal(size=deals)
    return np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * rng.normal(size=(tests, deals))


def family(drawn):
    return judge_family({str(row): values for row, values in enumerate(drawn)}, RATE)


@given(st.integers(1, 6), st.integers(19, 199), st.integers(0, 2**32), st.sampled_from([0, 1, 3]), st.floats(0, 4))
def test_an_alarm_is_a_statistic_at_its_threshold_and_a_low_adjusted_p(tests, deals, seed, digits, shift):
    drawn = correlated(tests, deals + 1, np.random.default_rng(seed), 0.5).round(digits)
    drawn[: tests // 2, 0] += shift
    for one in family(drawn).values():
        assert one.alarm == (one.adjusted_p <= RATE) == (one.statistic >= one.threshold)
        assert one.p_value <= one.adjusted_p <= 1
        assert one.p_value <= one.holm_p <= 1


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.95])
def test_any_false_alarm_at_all_is_as_frequent_as_was_asked_for(correlation):
    rng = np.random.default_rng(5)
    rings, holm = [], []
    for _ in range(1000):
        found = family(correlated(10, 200, rng, correlation)).values()
        rings.append(any(one.alarm for one in found))
        holm.append(any(one.holm_p <= RATE for one in found))
    error = NormalDist().inv_cdf(0.999) * np.sqrt(RATE * (1 - RATE) / 1000)
    assert np.mean(rings) <= RATE + error
    assert np.mean(rings) >= np.mean(holm)
    if correlation > 0.9:  # where p-values are many and the tests few, exactly so
        assert np.mean(rings) >= RATE - error


def test_steps_down_find_more_than_one_step_would():
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(8, 2000))
    drawn[:7, 0] = 10.0
    drawn[7, 0] = np.quantile(drawn[7, 1:], 0.96)
    found = family(drawn)
    assert all(one.alarm for one in found.values())
    assert found["7"].p_value * 8 > RATE


def test_a_test_that_cannot_differ_never_rings_and_spoils_no_other():
    drawn = np.random.default_rng(0).normal(size=(2, 1000))
    drawn[0], drawn[1, 0] = 0.0, 9.0
    found = family(drawn)
    assert not found["0"].alarm
    assert found["0"].threshold > 0
    assert found["1"].alarm


def test_too_few_deals_never_ring():
    drawn = np.random.default_rng(0).normal(size=(1, 10))
    drawn[0, 0] = 99.0
    found = family(drawn)["0"]
    assert not found.alarm
    assert found.threshold >= 2 * found.statistic  # nor does it look close to one
