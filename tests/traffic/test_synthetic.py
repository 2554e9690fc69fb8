"""Synthetic messages are many, varied, labelled, and the same everywhere."""

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamctl.data.cleaning import clean, twin_key
from spamctl.schema.message import NOT_SPAM, SPAM
from spamctl.traffic.synthetic import families, messages, write
from tests.each import each
from tests.examples import examples

ELSEWHERE = (
    "import hashlib, json, sys; from spamctl.traffic.synthetic import messages; "
    "made = messages(300, seed=5, era='both', spam_share=0.4); "
    "print(hashlib.sha256(json.dumps([[m.text, m.label, m.family] for m in made]).encode()).hexdigest())"
)


def distinct(made):
    return len({twin_key(one.text) for one in made}) / len(made)


@given(st.integers(0, 40), st.integers(), st.sampled_from(["2003", "modern", "both"]), st.floats(0, 1))
@examples(0.5)
def test_counts_are_exact(count, seed, era, spam_share):
    made = messages(count, seed=seed, era=era, spam_share=spam_share)
    assert len(made) == count
    assert sum(one.label == SPAM for one in made) == int(count * spam_share + 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("hash_seed", ["0", "1", "random"])
def test_another_process_writes_the_same_bytes(hash_seed):
    made = messages(300, seed=5, era="both", spam_share=0.4)
    here = hashlib.sha256(json.dumps([[one.text, one.label, one.family] for one in made]).encode()).hexdigest()
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "LC_ALL": "C", "TZ": "Asia/Tokyo"}
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == here


def test_another_seed_writes_other_messages():
    one, other = (messages(100, seed=seed, era="both", spam_share=0.5) for seed in (1, 2))
    assert len({message.text for message in one} & {message.text for message in other}) < 5


@pytest.mark.parametrize("era", ["2003", "modern", "both"])
def test_a_thousand_messages_hardly_repeat(era):
    assert distinct(messages(1000, seed=1, era=era, spam_share=0.3)) >= 0.98


@pytest.mark.long
@each("spam_share", [0.0, 0.13, 0.5, 1.0])
@each("era", ["2003", "modern", "both"])
def test_ten_thousand_messages_are_distinct_after_masking_digits(era, spam_share):
    assert distinct(messages(10_000, seed=1, era=era, spam_share=spam_share)) >= 0.95


@each("era", ["2003", "modern"])
@each("label", [SPAM, NOT_SPAM])
def test_every_family_comes_and_carries_its_label(era, label):
    made = [write(era, label, seed=3, index=index) for index in range(600)]
    counts = Counter(one.family for one in made)
    assert counts.keys() == {family.name for family in families(era, label)}
    assert {one.label for one in made} == {label}
    weights = {family.name: family.weight for family in families(era, label)}
    for name, count in counts.items():
        assert abs(count / 600 - weights[name] / sum(weights.values())) < 0.07


def test_no_family_is_of_both_labels():
    spam, rest = (
        {family.name for era in ("2003", "modern") for family in families(era, label)} for label in (SPAM, NOT_SPAM)
    )
    assert not spam & rest


@pytest.mark.parametrize("era", ["2003", "modern"])
def test_messages_are_clean_and_as_long_as_messages_are(era):
    made = messages(500, seed=8, era=era, spam_share=0.5)
    assert all(clean(one.text) == one.text for one in made)
    assert all(2 <= len(one.text) <= 400 for one in made)
    assert 40 <= sum(len(one.text) for one in made) / 500 <= 160


def test_no_text_is_of_both_labels():
    made = messages(1000, seed=4, era="both", spam_share=0.5)
    spam, rest = ({twin_key(one.text) for one in made if one.label == label} for label in (SPAM, NOT_SPAM))
    assert not spam & rest
