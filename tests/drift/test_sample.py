"""Rows stay together, near duplicates count once, invented labels are not trusted, and texts are finite numbers."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamctl.drift.sample import DESCRIPTORS, describe, odd_characters, script
from spamctl.errors import DataError
from tests import hostile
from tests.drift.made_samples import bare, messages, sample
from tests.each import each

# Rows stay together, near duplicates count once, and invented labels are not trusted.


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


# A text is described by finite numbers, whatever it holds.

ANY_TEXT = st.text(st.characters(), max_size=40)  # lone surrogates too


@given(st.lists(ANY_TEXT, max_size=5))
def test_every_number_is_finite_and_every_share_is_one(texts):
    found = describe(texts)
    assert list(found) == list(DESCRIPTORS)
    for name, values in found.items():
        assert values.shape == (len(texts),)
        assert (values >= 0).all()
        assert np.isfinite(values).all()
        assert name in {"length", "words", "links", "word_length"} or (values <= 1).all()


@each(
    ("name", "text", "expected"),
    [
        ("length", "four", 4),
        ("words", " two  words ", 2),
        ("digits", "a1b2", 0.5),
        ("links", "see www.abc.com/?x=y.org or http://abc.org/x and abc.co/def.com", 3),
        ("currency", "£5", 0.5),
        ("capitals", "AbC 1!", 2 / 3),
        ("non_letters", "a b1!", 0.4),
        ("word_length", "ab abcd", 3),
        ("odd_unicode", "fr\u200bee", 0.2),
        ("odd_unicode", "", 0),
    ],
)
def test_a_descriptor_is_what_its_name_says(name, text, expected):
    assert describe([text])[name][0] == pytest.approx(expected)


@each(
    ("text", "odd"),
    [
        ("plain\ttext\n", 0),
        ("naïve café £5 – “quoted” 😀", 0),
        ("привет друг", 0),
        ("pаypаl", 2),  # two letters are Cyrillic
        ("ＦＲＥＥ", 4),
        ("𝐟𝐫𝐞𝐞 gift", 4),
        ("\x00\ud800", 2),
        ("z\u200be\u200dro", 2),
    ],
)
def test_odd_is_what_hides_or_poses(text, odd):
    assert odd_characters(text) == odd


def test_a_letter_is_of_a_script_and_what_has_no_name_is_unknown():
    assert [script(char) for char in "aяα\ud800"] == ["Latin", "Cyrillic", "Greek", "Unknown"]


def test_hostile_payloads_are_described():
    texts = [text for text in vars(hostile).values() if isinstance(text, str)]
    assert len(describe(texts)["length"]) == len(texts)
