"""The second expert counts the same everywhere, learns, and comes back from its bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamctl.engine import ngrams
from spamctl.engine.ngrams import BUCKETS, NgramExpert, count
from spamctl.errors import ArtefactError, NothingLearntError
from spamctl.training.linear_expert import counts_of, expert_margins, fit_expert, margins_of

SPAM = [f"win a free {thing} now, call {n}" for n, thing in enumerate(("phone", "car", "prize", "trip") * 5)]
GOOD = [f"see you at {n}, bring the {thing}" for n, thing in enumerate(("kids", "dog", "book", "keys") * 5)]
TRUTH = np.array([True] * len(SPAM) + [False] * len(GOOD))


@pytest.fixture(scope="module")
def expert():
    return fit_expert(counts_of(SPAM + GOOD), TRUTH)


@given(st.text())
def test_any_text_is_counted_within_bounds(text):
    buckets, counts = count(text)
    assert len(buckets) == len(counts)
    assert (counts >= 1).all()
    assert not len(buckets) or 0 <= buckets.min() <= buckets.max() < BUCKETS
    assert (np.diff(buckets) > 0).all()


def test_what_a_person_does_not_see_makes_no_difference():
    for twin in ("WIN a free car", "win\u200b a fr\u00adee car", "\uff57in a free car"):
        assert [part.tolist() for part in count(twin)] == [part.tolist() for part in count("win a free car")]


def test_buckets_stay_where_they_are():
    """A package that was made before is counted into by whoever serves it."""
    buckets, counts = count("Win £5", digits=True)
    assert (int(buckets.sum()), len(buckets), int(counts.sum())) == (11_779_964, 26, 29)


def test_which_digits_a_message_holds_makes_no_difference():
    twins = [[part.tolist() for part in count(text)] for text in ("Win £5 by 12:30", "win £250 by 9:05", "WIN £ by :")]
    assert twins[0] == twins[1] == twins[2]


def test_an_expert_of_an_older_package_reads_digits_as_it_learnt_to(expert):
    older = NgramExpert.from_bytes(expert.to_bytes()[:-4])
    assert (older.digits, NgramExpert.from_bytes(expert.to_bytes()).digits) == (True, False)
    known = [*map(int, count("5", digits=True)[0])]
    assert not set(known) & set(map(int, count("5")[0]))
    heavy = NgramExpert(np.ones(BUCKETS, np.float32), np.isin(np.arange(BUCKETS), known).astype(np.float32), 0.0, True)
    assert heavy.margin("5") > 0.5
    assert NgramExpert(heavy.frequencies, heavy.weights, 0.0).margin("5") == 0


def test_it_learns_and_comes_back_the_same(expert):
    again = NgramExpert.from_bytes(expert.to_bytes())
    scores = expert_margins(expert, SPAM + GOOD)
    assert ((scores > 0) == TRUTH).all()
    assert np.allclose(expert_margins(again, SPAM + GOOD), scores, atol=1e-6)
    assert expert.margin("") == pytest.approx(expert.bias)
    assert expert.margin("\U0001f600\U0001f680") == pytest.approx(expert.bias, abs=1)


def test_many_are_measured_at_once_as_each_by_itself(expert):
    texts = [*SPAM, "", "\U0001f600 words of nobody", *GOOD, "win win win"]
    assert np.allclose(margins_of(expert, counts_of(texts)), expert_margins(expert, texts), atol=1e-6)


def test_the_words_that_count_most_for_spam_come_first(expert):
    message = "Bring the dog, and WIN a free book now"
    found = expert.words_for_spam(message, 3)
    assert len(found) == 3
    assert set(found) <= {"win", "a", "free", "now", ","}
    assert expert.words_for_spam(message, 1) == found[:1]
    assert expert.words_for_spam("bring the dog", 3) == []
    assert expert.words_for_spam("", 3) == expert.words_for_spam("😀", 3) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content + b"0000",
        lambda content: b"\xff" * len(content),
        lambda _: b"",
    ],
)
def test_bytes_that_hold_no_expert_are_refused(expert, damage):
    with pytest.raises(ArtefactError):
        NgramExpert.from_bytes(damage(expert.to_bytes()))


def test_the_fused_score_is_what_the_scaled_expert_adds(expert):
    chance = np.random.default_rng(0)
    logits = np.where(TRUTH, 2.0, -2.0) + chance.normal(size=len(TRUTH))
    said = expert_margins(expert, SPAM + GOOD)
    scaled, fused = ngrams.fuse(TRUTH, logits, said, expert)
    assert np.allclose(fused, logits + expert_margins(scaled, SPAM + GOOD), atol=1e-3)
    assert (fused[TRUTH].min() > fused[~TRUTH].max()) or (fused - logits)[TRUTH].mean() > (fused - logits)[
        ~TRUTH
    ].mean()


def test_an_expert_that_ranks_the_wrong_way_round_is_refused(expert):
    with pytest.raises(NothingLearntError):
        ngrams.fuse(TRUTH, np.where(TRUTH, -1.0, 1.0), expert_margins(expert, SPAM + GOOD), expert)
