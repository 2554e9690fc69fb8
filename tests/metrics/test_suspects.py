"""Labels that were flipped are found; those that the model merely doubts are left alone."""

import random

import pytest

from spamctl.metrics.label_quality import suspects
from spamctl.schema.message import NOT_SPAM, SPAM

pytestmark = pytest.mark.slow  # cleanlab takes seconds to load


def test_flipped_labels_are_suspected_first():
    dice = random.Random(7)
    spam = [dice.random() < 0.3 for _ in range(600)]
    probabilities = [dice.betavariate(30, 1) if one else dice.betavariate(1, 30) for one in spam]
    flipped = set(dice.sample(range(600), 20))
    labels = [SPAM if one != (place in flipped) else NOT_SPAM for place, one in enumerate(spam)]
    found = suspects(probabilities, labels)
    assert len(flipped & set(found)) >= 12  # by chance: less than one
    assert len(set(found) - flipped) <= 2


def test_right_labels_are_not_suspected():
    assert suspects([0.99, 0.98, 0.97, 0.01, 0.02, 0.03], [SPAM] * 3 + [NOT_SPAM] * 3) == []


@pytest.mark.parametrize("labels", [[], [SPAM], [NOT_SPAM] * 50], ids=len)
def test_of_one_kind_alone_nothing_is_suspect(labels):
    assert suspects([0.01] * len(labels), labels) == []
