"""After feedback a version leads only if it forgot nothing and is better at what is new, and says why."""

from dataclasses import replace

import pytest

from spamctl.data.feedback import FOREIGN
from spamctl.metrics.comparison import error_rates
from spamctl.registry import registration
from spamctl.registry.promotion import Evidence, Part, judge, unmeasured
from spamctl.schema.codec import to_json
from spamctl.schema.message import SPAM
from spamctl.schema.train import Side
from tests.each import each
from tests.metrics.test_champion import verdicts

RECENT = registration.TestRows(["text"] * 100, [True] * 100, [True] * 100)
EVIDENCE = Evidence(registration.TestRows([], [], []), RECENT, 0.0, 0.005)


def part(gained, lost, rows=100, what="rows"):
    """Return a part of spam and as many good messages, all verdicts on which are right in both versions."""
    truth, new, old = verdicts(rows - gained - lost, gained, lost, 0)
    good = [False] * 100
    return Part.of(registration.TestRows(["text"] * (rows + 100), truth + good, new + good), old + good, what)


EQUAL, BETTER = part(0, 0, 800, "test messages"), part(9, 2, 100, "recent messages")


def leads(test=EQUAL, recent=BETTER, evidence=EVIDENCE, unknown=""):
    return judge({"test": test, **({"recent": recent} if recent else {})}, evidence, unknown)


def of(rows):
    """Return evidence with so many recent rows."""
    return replace(EVIDENCE, recent=registration.TestRows(["text"] * rows, [True] * rows, [True] * rows))


def test_better_on_what_is_new_and_no_worse_on_the_old_leads():
    promoted, reason = leads()
    assert promoted
    assert reason.startswith("right on 7 more of 200 recent messages than the champion")
    assert "McNemar p = 0.065" in reason
    assert "recall 0.9100 to 0.9800, false-positive rate 0.0000 to 0.0000" in reason
    assert "on the frozen test part right on as many of 900 test messages" in reason


@each(("lost", "promoted"), [(0, True), (5, True), (10, False), (90, False)])
def test_a_point_may_be_lost_on_the_frozen_part_and_not_more(lost, promoted):
    found, reason = leads(part(0, lost, 800))
    assert found is promoted
    assert promoted or reason.startswith(f"worse by more than a point on the frozen test part: right on {lost} fewer")


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (4, 4), (3, 5)])
def test_as_good_as_the_champion_is_not_better(gained, lost):
    promoted, reason = leads(recent=part(gained, lost))
    assert not promoted
    assert reason.startswith("not better on what is new: right on ")


def mixed(spam, good):
    """Return a part by (rows, called by the new version, called by the champion) of spam and of good messages."""
    called = [[place < count for rows, *counts in (spam, good) for place in range(rows)
               for count in [counts[version]]] for version in (0, 1)]  # fmt: skip
    truth = [True] * spam[0] + [False] * good[0]
    return Part.of(registration.TestRows(["text"] * len(truth), truth, called[0]), called[1], "recent messages")


def test_fewer_false_alarms_do_not_pay_for_missed_spam():
    promoted, reason = leads(recent=mixed((100, 70, 85), (100, 7, 26)))
    assert not promoted
    assert "recall 0.8500 to 0.7000 on 100 spam recent messages, credibly lower" in reason


def test_more_caught_spam_does_not_pay_for_false_alarms():
    test = mixed((100, 100, 80), (800, 14, 2))
    promoted, reason = leads(test)
    assert not promoted
    assert "false-positive rate 0.0025 to 0.0175 on 800 good" in reason


def test_what_few_rows_cannot_tell_is_said_by_who_leads():
    promoted, reason = leads(recent=mixed((45, 33, 36), (100, 7, 26)))
    assert promoted
    assert "recall 0.8000 to 0.7333 on 45 spam recent messages: too few to tell whether it is worse" in reason


@pytest.mark.parametrize(("rows", "promoted"), [(19, False), (20, True)])
def test_few_recent_rows_prove_nothing(rows, promoted):
    found, reason = leads(recent=part(5, 0, rows), evidence=of(rows))
    assert found is promoted
    assert promoted or reason.startswith("19 labelled messages were held out as recent, and fewer than 20")


def test_no_recent_row_proves_nothing():
    assert leads(recent=None, evidence=of(0))[0] is False


@pytest.mark.parametrize(("doubt", "promoted"), [(0.1, True), (0.11, False)])
def test_doubtful_labels_prove_nothing(doubt, promoted):
    found, reason = leads(evidence=replace(EVIDENCE, doubt=doubt))
    assert found is promoted
    assert promoted or reason.startswith("11% of the labels are doubtful")


GREEK = Side(FOREIGN, SPAM, answers=48, counterparts=1, answer_weight=1.0, counterpart_weight=5.0, new=True)


def held(count, text, spam=False):
    return registration.TestRows([text] * count, [spam] * count, [False] * count)


@each(
    ("test", "recent", "told"),
    [
        (held(300, "see you at noon"), held(30, "WIN", spam=True), "hold 0 such messages labelled not spam"),
        (held(12, "ώρα"), held(7, "привет"), "hold 19 such messages"),
        (held(12, "ώρα"), held(8, "привет"), ""),
        (held(100, "ώρα", spam=True), held(100, "é"), "hold 0 such messages"),
    ],
)
def test_what_was_learnt_of_one_class_leads_only_if_the_other_can_be_measured(test, recent, told):
    evidence = Evidence(test, recent, 0.0, 0.005, (GREEK,))
    words = "".join(unmeasured(evidence))
    assert bool(words) is bool(told)
    assert told in words
    assert leads(unknown=words)[0] is not bool(told)
    assert list(unmeasured(replace(evidence, sides=(replace(GREEK, new=False),)))) == []


def test_scores_are_shares_of_all_of_spam_and_of_the_rest():
    found = to_json(error_rates([True, True, False, False, False], [True, False, True, False, False]))
    values = {name: score["value"] for name, score in found.items()}
    assert values == {"accuracy": 0.6, "recall": 0.5, "false_positive_rate": pytest.approx(1 / 3)}
    assert all(score["low"] <= score["value"] <= score["high"] for score in found.values())
