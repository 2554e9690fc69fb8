"""What is unlike all of training is told by its words; numbers, disguises and padding tell nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamctl.engine.ngrams import BITS, LEAST, Vocabulary, measure_novelty, novelty_limit, words
from spamctl.errors import ArtefactError

TRAINED = (
    "See you at the bakery tomorrow, bring the keys",
    "Win a free phone now, call 08001234567",
    "明日の会議は三時です",
)
FOREIGN = "Bihar arratsaldean elkartuko gara plazan, ekarri liburua"


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary.of(TRAINED)


def test_what_was_trained_on_is_not_new_and_another_language_is(vocabulary):
    assert [vocabulary.novelty(text) for text in TRAINED] == [0, 0, 0]
    assert vocabulary.novelty("FREE keys, tomorrow!") == 0
    assert vocabulary.novelty(FOREIGN) == pytest.approx(7 / 10)
    assert vocabulary.novelty("พรุ่งนี้เจอกันที่สถานี") > LEAST
    assert vocabulary.novelty("明日") == 0


def test_a_word_or_two_tell_little_and_what_is_no_word_tells_nothing(vocabulary):
    assert vocabulary.novelty("zxqv") < LEAST
    for text in ("", "?!", "08009999999 £500", "fr33 ph0n3 n0w", "x9.y8/z7", "\U0001f600", "\ud83d"):
        assert vocabulary.novelty(text) == 0


def test_padding_a_known_message_moves_it_little(vocabulary):
    assert vocabulary.novelty(f"{TRAINED[1]} {TRAINED[0]} elkartuko gara plazan") < LEAST


def test_scripts_without_blanks_are_read_in_pairs():
    assert list(words("明日の会議 ok")) == ["明日", "日の", "の会", "会議", "ok"]
    assert list(words("人 abc明日")) == ["人", "abc", "明日"]


@given(st.text())
def test_any_text_has_a_novelty_and_its_own_words_are_known(text):
    assert 0 <= Vocabulary.of(TRAINED).novelty(text) < 1
    assert Vocabulary.of([text]).novelty(text) == 0


def test_it_comes_back_from_its_bytes_and_nothing_else_does(vocabulary):
    assert Vocabulary.from_bytes(vocabulary.bits) == vocabulary
    assert len(vocabulary.bits) == 2**BITS // 8
    assert Vocabulary.of([]).novelty("word") == pytest.approx(1 / 4)
    for damaged in (b"", vocabulary.bits[:-1]):
        with pytest.raises(ArtefactError, match="known size"):
            Vocabulary.from_bytes(damaged)


def test_the_limit_keeps_to_its_shares_of_good_rows_and_of_caught_spam():
    good, spam = [n / 1000 for n in range(400, 900)], [n / 1000 for n in range(300, 500)]
    truth, novelties = [False] * 500 + [True] * 200, good + spam
    limit = novelty_limit(truth, [False] * 500 + [True] * 200, novelties)
    reach = measure_novelty(truth, [False] * 500 + [True] * 200, novelties, limit)
    assert (reach.good, reach.good_out, reach.spam, reach.spam_out) == (500, 10, 200, 0)
    lone = novelty_limit(truth, truth, [0.0] * 500 + spam)
    found = measure_novelty(truth, truth, [0.0] * 500 + spam, lone)
    assert (found.caught, found.lost, found.good_out) == (200, 2, 0)
    missed = measure_novelty(truth, [False] * 700, novelties, 0.45)
    assert (missed.caught, missed.lost, missed.spam_out) == (0, 0, 49)


def test_a_limit_is_never_so_low_that_one_new_word_is_out_of_reach():
    assert novelty_limit([True, False], [True, False], [0.0, 0.0]) == LEAST
    assert novelty_limit([], [], []) == LEAST
