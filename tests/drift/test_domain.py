"""A classifier tells samples apart that differ, and is not taken in by chance."""

import numpy as np

from spamctl.drift import causes
from spamctl.drift.hypothesis_tests import text_kernel
from spamctl.schema.monitor import Separation
from tests.drift.made_samples import messages


def classified(reference, current, seed=0):
    texts = [text for text, _ in [*reference, *current]]
    return causes.classify_domains(
        text_kernel(texts), np.arange(len(texts)) >= len(reference), np.random.default_rng(seed)
    )


def test_other_words_are_told_apart():
    found = classified(messages(80, 0), messages(60, 1, share=0.9))
    assert found.auc > 0.7
    assert found.auc > found.threshold


def test_the_same_words_pass_the_threshold_about_as_often_as_was_asked_for():
    found = [classified(messages(60, 2 * seed), messages(40, 2 * seed + 1), seed) for seed in range(60)]
    assert sum(one.auc > one.threshold for one in found) <= 9  # of 60 at 5 %: more has a chance of 0.1 %
    assert all(0.5 < one.threshold < 0.75 for one in found)


def test_texts_that_are_all_the_same_are_a_coin():
    assert classified([("same", True)] * 30, [("same", True)] * 30) == Separation(auc=0.5, threshold=0.5)


def test_many_rows_are_sampled(monkeypatch):
    monkeypatch.setattr(causes, "MOST_OF_A_SIDE", 20)
    assert 0 <= classified(messages(50, 0), messages(50, 1)).auc <= 1
