"""Hold the champion's rule to ties, to antisymmetry, and to McNemar's textbook p-value."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamctl.errors import DataError
from spamctl.metrics.comparison import compare
from tests.each import each

TRIPLES = st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=200)


def verdicts(both_right, gained, lost, both_wrong):
    """Return truth, challenger and champion with these counts of rows that each gets right."""
    new = [True] * (both_right + gained) + [False] * (lost + both_wrong)
    old = [True] * both_right + [False] * gained + [True] * lost + [False] * both_wrong
    return [True] * len(new), new, old


@each(("gained", "lost", "not_worse"), [(0, 0, True), (3, 3, True), (4, 3, True), (3, 4, False)])
def test_an_equal_is_not_worse(gained, lost, not_worse):
    found = compare(*verdicts(90, gained, lost, 5))
    assert found.not_worse is not_worse
    assert (found.only_challenger_right, found.only_champion_right) == (gained, lost)


@each(
    ("gained", "lost", "p_value"),
    [(0, 0, 1.0), (0, 5, 0.0625), (0, 6, 0.03125), (1, 9, 22 / 1024), (5, 5, 1.0)],  # twice a binomial tail
)
def test_chance_is_told_by_the_exact_mcnemar_test(gained, lost, p_value):
    assert compare(*verdicts(100, gained, lost, 0)).p_value == pytest.approx(p_value)


def test_the_interval_is_that_of_bonett_and_price():
    found = compare(*verdicts(80, 12, 4, 4)).accuracy_difference
    up, down = 13 / 102, 5 / 102
    reach = 1.959964 * ((up + down - (up - down) ** 2) / 102) ** 0.5
    assert found.value == pytest.approx(0.08)
    assert (found.low, found.high) == pytest.approx((up - down - reach, up - down + reach), abs=1e-6)


def test_twins_leave_doubt():
    found = compare(*verdicts(900, 0, 0, 4)).accuracy_difference
    assert -0.005 < found.low < 0 < found.high < 0.005


@given(TRIPLES)
def test_changing_sides_changes_the_sign(rows):
    truth, new, old = zip(*rows, strict=True)
    one, other = compare(truth, new, old), compare(truth, old, new)
    assert one.not_worse or other.not_worse
    assert one.p_value == pytest.approx(other.p_value)
    assert one.accuracy_difference.value == -other.accuracy_difference.value
    assert one.accuracy_difference.low == pytest.approx(-other.accuracy_difference.high)


@given(TRIPLES)
def test_the_interval_holds_the_difference_of_accuracies(rows):
    truth, new, old = map(np.array, zip(*rows, strict=True))
    found = compare(truth, new, old)
    difference = found.accuracy_difference
    assert difference.value == pytest.approx(np.mean(new == truth) - np.mean(old == truth))
    assert -1 <= difference.low <= difference.value <= difference.high <= 1
    assert found.not_worse is bool(np.mean(new == truth) >= np.mean(old == truth))


@pytest.mark.parametrize(
    ("gained", "lost", "words"),
    [(2, 0, "right on 2 more of 102 test messages than"), (1, 1, "as many of 102"), (0, 2, "2 fewer of 102")],
)
def test_the_reason_reads_as_a_sentence(gained, lost, words):
    found = compare(*verdicts(100, gained, lost, 0))
    assert words in found.reason
    assert "\n" not in found.reason
    assert json.loads(json.dumps(asdict(found)))["reason"] == found.reason


@pytest.mark.parametrize(("gained", "words"), [(0, "p = 1.000)"), (10, "p = 0.002)"), (44, "p < 0.001)")])
def test_no_chance_is_told_as_none_at_all(gained, words):
    assert compare(*verdicts(100, gained, 0, 0)).reason.endswith(words)


def test_the_rows_are_called_what_they_are():
    assert "1 more of 11 recent messages than" in compare(*verdicts(10, 1, 0, 0), "recent messages").reason


@pytest.mark.parametrize("rows", [([], [], []), ([1], [1, 0], [1]), ([1, 0], [1, 0], [1])])
def test_rows_that_cannot_be_paired_are_refused(rows):
    with pytest.raises(DataError, match="same test rows"):
        compare(*rows)
