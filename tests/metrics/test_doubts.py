"""A label is doubted only if both witnesses contradict it; what drift makes a version miss is no wrong label."""

from dataclasses import replace

from spamctl.data.feedback import Answer
from spamctl.metrics.label_quality import doubts
from spamctl.schema.message import NOT_SPAM, SPAM
from tests import tiny_models
from tests.data.test_feedback import answer

KNOWN = tiny_models.messages(60, seed=5)


def answers(served_is_right=lambda _index: True):
    """Return answers with true labels; the served version is right where it is said to be."""
    found = []
    for index, message in enumerate(tiny_models.messages(160, seed=6)):
        called = message.is_spam == served_is_right(index)
        found.append(answer(message.text, index, message.label, called_spam=called))
    return found


def flipped(one: Answer) -> Answer:
    return replace(one, label=NOT_SPAM if one.label == SPAM else SPAM)


def test_a_flipped_label_is_doubted():
    rows = answers()
    wrong = set(range(0, 160, 20))
    told = [flipped(one) if index in wrong else one for index, one in enumerate(rows)]
    assert set(doubts(told, KNOWN)) == wrong


def test_true_labels_that_the_served_version_contradicts_are_believed():
    assert doubts(answers(served_is_right=lambda index: index % 3 > 0), KNOWN) == []


def test_a_wrong_label_that_the_served_version_believes_is_left_to_the_training():
    rows = answers(served_is_right=lambda index: index != 4)
    told = [flipped(one) if index == 4 else one for index, one in enumerate(rows)]
    assert doubts(told, KNOWN) == []


def test_labels_of_one_kind_cannot_be_doubted():
    rows = [one for one in answers() if one.label == SPAM]
    assert doubts(rows, KNOWN) == []
    assert doubts([*rows, flipped(rows[0])], KNOWN) == []
    assert doubts([], KNOWN) == []


def test_labels_of_which_most_contradict_the_dataset_are_doubted_and_stop_nothing():
    rows = [flipped(one) for one in answers()]
    found = doubts(rows, [*KNOWN, *tiny_models.messages(400, seed=7)])
    assert set(found) <= set(range(160))
    assert doubts([replace(one, called_spam=one.label == SPAM) for one in rows], KNOWN) == []
