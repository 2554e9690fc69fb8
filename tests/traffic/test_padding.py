"""Texts grow and shrink, and still say what they want."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamctl.traffic.rewrites import good_words, length, lexicon
from spamctl.traffic.rng import SeededRandom

TEXT = "You have won a prize. To claim it please call 09061743386 or visit www.win.example now!"


def without(text, phrases):
    """Take the added phrases out again."""
    for phrase in sorted(phrases, key=len, reverse=True):
        text = text.replace(f"{phrase} ", "").replace(f" {phrase}", "")
    return text


def lengths(strength, text=TEXT, seeds=60):
    return [len(length(text, SeededRandom(seed), strength).split()) for seed in range(seeds)]


def test_good_words_are_all_that_is_added():
    for seed in range(30):
        assert without(good_words(TEXT, SeededRandom(seed), 1.0), lexicon("good-words")["phrases"]) == TEXT


@pytest.mark.parametrize("strength", [0.25, 0.5, 1.0])
def test_good_words_are_as_many_as_the_strength_says(strength):
    before = len(TEXT.split())
    for seed in range(30):
        added = len(good_words(TEXT, SeededRandom(seed), strength).split()) - before
        assert strength * before - 1 <= added <= strength * before + 7


def test_good_words_stand_at_the_end_and_between_sentences():
    made = [good_words(TEXT, SeededRandom(seed), 1.0) for seed in range(30)]
    assert any(text.startswith("You have won a prize. To claim") for text in made)
    assert any(not text.startswith("You have won a prize. To claim") for text in made)


def test_one_half_gets_longer_and_the_other_shorter():
    before = len(TEXT.split())
    longer = sum(now > before for now in lengths(1.0))
    shorter = sum(now < before for now in lengths(1.0))
    assert longer + shorter == 60
    assert 15 <= longer <= 45


def test_a_telegram_keeps_what_the_message_is_about():
    little = set(lexicon("length")["little words"])
    telegram = min((length(TEXT, SeededRandom(seed), 1.0) for seed in range(9)), key=len)
    kept = telegram.split()
    assert kept == [word for word in TEXT.split() if word.lower().strip(".!") not in little]
    assert {"won", "prize.", "claim", "call", "09061743386", "www.win.example"} <= set(kept)


def test_a_text_of_little_words_alone_stays():
    assert {length("you and me", SeededRandom(seed), 1.0) for seed in range(9)} >= {"you and me"}
    assert all("you and me" in length("you and me", SeededRandom(seed), 1.0) for seed in range(9))


def test_padding_tells_nothing_of_labels():
    assert not set(lexicon("length")["padding"]) & set(lexicon("good-words")["phrases"])
    assert not [line for line in lexicon("length")["padding"] if re.search(r"free|win|call|love|cash", line)]


@pytest.mark.parametrize("change", [good_words, length])
@given(st.text(), st.integers())
def test_any_text_is_taken_and_none_changes_at_strength_0(change, text, seed):
    assert change(text, SeededRandom(seed), 0.0) == text
    sizes = [len(change(text, SeededRandom(seed), strength)) for strength in (0.0, 0.3, 0.6, 1.0)]
    assert sizes in (sorted(sizes), sorted(sizes, reverse=True))
