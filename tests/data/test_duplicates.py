"""Twins are found by what a message says, and leaks are counted."""

import re

from hypothesis import given
from hypothesis import strategies as st

from spamctl.data import cleaning
from spamctl.data.cleaning import group_twins, keep_distinct, leakage, seen_key, twin_key
from spamctl.schema.message import NOT_SPAM, SPAM, Message, Split
from spamctl.schema.train import Leakage


def spam(text):
    return Message(text, SPAM)


def fine(text):
    return Message(text, NOT_SPAM)


def test_case_white_space_and_digits_make_no_difference():
    assert twin_key("WIN £500  now\n ") == twin_key("win £917 NOW")
    assert twin_key("Straße ٣") == twin_key("STRASSE 3")


def test_words_signs_and_the_length_of_numbers_make_one():
    keys = {twin_key(text) for text in ("win 9", "win 2026", "win $9", "won 9", "wi n 9", "win\u200b 9")}
    assert len(keys) == 6


@given(st.text(), st.integers(0, 9))
def test_a_key_says_the_same_of_every_spelling(text, digit):
    other = re.sub(r"\d", str(digit), f" {text}\t".replace(" ", "  "))
    assert twin_key(other) == twin_key(text)
    assert twin_key(twin_key(text)) == twin_key(text)


def test_each_text_is_kept_once():
    distinct = keep_distinct([fine("a"), fine("a"), fine("a"), fine("A"), spam("b")])
    assert distinct.messages == (fine("a"), fine("A"), spam("b"))
    assert (distinct.repeated, distinct.disputed, distinct.disputes) == (2, 0, 0)


def test_twins_with_both_labels_are_set_aside():
    distinct = keep_distinct([fine("call 1"), spam("Call 2"), spam("call 2"), spam("win"), fine("same"), spam("same")])
    assert distinct.messages == (spam("win"),)
    assert (distinct.repeated, distinct.disputed, distinct.disputes) == (0, 5, 2)


@given(st.lists(st.builds(Message, st.sampled_from(["a", "A", "b 1", "b 2", "c"]), st.sampled_from([SPAM, NOT_SPAM]))))
def test_every_message_is_kept_or_counted(messages):
    distinct = keep_distinct(messages)
    assert len(distinct.messages) + distinct.repeated + distinct.disputed == len(messages)
    assert all(len({twin.label for twin in twins}) == 1 for twins in group_twins(distinct.messages).values())
    assert len(set(distinct.messages)) == len(distinct.messages)


def test_a_split_without_twins_leaks_nothing():
    assert leakage(Split((spam("a"),), (spam("b"),), (spam("c"),))) == Leakage(exact=0, masked=0)


def test_leaks_between_any_two_parts_are_counted():
    train = (spam("win 1"), fine("hello"))
    validation = (spam("win 2"), fine("bye"))
    test = (fine("bye"), fine("hello"), fine("HELLO"), fine("new"))
    assert leakage(Split(train, validation, test)) == Leakage(exact=2, masked=4)


SPELLINGS = ["win\u200b 9", "wi\u00adn 9", "\uff37\uff29\uff2e 9", "\U0001d430in \u2078", "w\ufe0fin 7", "WIN 3"]


def test_spellings_that_look_the_same_are_seen_as_one():
    assert {seen_key(text) for text in SPELLINGS} == {"win 0"}
    assert len({twin_key(text) for text in SPELLINGS}) > 4


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_seen_key_says_the_same_of_twins_and_of_itself(text, other):
    assert seen_key(twin_key(text)) == seen_key(text)
    assert (seen_key(text) == seen_key(other)) or (twin_key(text) != twin_key(other))


def test_what_is_unseen_is_what_the_model_does_not_read():
    from tokenizers import Regex, normalizers

    from spamctl.engine import tokens

    everything = "".join(chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000)
    read = normalizers.Replace(Regex(tokens._UNSEEN), "").normalize_str(everything)
    assert cleaning.UNSEEN.sub("", everything) == read
    assert len(read) < len(everything)


def test_spellings_stand_in_one_group_under_the_key_that_places_it():
    groups = group_twins([spam(text) for text in SPELLINGS] + [fine("win 99")])
    assert groups.keys() == {min(map(twin_key, SPELLINGS)), "win 00"}
    assert leakage(Split((spam("win 9"),), (spam("w\u200bin 8"),), (spam("\uff37in 7"),))) == Leakage(exact=0, masked=2)
