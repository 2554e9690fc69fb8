"""Look-alikes are read as what a person sees, and honest text of other alphabets as it is written."""

import string

from hypothesis import given
from hypothesis import strategies as st

from spamctl.data.cleaning import fold, lookalike_table
from spamctl.traffic.rewrites import homoglyphs
from spamctl.traffic.rng import SeededRandom
from tests.each import each

HONEST = (
    "Привет, буду через час, купи хлеб",
    "Καλημέρα, το ραντεβού σας είναι στις 10:30",
    "Բարի լույս, հանդիպումը ժամը տասին է",
    "Zażółć gęślą jaźń, çok güzel, naïve café, Đà Nẵng, ışık",
    "Отправь SMS на 7700, скачай WhatsApp или Telegram",
    "今日は東京で会いましょう",
    "λ = 500 nm and π r²",
)


@each("text", HONEST)
def test_text_of_one_alphabet_a_word_stays_as_it_is(text):
    assert fold(text, lookalike_table()) == text


@given(st.text())
def test_folding_again_changes_nothing_and_no_length_changes(text):
    once = fold(text, lookalike_table())
    assert fold(once, lookalike_table()) == once
    assert len(once) == len(text)


def test_every_look_alike_stands_for_a_latin_letter_and_is_none():
    assert len(lookalike_table()) > 200
    assert set(lookalike_table().values()) <= set(string.ascii_letters)
    assert not any(twin.isascii() for twin in lookalike_table())


def test_nearly_all_that_our_own_disguise_does_is_undone():
    text = "Congratulations you have been selected to receive guaranteed vouchers, please telephone immediately"
    disguised = [homoglyphs(text, SeededRandom("homoglyph", seed), 1.0) for seed in range(30)]
    words = [
        (before, after)
        for one in disguised
        for before, after in zip(text.split(), fold(one, lookalike_table()).split(), strict=True)
    ]
    assert all(one != text for one in disguised)
    assert sum(before == after for before, after in words) >= 0.99 * len(words)


def test_words_of_nothing_but_look_alikes_are_read_as_the_text_around_them_is_disguised():
    assert fold("\u0443\u043eu \u0441\u043e\u0440", lookalike_table()) == "you cop"
    assert fold("\u0441\u043e\u0440", lookalike_table()) == "\u0441\u043e\u0440"  # alone it may be Russian
    russian = "Привет, \u0441\u043e\u0440 от iPh\u043ene"
    assert fold(russian, lookalike_table()) == "Привет, \u0441\u043e\u0440 от iPhone"


def test_capital_look_alikes_become_capitals():
    assert fold("\u0406Phone and \u0399nvoice and Wi\u04cfl", lookalike_table()) == "IPhone and Invoice and Will"
