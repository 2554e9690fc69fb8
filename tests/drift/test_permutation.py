"""Counts over deals give what the textbook's formula gives for each deal."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import wasserstein_distance

from spamctl.drift.hypothesis_tests import mean_discrepancy, permute, share_gap, wasserstein

VALUES = arrays.arrays(
    np.float64, st.integers(4, 40), elements=st.floats(-100, 100, allow_subnormal=False).map(lambda x: round(x, 3))
)


def dealt(rows, current=None, replicates=5, seed=0, apart=None):
    is_current = np.arange(rows) >= (rows // 2 if current is None else rows - current)
    return permute(is_current, replicates, np.random.default_rng(seed), apart)


@given(VALUES)
def test_the_distance_is_scipys_over_the_deviation_of_the_reference(values):
    deals = dealt(values.size)
    found = wasserstein(values, deals)
    for column, distance in zip(deals.current.T.astype(bool), found, strict=True):
        reference, current = values[~column], values[column]
        expected = wasserstein_distance(reference, current) / max(reference.std(), 0.001)
        assert distance == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(VALUES, st.randoms(use_true_random=False))
def test_the_order_of_rows_within_a_side_changes_no_distance(values, lots):
    order = list(range(values.size // 2))
    lots.shuffle(order)
    moved = np.concatenate([values[order], values[values.size // 2 :]])
    deals = dealt(values.size, replicates=0)
    assert wasserstein(moved, deals) == pytest.approx(wasserstein(values, deals), abs=1e-8)


def test_the_first_deal_happened_and_the_others_keep_its_sizes():
    apart = np.arange(50) % 5 == 0
    deals = dealt(50, current=20, replicates=100, apart=apart)
    assert deals.observed.tolist() == [False] * 30 + [True] * 20
    assert (deals.current.sum(axis=0) == 20).all()
    assert (deals.among(apart).current.sum(axis=0) == 4).all()
    assert len({column.tobytes() for column in deals.current.T}) == 101


def test_each_row_is_current_as_often_as_another():
    deals = dealt(40, current=10, replicates=4000)
    assert deals.current[:, 1:].mean(axis=1) == pytest.approx(0.25, abs=0.035)  # five standard errors


def test_a_gap_of_shares_counts_only_whom_it_is_asked_about():
    hits, among = np.array([1, 0, 0, 1, 1, 1]), np.array([1, 1, 0, 0, 1, 1])
    deals = dealt(6, replicates=0)
    assert share_gap(hits, deals)[0] == pytest.approx(1 - 1 / 3)
    assert share_gap(hits, deals, among=among)[0] == pytest.approx(1 - 1 / 2)
    assert share_gap(hits, deals, among=np.array([0, 0, 0, 1, 1, 1]))[0] == 0


def test_the_discrepancy_of_a_linear_kernel_is_the_squared_distance_of_means():
    rows = np.random.default_rng(1).normal(size=(30, 4))
    deals = dealt(30, replicates=20)
    expected = [
        ((rows[column].mean(axis=0) - rows[~column].mean(axis=0)) ** 2).sum() for column in deals.current.T.astype(bool)
    ]
    assert mean_discrepancy((rows @ rows.T).astype(np.float32), deals) == pytest.approx(expected, abs=1e-5)


def test_a_constant_column_and_a_constant_kernel_are_no_distance_in_any_deal():
    deals = dealt(12)
    assert (wasserstein(np.full(12, 0.1), deals) == 0).all()
    assert (mean_discrepancy(np.full((12, 12), 0.7, np.float32), deals) == 0).all()
