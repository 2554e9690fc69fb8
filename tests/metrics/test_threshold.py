"""Hold the threshold to its budget, its place between two scores, and the honesty of its notes."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spamctl.engine.calibration import logit
from spamctl.errors import DataError, NothingLearntError
from spamctl.metrics.scores import choose_threshold, curve, upper_bound
from spamctl.schema.codec import to_json
from tests.each import each

PROBABILITIES = st.lists(st.floats(0.001, 0.999), min_size=1, max_size=40)
BUDGETS = st.floats(0, 1, exclude_max=True)


def parts(spam, rest):
    """Return truth and probabilities of the scores of spam and of the rest."""
    return [True] * len(spam) + [False] * len(rest), [*spam, *rest]


def test_it_stands_midway_in_logits_between_the_two_scores_it_parts():
    found = choose_threshold(*parts([0.9, 0.99], [0.1, 0.05]), 0.0)
    assert found.threshold == pytest.approx(0.5)
    assert logit(found.threshold) - logit(0.1) == pytest.approx(logit(0.9) - logit(found.threshold))


def test_a_budget_buys_recall():
    rest = [0.8, 0.6, 0.3, *[0.01] * 17]
    spam = [0.95, 0.7, 0.5, 0.2]
    recalls = [choose_threshold(*parts(spam, rest), budget).recall.value for budget in (0.0, 0.05, 0.10, 0.15)]
    assert recalls == [0.25, 0.5, 0.75, 1.0]


def test_a_budget_is_not_spent_for_nothing():
    found = choose_threshold(*parts([0.9, 0.8], [0.3, 0.2, 0.1, 0.05]), 0.5)
    assert found.false_positives == 0
    assert found.recall.value == 1
    assert 0.3 < found.threshold < 0.8


@given(PROBABILITIES, PROBABILITIES, BUDGETS)
def test_no_other_threshold_within_the_budget_catches_more_or_alarms_less(spam, rest, budget):
    found = choose_threshold(*parts(spam, rest), budget)
    spam, rest = np.array(spam), np.array(rest)
    assert np.mean(rest >= found.threshold) <= budget + 1e-9
    for other in {*spam, *rest}:
        recall, alarms = np.mean(spam >= other), np.mean(rest >= other)
        if alarms <= budget:
            assert recall <= found.recall.value
            assert recall < found.recall.value or alarms >= found.false_positive_rate.value


@example([0.5], [0.5, 0.25], 0.5, 0.9999999999999999)
@given(PROBABILITIES, PROBABILITIES, BUDGETS, BUDGETS)
def test_a_larger_budget_never_raises_the_threshold(spam, rest, one, other):
    small, large = (choose_threshold(*parts(spam, rest), budget) for budget in sorted([one, other]))
    assert large.threshold <= small.threshold
    assert large.recall.value >= small.recall.value


@given(PROBABILITIES, PROBABILITIES, BUDGETS)
def test_what_it_reports_is_what_the_rule_does(spam, rest, budget):
    found = choose_threshold(*parts(spam, rest), budget)
    alarms = np.mean(np.array(rest) >= found.threshold)
    assert 0 < found.threshold <= 1
    assert found.recall.value == np.mean(np.array(spam) >= found.threshold)
    assert found.false_positive_rate.value == alarms == found.false_positives / len(rest)
    assert alarms <= found.false_positive_rate_upper <= found.false_positive_rate.high


@each(("budget", "rows", "allowed"), [(0.29, 100, 29), (0.005, 400, 2), (0.005, 399, 1), (0.1, 30, 3), (0.0, 50, 0)])
def test_the_budget_counts_whole_messages_without_rounding_faults(budget, rows, allowed):
    rest = np.linspace(0.5, 0.6, rows)
    spam = np.append(rest + 1e-6, 0.99)  # a spam row just above each of the rest: all of the budget is worth spending
    assert choose_threshold(*parts(spam, rest), budget).false_positives == allowed


@each(
    ("hits", "rows", "bound"),
    [(0, 100, 1 - 0.05 ** (1 / 100)), (0, 20, 0.1391), (1, 10, 0.3942), (5, 5, 1.0)],  # Clopper & Pearson's tables
)
def test_the_upper_bound_is_the_textbook_one(hits, rows, bound):
    assert upper_bound(hits, rows) == pytest.approx(bound, abs=1e-4)


def test_neighbouring_floats_are_parted_too():
    low = 0.25
    found = choose_threshold(*parts([np.nextafter(low, 1)], [low]), 0.0)
    assert (found.recall.value, found.false_positives) == (1, 0)


def test_a_budget_of_less_than_one_message_is_said():
    assert "less than one of 4" in choose_threshold(*parts([0.9], [0.1] * 4), 0.005).notes[0]
    assert choose_threshold(*parts([0.9], [0.1] * 200), 0.005).notes == ()


def test_a_model_that_catches_nothing_within_the_budget_is_said():
    found = choose_threshold(*parts([0.2, 0.3], [0.1, 0.6]), 0.0)
    assert found.threshold == pytest.approx(0.8)  # midway between the highest score and 1
    assert found.recall.value == found.false_positives == 0
    assert "nothing will be called spam" in found.notes[-1]


@each(
    ("truth", "p", "budget", "words"),
    [
        ([True, True], [0.1, 0.2], 0.1, "2 spam and 0 not spam"),
        ([True, False], [0.9, 0.1], 1.0, "1 excluded, got 1.0"),
        ([True, False], [0.9, 0.1], -0.1, "got -0.1"),
        ([True, False], [0.9, 0.1], float("nan"), "got nan"),
        ([True, False], [0.9, float("nan")], 0.1, "not finite"),
    ],
)
def test_what_cannot_be_parted_is_refused(truth, p, budget, words):
    with pytest.raises(DataError, match=words):
        choose_threshold(truth, p, budget)


def test_a_model_that_no_threshold_parts_is_the_answer_no():
    with pytest.raises(NothingLearntError, match=r"not spam scores 1\.0"):
        choose_threshold([True, False], [1.0, 1.0], 0.0)


def test_the_point_is_plain_json():
    told = json.loads(json.dumps(to_json(choose_threshold(*parts([0.9], [0.1]), 0.005)), allow_nan=False))
    assert told["threshold"] == pytest.approx(0.5)
    assert told["recall"]["value"] == 1
    assert len(told["notes"]) == 1


def test_the_curve_of_a_case_done_by_hand():
    found = curve(*parts([0.9, 0.4], [0.6, 0.1]))
    assert found.thresholds[1:] == (0.9, 0.6, 0.4, 0.1)
    assert found.false_positive_rates == (0, 0, 0.5, 0.5, 1)
    assert found.recalls == (0, 0.5, 0.5, 1, 1)
    json.dumps(asdict(found), allow_nan=False)


@given(PROBABILITIES, PROBABILITIES)
def test_each_point_of_the_curve_is_what_its_threshold_does(spam, rest):
    found = curve(*parts(spam, rest))
    for threshold, rate, recall in zip(*asdict(found).values(), strict=True):
        assert np.mean(np.array(rest) >= threshold) == rate
        assert np.mean(np.array(spam) >= threshold) == recall
