"""What has changed is named: the word, the messages, the version."""

import numpy as np

from spamctl.drift import causes, hypothesis_tests
from spamctl.drift.causes import risen, terms
from tests.drift.made_samples import bare, messages, sample
from tests.each import each


def pooled(reference, current):
    return hypothesis_tests.pool_samples(reference.distinct(), current.distinct(), 50, np.random.default_rng(0))


def test_terms_are_words_and_pairs_with_their_case_folded_and_their_tricks_kept():
    assert list(terms("FREE fr\u200bee pаypal")) == [
        "free",
        "fr\u200bee",
        "pаypal",
        "free fr\u200bee",
        "fr\u200bee pаypal",
    ]
    assert list(terms("don't £5")) == ["don't", "£", "5", "don't £", "£ 5"]
    assert list(terms("")) == list(terms("?! \x00")) == []


def test_a_new_word_in_some_spam_is_named_on_the_spam_side_alone():
    reference = sample(messages(400, 0))
    current = sample(messages(300, 1, extra=("zorbex", "parcel"), extra_share=0.15))
    found = causes.explain(pooled(reference, current))
    named = {side: [{one.term, *one.beside} for one in found.terms(side)] for side in ("spam", "not spam")}
    assert named["spam"][0] == {"zorbex", "parcel"}
    assert not any("zorbex parcel" in one for one in named["spam"])
    assert not any("zorbex" in one for one in named["not spam"])
    first = found.spam[0]
    assert first.reference_rate == 0
    assert 0.08 < first.current_rate < 0.25
    assert first.z > 1
    assert len(found.spam) <= 10
    assert [one.z for one in found.spam] == sorted((one.z for one in found.spam), reverse=True)


def test_of_words_that_rose_alike_the_one_that_is_new_everywhere_comes_first():
    reference, current = ["win cash"] * 20, ["win cash dinner zorbex"] * 2 + ["win cash"] * 10
    assert risen(reference, current, ["dinner is late"] * 50)[0].term == "zorbex"


def test_a_campaign_of_many_words_leaves_room_for_the_next_cause():
    campaign = "handset landline collection delivery awarded reply customer voucher holiday camera tone premium"
    reference, current = ["win cash"] * 50, ["win cash"] * 20 + [f"{campaign} cash"] * 3 + ["win zorbex cash"] * 2
    found = risen(reference, current)
    assert [one.term for one in found] == ["collection", "zorbex"]
    assert found[0].beside == ("customer", "delivery", "landline")
    assert found[1].beside == ()


@each(
    ("reference", "current"),
    [([], []), ([], ["win cash", "win"]), (["win"], []), (["win"], ["", ""]), (["a"], ["a", "a"])],
)
def test_sides_without_messages_or_words_are_answered(reference, current):
    assert all(one.current_rate > one.reference_rate for one in risen(reference, current))


def test_examples_are_the_messages_that_changed():
    reference = sample(messages(200, 0))
    current = sample(messages(100, 1, extra=("your", "parcel", "is", "held"), extra_share=0.3))
    shown = causes.examples(pooled(reference, current))
    assert sum("parcel" in one.text for one in shown["spam"]) >= 4
    assert len(shown["spam"]) == len(shown["not spam"]) == 5
    assert [one.score for one in shown["spam"]] == sorted((one.score for one in shown["spam"]), reverse=True)


def test_the_version_that_carries_a_change_comes_first():
    calm, drifted = messages(60, 1), messages(60, 2, share=0.95)
    mixed = [row for pair in zip(calm, drifted, strict=True) for row in pair]
    found = causes.carriers(pooled(sample(messages(200, 0)), sample(mixed, versions=("1", "2"))))
    assert [(one.by, one.name, one.rows) for one in found] == [("version", "2", 60), ("version", "1", 60)]
    assert found[0].drift > 1.5 > found[1].drift


def test_one_version_alone_and_small_ones_are_not_named():
    reference = sample(messages(100, 0))
    assert causes.carriers(pooled(reference, sample(messages(60, 1)))) == []
    found = causes.carriers(pooled(reference, sample(messages(60, 1), versions=("1", "1", "1", "2"))))
    assert [one.name for one in found] == ["1"]


def test_texts_of_every_kind_are_explained():
    odd = bare(["", " ", "\x00", "\ud800", "a\ud800b", "\u200b", "🎉", "<script>"] + [f"m {row}" for row in range(30)])
    assert causes.explain(pooled(odd, odd)).spam == ()
