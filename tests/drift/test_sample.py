"""Rows stay together, near duplicates count once, and invented labels are not trusted."""

from dataclasses import replace

import numpy as np
import pytest

from spamctl.errors import DataError
from tests.drift.made_samples import bare, messages, sample
from tests.each import each


def test_near_duplicates_count_once_and_the_first_stays():
    rows = sample([("Call 0800 1", True), ("call  0900 2", False), ("other", False)])
    assert list(rows.distinct().texts) == ["Call 0800 1", "other"]


def test_a_mask_and_an_index_take_the_same_rows_of_every_column():
    rows = sample(messages(20, 0), width=3, versions=("1", "2"))
    index = [2, 5, 11]
    by_index, by_mask = rows.take(index), rows.take(np.isin(np.arange(20), index))
    assert list(by_index.texts) == list(by_mask.texts) == [rows.texts[row] for row in index]
    assert list(by_index.versions) == ["1", "2", "2"]
    assert np.array_equal(by_index.features, rows.features[index])


def test_no_row_can_be_taken():
    assert len(bare(["a", "b"]).take([])) == 0


def test_invented_labels_are_not_trusted():
    rows = replace(sample([("a", True)] * 3), truth=["spam", "spam", ""], label_sources=["review", "simulated", ""])
    assert rows.trusted.tolist() == [True, False, False]
    assert rows.labelled.tolist() == [True, True, False]


@each(
    ("change", "words"),
    [
        ({"truth": ["spam"]}, "different lengths"),
        ({"features": np.zeros(2, np.float32)}, "different lengths"),
        ({"probabilities": np.array([0.5, np.nan])}, "not within 0 to 1"),
        ({"probabilities": np.array([0.5, 1.1])}, "not within 0 to 1"),
        ({"features": np.full((2, 1), np.inf, np.float32)}, "not finite"),
    ],
)
def test_what_does_not_belong_together_is_refused(change, words):
    with pytest.raises(DataError, match=words):
        replace(bare(["a", "b"]), **change)
