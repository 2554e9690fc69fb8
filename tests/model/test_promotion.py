"""After feedback a version leads only if it forgot nothing and is better at what is new, and says why."""

import pytest

from spamctl.model.champion import compare
from spamctl.model.promotion import judge, scores
from tests.model.test_champion import verdicts


def decision(gained, lost, rows=100, what="rows"):
    return compare(*verdicts(rows - gained - lost, gained, lost, 0), what)


EQUAL, BETTER = decision(0, 0, 900, "test messages"), decision(9, 2, 100, "recent messages")


def test_better_on_what_is_new_and_no_worse_on_the_old_leads():
    promoted, reason = judge(EQUAL, BETTER, 100, 0.0)
    assert promoted
    assert reason.startswith("right on 7 more of 100 recent messages than the champion")
    assert "McNemar p = 0.065" in reason
    assert "on the frozen test part right on as many of 900 test messages" in reason


@pytest.mark.parametrize(("lost", "promoted"), [(0, True), (9, True), (10, False), (90, False)])
def test_a_point_may_be_lost_on_the_frozen_part_and_not_more(lost, promoted):
    found, reason = judge(decision(0, lost, 900), BETTER, 100, 0.0)
    assert found is promoted
    assert promoted or reason.startswith(f"worse by more than a point on the frozen test part: right on {lost} fewer")


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (4, 4), (3, 5)])
def test_as_good_as_the_champion_is_not_better(gained, lost):
    promoted, reason = judge(EQUAL, decision(gained, lost), 100, 0.0)
    assert not promoted
    assert reason.startswith("not better on what is new: right on ")


@pytest.mark.parametrize(("rows", "promoted"), [(19, False), (20, True)])
def test_few_recent_rows_prove_nothing(rows, promoted):
    found, reason = judge(EQUAL, decision(5, 0, rows), rows, 0.0)
    assert found is promoted
    assert promoted or reason.startswith("19 labelled messages were held out as recent, and fewer than 20")


def test_no_recent_row_proves_nothing():
    assert judge(EQUAL, None, 0, 0.0)[0] is False


@pytest.mark.parametrize(("doubt", "promoted"), [(0.1, True), (0.11, False)])
def test_doubtful_labels_prove_nothing(doubt, promoted):
    found, reason = judge(EQUAL, BETTER, 100, doubt)
    assert found is promoted
    assert promoted or reason.startswith("11% of the labels are doubtful")


def test_scores_are_shares_of_all_of_spam_and_of_the_rest():
    found = scores([True, True, False, False, False], [True, False, True, False, False])
    values = {name: score["value"] for name, score in found.items()}
    assert values == {"accuracy": 0.6, "recall": 0.5, "false_positive_rate": pytest.approx(1 / 3)}
    assert all(score["low"] <= score["value"] <= score["high"] for score in found.values())
