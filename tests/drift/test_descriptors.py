"""A text is described by finite numbers, whatever it holds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamctl.drift.descriptors import DESCRIPTORS, describe, odd_characters, script
from tests import hostile
from tests.each import each

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
