"""The estimate is right while its assumption holds, and says when it does not."""

from dataclasses import replace

import numpy as np
import pytest

from spamctl.drift import quality
from spamctl.drift.hypothesis_tests import feature_kernel
from tests.drift.made_samples import messages, sample


@pytest.mark.slow
def test_calibrated_probabilities_promise_what_labels_then_say():
    draws = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        p = draws.beta(0.3, 0.6, size=150)
        rows = replace(sample(messages(150, 0)), probabilities=p, called_spam=p >= 0.5)
        right = ((draws.random(150) < p) == (p >= 0.5)).mean()
        found = quality.estimate_accuracy(rows, np.random.default_rng(trial))
        assert found.value == pytest.approx(np.maximum(p, 1 - p).mean())
        covered += found.low <= right <= found.high
    assert covered >= 180


def share_outside(seed, shift=0.0):
    rows = np.random.default_rng(seed).normal(size=(300, 5))
    rows[200:] += shift
    return quality.share_outside_support(feature_kernel(rows), np.arange(300) >= 200)


def test_fresh_rows_are_rarely_said_to_leave_the_support():
    found = [share_outside(seed) for seed in range(200)]
    assert np.mean([one.share for one in found]) == pytest.approx(found[0].expected, abs=0.004)
    assert np.mean([one.p_value <= quality.DOUBT for one in found]) <= 0.03


def test_rows_elsewhere_are_outside():
    found = share_outside(0, shift=4.0)
    assert found.share > 0.9
    assert found.p_value < 1e-6


def test_too_few_rows_tell_nothing():
    kernel = np.ones((6, 6), np.float32)
    assert quality.share_outside_support(kernel, np.arange(6) >= 5) is None
    assert quality.share_outside_support(kernel, np.zeros(6, bool)) is None


def test_rows_that_are_all_alike_are_inside():
    found = quality.share_outside_support(np.ones((40, 40), np.float32), np.arange(40) >= 20)
    assert (found.share, found.p_value) == (0, 1)
