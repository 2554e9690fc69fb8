"""A disguise can be read by people, and leaves what must work alone."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamctl.data.cleaning import clean
from spamctl.traffic.rewrites import homoglyphs, leet, lexicon, zero_width
from spamctl.traffic.rng import SeededRandom

DISGUISES = [homoglyphs, leet, zero_width]
TEXT = "WINNER! Claim your free prize at www.prize.example or call 09061743386 now"


def undone(text):
    """Read a disguised text as a person would."""
    back = {other: letter for letter, others in lexicon("homoglyphs").items() for other in others}
    return "".join(back.get(letter, letter) for letter in text)


def test_homoglyphs_look_the_same_and_are_not():
    text = homoglyphs(TEXT, SeededRandom(1), 1.0)
    assert text != TEXT
    assert undone(text).casefold() == TEXT.casefold()
    assert all(not word.isascii() for word in re.findall(r"\w{3,}", text[: TEXT.index("www")]))


def test_characters_of_no_width_are_all_that_is_added():
    text = zero_width(TEXT, SeededRandom(1), 1.0)
    assert text != TEXT
    assert "".join(letter for letter in text if unicodedata.category(letter) != "Cf") == TEXT
    assert all(any(unicodedata.category(letter) == "Cf" for letter in word) for word in text.split(" ")[:5])


def test_leet_keeps_every_letter_in_its_place():
    text = leet(TEXT, SeededRandom(1), 1.0)
    assert len(text) == len(TEXT)
    assert all(new == old or new in lexicon("leet")[old] for old, new in zip(TEXT, text, strict=True))
    assert sum(new != old for old, new in zip(TEXT, text, strict=True)) > 10


@pytest.mark.parametrize("disguise", DISGUISES)
def test_links_and_numbers_still_work(disguise):
    for seed in range(20):
        assert {"www.prize.example", "09061743386"} <= set(disguise(TEXT, SeededRandom(seed), 1.0).split())


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_disguise_survives_cleaning(disguise):
    for seed in range(20):
        text = disguise(TEXT, SeededRandom(seed), 1.0)
        assert clean(text) == text


@pytest.mark.parametrize("disguise", DISGUISES)
def test_words_are_disguised_in_proportion_to_strength(disguise):
    words = " ".join(["prize"] * 400)
    for strength in (0.25, 0.5, 0.75):
        changed = sum(word != "prize" for word in disguise(words, SeededRandom(3), strength).split())
        assert abs(changed / 400 - strength) < 0.08


@pytest.mark.parametrize("disguise", DISGUISES)
@given(st.text(), st.integers(), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_strength_adds_to_what_a_lower_one_did(disguise, text, seed, one, other):
    low, high = (disguise(text, SeededRandom(seed), strength) for strength in sorted((one, other)))
    assert disguise(text, SeededRandom(seed), 0.0) == text
    tokens = zip(*(re.split(r"(\s+)", each) for each in (text, low, high)), strict=True)
    assert all(middle in {before, after} or before != after for before, middle, after in tokens)
