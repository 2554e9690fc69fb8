"""Recall and false-positive rate are compared apart, paired, and what few rows cannot tell is said."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamctl.metrics.comparison import doubts, rates, sentence, worse

BUDGET = 0.005
VERDICTS = st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=120)


def compared(spam, good, what="test messages"):
    """Compare verdicts given as counts: (rows, called by the new version, called by the old one), fewest in common."""
    truth, new, old = [], [], []
    for is_spam, (rows, ours, theirs) in ((True, spam), (False, good)):
        truth += [is_spam] * rows
        new += [True] * ours + [False] * (rows - ours)
        old += [True] * theirs + [False] * (rows - theirs)
    return rates(truth, new, old, what)


def test_a_recall_that_fell_is_worse_though_accuracy_rose():
    found = compared((100, 70, 85), (100, 5, 26))
    (fault,) = worse(found, 0.3)
    assert fault.startswith("recall 0.8500 to 0.7000 on 100 spam test messages, credibly lower (difference -15.00%")
    assert sentence(found) == "recall 0.8500 to 0.7000, false-positive rate 0.2600 to 0.0500"


def test_false_alarms_that_rose_are_worse_though_accuracy_rose():
    (fault,) = worse(compared((100, 90, 60), (800, 12, 2)), 1.0)
    assert fault.startswith("false-positive rate 0.0025 to 0.0150 on 800 good test messages, credibly higher")


@pytest.mark.parametrize(("ours", "told"), [(5, False), (6, True)])
def test_credible_is_what_the_exact_test_of_mcnemar_finds_in_one_of_twenty(ours, told):
    found = compared((50, 50, 50), (800, ours, 0))
    assert bool(list(worse(found, 1.0))) is told is (found.false_positive_rate.p_value < 0.05)


def test_above_the_budget_is_worse_unless_the_champion_is_so_too_and_no_better():
    (fault,) = worse(compared((50, 50, 50), (800, 14, 10)), BUDGET)
    assert "0.0175 is credibly above its budget 0.005 (95 % interval 0.0105 to 0.0292)" in fault
    better = compared((50, 50, 50), (800, 10, 40))
    assert list(worse(better, BUDGET)) == []
    assert "credibly above its budget 0.005" in next(doubts(better, BUDGET))


def test_what_looks_worse_and_may_be_chance_is_said():
    found = compared((45, 33, 36), (800, 6, 4))
    assert list(worse(found, BUDGET)) == []
    recall, alarms = doubts(found, BUDGET)
    assert recall.startswith("recall 0.8000 to 0.7333 on 45 spam test messages: too few to tell whether it is worse")
    assert alarms.startswith("false-positive rate 0.0050 to 0.0075 on 800 good test messages: too few to tell whether")


def test_a_rate_over_its_budget_that_few_rows_cannot_prove_is_said():
    (told,) = doubts(compared((50, 50, 50), (800, 6, 6)), BUDGET)
    assert told.startswith("false-positive rate 0.0075 of 800 good test messages, over its budget 0.005: too few to")


@pytest.mark.parametrize(("spam", "good", "told"), [(19, 800, "19 spam"), (50, 19, "19 good"), (0, 800, "0 spam")])
def test_a_class_of_hardly_any_row_is_said(spam, good, told):
    (words,) = doubts(compared((spam, spam, spam), (good, 0, 0), "recent messages"), BUDGET)
    assert words.startswith(f"{told} recent messages are too few to tell the ")


def test_equals_leave_nothing_to_say():
    found = compared((50, 50, 50), (800, 0, 0))
    assert [*worse(found, BUDGET), *doubts(found, BUDGET)] == []


@given(VERDICTS)
def test_changing_sides_changes_the_sign_and_no_row_is_no_knowledge(rows):
    truth, new, old = (np.array([row[column] for row in rows], dtype=bool) for column in range(3))
    one, other = rates(truth, new, old, "rows"), rates(truth, old, new, "rows")
    for name in ("recall", "false_positive_rate"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert mine.difference.low == pytest.approx(-theirs.difference.high)
        assert mine.difference.value == pytest.approx(mine.challenger.value - mine.champion.value)
        if not mine.rows:
            assert (mine.difference.low, mine.difference.high) == (-1, 1)
    assert not (any("recall" in fault for fault in worse(one, 1)) and any("recall" in f for f in worse(other, 1)))
