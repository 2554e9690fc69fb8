"""A message's part follows from what it says: the same on every machine, now and later."""

import os
import random
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamctl.data.cleaning import leakage, twin_key
from spamctl.data.corpus import CorpusRequest, read_corpus
from spamctl.data.split import split
from spamctl.errors import DataError
from spamctl.schema.message import NOT_SPAM, SPAM, Message, digest
from spamctl.schema.train import Leakage
from tests.each import each
from tests.examples import examples

PARTS = ("train", "validation", "test")


def corpus(spam, not_spam, kind="one"):
    """Make messages without twins."""
    words = [
        f"{kind} {'abcdefghij'[n % 10]}{'klmnopqrst'[n // 10 % 10]}{'uvwxyzäöüß'[n // 100 % 10]}" for n in range(1000)
    ]
    return [Message(f"spam {word}", SPAM) for word in words[:spam]] + [
        Message(word, NOT_SPAM) for word in words[:not_spam]
    ]


def place_of(parts):
    """Tell each message's part."""
    return {message: name for name in PARTS for message in getattr(parts, name)}


@st.composite
def corpora_with_twins(draw):
    """Draw corpora in which some messages have many twins, of either label."""
    copies = draw(st.lists(st.integers(1, 30), min_size=40, max_size=40))
    twins = [
        Message(f"{message.text} {n}", message.label)
        for message, count in zip(corpus(20, 20), copies, strict=True)
        for n in range(count)
    ]
    flips = draw(st.sets(st.integers(0, 39), max_size=5))
    return twins + [
        Message(f"{m.text} 77", SPAM if m.label == NOT_SPAM else NOT_SPAM)
        for n, m in enumerate(corpus(20, 20))
        if n in flips
    ]


@given(corpora_with_twins())
def test_twins_stay_on_one_side_and_no_message_is_lost(messages):
    try:
        parts = split(messages)
    except DataError:
        return  # the flips left a label with too few
    assert sorted(map(repr, parts.train + parts.validation + parts.test)) == sorted(map(repr, messages))
    sides = {}
    for message, place in place_of(parts).items():
        assert sides.setdefault(twin_key(message.text), place) == place
    assert leakage(parts) == Leakage(exact=0, masked=0)


@examples(0.5)
@given(st.randoms(use_true_random=False), st.sampled_from(["none", "undersample"]))
def test_the_order_of_rows_changes_nothing(chance, balance):
    messages = corpus(30, 90)
    shuffled = chance.sample(messages, len(messages))
    assert split(shuffled, balance) == split(messages, balance)


@given(st.integers(10, 400), st.integers(10, 400))
def test_each_label_is_divided_70_10_20(spam, not_spam):
    parts = split(corpus(spam, not_spam))
    for label, count in ((SPAM, spam), (NOT_SPAM, not_spam)):
        rows = [sum(message.label == label for message in getattr(parts, part)) for part in PARTS]
        assert sum(rows) == count
        assert all(rows)
        slack = max(0.5, 0.005 * count) + 1e-9
        assert abs(rows[0] - 0.7 * count) <= slack
        assert abs(rows[0] + rows[1] - 0.8 * count) <= slack


def test_the_split_is_the_same_in_every_process():
    code = (
        "from spamctl.schema.message import digest\nfrom spamctl.data.split import split\n"
        "from spamctl.schema.message import Message\n"
        "parts = split([Message(f'{chr(97 + n)} text', ('spam', 'not spam')[n % 2]) for n in range(26)])\n"
        "print(*map(digest, (parts.train, parts.validation, parts.test)))"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert {line[:16] for line in seen} == {"c9d1aa62eee24119"}


def test_new_rows_hardly_move_old_ones():
    old, new = corpus(100, 900), corpus(20, 200, kind="two")
    before, after = place_of(split(old)), place_of(split(old + new))
    moved = [message for message in old if before[message] != after[message]]
    assert len(moved) <= 0.02 * len(old)


def test_a_row_moves_only_to_the_next_part():
    old = corpus(100, 100)
    before, after = place_of(split(old)), place_of(split(old + corpus(200, 50, kind="two")))
    assert {abs(PARTS.index(before[message]) - PARTS.index(after[message])) for message in old} <= {0, 1}


def test_a_campaign_trains():
    campaigns = [Message(f"{word} {n:02}", SPAM) for word in ("win", "call", "loan", "pills") for n in range(40)]
    parts = split(campaigns + corpus(60, 60))
    assert set(campaigns) <= set(parts.train)
    assert sum(message.is_spam for message in parts.test) >= 0.2 * 60


def test_undersampling_makes_labels_equal_in_number_in_each_part():
    parts = split(corpus(50, 500), "undersample")
    for part in PARTS:
        rows = getattr(parts, part)
        assert sum(message.is_spam for message in rows) * 2 == pytest.approx(len(rows), abs=1)
    assert len(place_of(parts)) == 100
    assert {message for message in place_of(parts) if message.is_spam} == set(corpus(50, 0))


def test_undersampling_leaves_a_test_row_a_test_row():
    messages = corpus(200, 1000)
    whole, balanced = place_of(split(messages)), place_of(split(messages, "undersample"))
    assert sum(whole[message] != place for message, place in balanced.items()) <= 0.05 * len(balanced)


def test_parts_are_not_sorted_by_label():
    labels = [message.label for message in split(corpus(200, 200)).train]
    assert 100 < sum(one != other for one, other in pairwise(labels)) < 180


@each(("spam", "not_spam"), [(9, 100), (100, 9), (0, 100), (0, 0)])
@each("balance", ["none", "undersample"])
def test_too_few_messages_are_refused_by_their_count(spam, not_spam, balance):
    with pytest.raises(DataError, match=r"at least 10 different messages of each label"):
        split(corpus(spam, not_spam), balance)


def test_twins_do_not_count_as_different_messages():
    twins = [Message(f"win {n:02}", SPAM) for n in range(50)]
    with pytest.raises(DataError, match="1 labelled spam and 50 labelled not spam"):
        split(twins + corpus(0, 50))


def test_the_bundled_collection_is_split_as_it_always_was(monkeypatch):
    monkeypatch.setenv("SPAMCTL_SMS_SPAM_URL", "")
    messages = read_corpus(CorpusRequest()).messages
    parts = split(random.Random(0).sample(messages, len(messages)))
    assert {part: len(getattr(parts, part)) for part in PARTS} == {"train": 3181, "validation": 428, "test": 925}
    assert {part: sum(m.is_spam for m in getattr(parts, part)) for part in PARTS} == {
        "train": 395,
        "validation": 51,
        "test": 115,
    }
    assert digest(parts.test).startswith("ba90915bb5d11ec7")
    assert leakage(parts) == Leakage(exact=0, masked=0)
