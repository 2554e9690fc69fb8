"""Drift comes in known doses, keeps labels true, and is nothing at strength 0."""

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from spamctl.errors import DataError
from spamctl.metrics.baseline import build
from spamctl.schema.message import NOT_SPAM, SPAM, Message, Traits
from spamctl.traffic import synthetic
from spamctl.traffic.drift import (
    DRIFTS,
    NEW_KINDS,
    OF_SPAMMERS,
    SYNTHETIC,
    TEST_PART,
    TEXT_DRIFTS,
    drift,
    preview,
    stream,
    stream_of_new_kinds,
)
from spamctl.traffic.rng import whole
from spamctl.traffic.synthetic import families
from tests.each import each
from tests.examples import examples

SPAM_TEXT = "WINNER! Claim your free prize at www.prize.com or call 09061743386 now. Hurry, offer ends today."
REST_TEXT = "Hi, are you free for lunch today? I think the bus is late, call me now. Photos at www.pics.com ok"
KINDS = [*TEXT_DRIFTS, "mixed"]
PAIRS = [Message("Call now to claim a prize", SPAM), Message("See you at lunch", NOT_SPAM)] * 6
ELSEWHERE = (
    "import hashlib, json; from spamctl.schema.message import Message; "
    "from spamctl.traffic.drift import DRIFTS, stream; "
    "real = [Message('Call now to claim a prize', 'spam'), Message('See you at lunch', 'not spam')] * 6; "
    "staged = [stream(real, samples=40, drift_type=kind, strength=0.7, proportion=0.6, seed=9) for kind in DRIFTS]; "
    "rows = [[s.text, s.label, s.origin, s.family, s.drift_type, s.dose] for each in staged for s in each]; "
    "print(hashlib.sha256(json.dumps(rows).encode()).hexdigest())"
)
MODERN = {family.name for label in (SPAM, NOT_SPAM) for family in families("modern", label)}
kinds = pytest.mark.parametrize("kind", KINDS)
drift_types = pytest.mark.parametrize("drift_type", DRIFTS)
messages = st.builds(Message, st.text(), st.sampled_from([SPAM, NOT_SPAM]))


def staged(real, drift_type, *, samples=150, strength=1.0, proportion=0.5, seed=1):
    return stream(real, samples=samples, drift_type=drift_type, strength=strength, proportion=proportion, seed=seed)


def share(rows):
    return [row for row in rows if row.drift_type != "none"]


@kinds
@given(messages, st.integers(0, 99), st.integers(0, 99))
def test_strength_0_is_the_identity_and_no_strength_moves_a_label(kind, message, seed, index):
    assert drift(message, kind, 0.0, seed=seed, index=index) == message
    for strength in (0.5, 1.0):
        drifted = drift(message, kind, strength, seed=seed, index=index)
        assert drifted.label == message.label
        assert drifted == drift(message, kind, strength, seed=seed, index=index)


@given(messages)
@examples(0.5)
def test_none_is_the_identity_at_any_strength(message):
    assert drift(message, "none", 1.0, seed=1, index=1) == message


@each("kind", KINDS)
def test_full_strength_changes_spam(kind):
    assert all(drift(Message(SPAM_TEXT, SPAM), kind, 1.0, seed=1, index=index).text != SPAM_TEXT for index in range(20))


@each("kind", KINDS)
def test_only_spammers_play_the_tricks_of_spammers(kind):
    changed = drift(Message(REST_TEXT, NOT_SPAM), kind, 1.0, seed=1, index=3).text != REST_TEXT
    assert changed == (kind not in OF_SPAMMERS)


@each("kind", KINDS)
def test_the_same_text_at_another_place_gets_other_lots(kind):
    assert len({drift(Message(SPAM_TEXT, SPAM), kind, 1.0, seed=1, index=index).text for index in range(20)}) > 1


@each("kind", KINDS)
def test_a_higher_strength_changes_no_fewer_messages(kind, real):
    changed = [
        sum(drift(message, kind, dose, seed=2, index=place) != message for place, message in enumerate(real))
        for dose in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    assert changed == sorted(changed)
    assert changed[0] == 0 < changed[-1]


@each("kind", [kind for kind in TEXT_DRIFTS if kind != "url-rotation"])
def test_a_higher_strength_moves_a_text_further_on_average(kind):
    def moved(dose):
        texts = (drift(Message(SPAM_TEXT, SPAM), kind, dose, seed=2, index=index).text for index in range(60))
        return sum(
            len(Counter(SPAM_TEXT.split()) - Counter(text.split())) + abs(len(text) - len(SPAM_TEXT)) for text in texts
        )

    distances = [moved(dose) for dose in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert distances == sorted(set(distances))


@drift_types
@given(samples=st.integers(0, 60), strength=st.floats(0, 1), proportion=st.floats(0, 1), seed=st.integers(0, 9))
@examples(0.5)
def test_samples_and_share_are_exact(drift_type, samples, strength, proportion, seed):
    rows = stream(PAIRS, samples=samples, drift_type=drift_type, strength=strength, proportion=proportion, seed=seed)
    assert len(rows) == samples
    assert len(share(rows)) == (0 if drift_type == "none" else whole(proportion, samples))
    assert {row.dose for row in share(rows)} <= {strength}
    assert {row.dose for row in rows if row.drift_type == "none"} <= {0.0}


@each("drift_type", DRIFTS)
def test_what_is_of_the_test_part_is_untouched_and_truly_labelled(drift_type, real):
    known = {(message.text, message.label) for message in real}
    for row in staged(real, drift_type):
        assert ((row.text, row.label) in known) == (row.origin == TEST_PART)
        assert row.origin in {TEST_PART, SYNTHETIC}


@each("drift_type", DRIFTS)
def test_strength_0_is_the_test_part_itself(drift_type, real):
    plain, still = staged(real, "none"), staged(real, drift_type, strength=0.0)
    assert Counter((row.text, row.label, row.origin) for row in still) == Counter(
        (row.text, row.label, row.origin) for row in plain
    )


def test_none_is_the_test_part_whatever_the_proportion(real):
    rows = staged(real, "none", strength=1.0, proportion=1.0, samples=len(real))
    assert Counter((row.text, row.label) for row in rows) == Counter((message.text, message.label) for message in real)


@each("drift_type", DRIFTS)
def test_messages_repeat_only_when_all_were_drawn(drift_type, real):
    rows = [row for row in staged(real, drift_type, samples=len(real)) if row.origin == TEST_PART]
    assert len({row.text for row in rows}) == len(rows)
    twice = staged(real, "none", samples=2 * len(real))
    assert set(Counter(row.text for row in twice).values()) == {2}


@pytest.mark.parametrize("drift_type", [kind for kind in DRIFTS if kind != "prior"])
def test_no_drift_but_prior_moves_the_share_of_spam(drift_type, real):
    plain, moved = staged(real, "none"), staged(real, drift_type)
    assert Counter(row.label for row in moved) == Counter(row.label for row in plain)


def test_prior_adds_spam_in_proportion_to_strength(real):
    spam = [sum(row.label == SPAM for row in staged(real, "prior", strength=dose)) for dose in (0, 0.25, 0.5, 0.75, 1)]
    steps = [after - before for before, after in pairwise(spam)]
    assert max(steps) - min(steps) <= 1 < min(steps)
    assert all(row.label == SPAM for row in share(staged(real, "prior")))


def test_prior_takes_spam_of_the_test_part_while_it_lasts(real):
    rows = share(staged(real, "prior"))
    known = {message.text for message in real if message.is_spam}
    of_test_part = [row.text for row in rows if row.origin == TEST_PART]
    assert len(set(of_test_part)) == len(of_test_part)
    everything = {row.text for row in staged(real, "prior")}
    assert known <= everything
    assert any(row.origin == SYNTHETIC for row in rows)


def test_modern_replaces_as_much_of_the_share_as_the_strength_says(real):
    for dose in (0, 0.25, 0.5, 1):
        rows = share(staged(real, "modern", strength=dose))
        assert sum(row.origin == SYNTHETIC for row in rows) == whole(dose, len(rows))
        assert {row.family for row in rows if row.origin == SYNTHETIC} <= MODERN


def test_mixed_mixes_kinds_and_names_them(real):
    found = {row.drift_type for row in share(staged(real * 3, "mixed", samples=600, proportion=1.0))}
    assert found == {*TEXT_DRIFTS, "modern"}


@each("drift_type", DRIFTS)
def test_the_seed_decides_everything(drift_type, real):
    assert staged(real, drift_type) == staged(real, drift_type)
    assert staged(real, drift_type) != staged(real, drift_type, seed=2)


def test_another_process_stages_the_same_bytes():
    rows = [
        [row.text, row.label, row.origin, row.family, row.drift_type, row.dose]
        for kind in DRIFTS
        for row in staged(PAIRS, kind, samples=40, strength=0.7, proportion=0.6, seed=9)
    ]
    here = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
    environment = os.environ | {"PYTHONHASHSEED": "77", "LC_ALL": "C", "TZ": "Asia/Tokyo"}
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == here


@each("drift_type", DRIFTS)
def test_the_share_is_spread_over_the_day(drift_type, real):
    if drift_type != "none":
        first = staged(real, drift_type)[:75]
        assert 20 <= len(share(first)) <= 55


@each("drift_type", DRIFTS)
def test_a_preview_shows_what_changes_first(drift_type, real):
    pairs = preview(real, count=10, drift_type=drift_type, strength=1.0, seed=4)
    assert len(pairs) == 10
    changed = [(pair.before.text, pair.before.label) != (pair.after.text, pair.after.label) for pair in pairs]
    assert changed == sorted(changed, reverse=True)
    assert any(changed) == (drift_type != "none")
    assert {pair.before for pair in pairs} <= set(real)


def test_a_preview_of_few_messages_is_short():
    assert len(preview(PAIRS[:2], count=10, drift_type="leet", strength=1.0, seed=4)) == 2


def test_an_empty_test_part_is_refused():
    with pytest.raises(DataError, match="holds no message"):
        stream([], samples=1, drift_type="none", strength=0.0, proportion=0.0, seed=0)


@pytest.fixture(scope="module")
def baseline():
    """Return the linear baseline, trained on other messages than those that drift."""
    rows = synthetic.messages(900, seed=1, era="2003", spam_share=0.25)
    model = build("words and characters", 1.0)
    return model.fit([row.text for row in rows], np.array([row.label == SPAM for row in rows]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("drift_type", "least"),
    [("vocabulary", 0.1), ("homoglyph", 0.02), ("zero-width", 0.02), ("good-words", 0.05), ("length", 0.1),
     ("modern", 0.2), ("mixed", 0.1)],
)  # fmt: skip
def test_the_more_drift_the_less_sure_of_the_truth_is_the_linear_baseline(drift_type, least, real, baseline):
    margins = []
    for dose in (0.0, 0.25, 0.5, 0.75, 1.0):
        rows = staged(real, drift_type, samples=len(real), strength=dose, proportion=1.0)
        towards_truth = np.array([1 if row.label == SPAM else -1 for row in rows])
        margins.append(float((towards_truth * baseline.decision_function([row.text for row in rows])).mean()))
    assert all(after < before + 0.01 for before, after in pairwise(margins)), margins
    assert margins[0] - margins[-1] > least, margins


@pytest.mark.slow
@each("drift_type", DRIFTS)
def test_the_more_drift_the_further_the_linear_baseline_is_from_what_it_said_before(drift_type, real, baseline):
    """Nobody says which way: to this baseline digits look like spam, so `leet` makes it surer, not less sure."""
    margins = []
    for dose in (0.0, 0.25, 0.5, 0.75, 1.0):
        rows = staged(real, drift_type, samples=len(real), strength=dose, proportion=1.0)
        margins.append(baseline.decision_function([row.text for row in rows]))
    moved = [float(wasserstein_distance(margins[0], after)) for after in margins]
    assert all(after > before - 0.01 for before, after in pairwise(moved)), moved
    assert (moved[-1] > 0) == (drift_type != "none"), moved  # few messages carry a link that can rotate


def test_new_kinds_replace_their_share_and_each_seed_sends_others():
    known = [Message(f"known {n}", NOT_SPAM) for n in range(50)]
    unseen = [Message(f"new {n}", SPAM, Traits(kind="parcel_fee")) for n in range(40)]
    dose = {"samples": 20, "strength": 0.5, "proportion": 0.8}
    first, second = (stream_of_new_kinds(known, unseen, **dose, seed=seed) for seed in (0, 1))
    for staged in (first, second):
        assert len(staged) == 20
        assert sum(one.drift_type == NEW_KINDS for one in staged) == 8
    sent = [{one.text for one in staged if one.drift_type == NEW_KINDS} for staged in (first, second)]
    assert not sent[0] & sent[1]
    assert stream_of_new_kinds(known, unseen, **dose, seed=0) == first


def test_without_kinds_held_out_there_are_none_to_send():
    with pytest.raises(DataError, match="hold-out-kinds"):
        stream_of_new_kinds([Message("a", SPAM)], [], samples=2, strength=1, proportion=1, seed=0)
