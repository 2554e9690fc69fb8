"""New words keep the grammar and the case of those they replace."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamctl.schema.message import NOT_SPAM, SPAM
from spamctl.traffic.rewrites import in_case_of, lexicon, terms, vocabulary
from spamctl.traffic.rng import SeededRandom
from tests.each import each

LEXICONS = {SPAM: "vocabulary-spam", NOT_SPAM: "vocabulary-not-spam"}
PARTS = [(label, part) for label, name in LEXICONS.items() for part in lexicon(name)["replace"]]
# "an NFT", as it is spelt out; "a USDT"
SOUNDS_OF_A_VOWEL = r"[aeioAEIO]|u|U[a-z]|NFT|LFG"
WORDS = st.sampled_from(["prize", "caſh", "CASH", "Kall", "call", "£1000", "now.", "www.a.com", "A", "an", "free"])


def bare(text, label, seed=0):
    """Return a text with new words, without what was put before and after it."""
    known = terms(label)
    changed = vocabulary(text, label, SeededRandom(seed), 1.0)
    for end, start in ((known.closers, False), (known.openers, True)):
        for slang in sorted(end, key=len, reverse=True):
            if start and changed.casefold().startswith(f"{slang} ".casefold()):
                changed = changed[len(slang) + 1 :]
                break
            if not start and changed.casefold().endswith(f" {slang}".casefold()):
                changed = changed[: -len(slang) - 1]
                break
    return changed


@each(("label", "part"), PARTS)
def test_each_form_gets_the_same_form_of_a_new_word(label, part):
    for old, new in lexicon(LEXICONS[label])["replace"][part].items():
        for place, form in enumerate(old.split("/")):
            forms = [word.split("/") for word in new]
            expected = {f"zzz {word[place] if len(word) > 1 else word[0]} zzz" for word in forms}
            assert {bare(f"zzz {form} zzz", label, seed) for seed in range(8)} <= expected


@each(
    ("old", "new", "expected"),
    [
        ("PRIZE", "airdrop", "AIRDROP"),
        ("Prize", "loot box", "Loot box"),
        ("prize", "NFT", "NFT"),
        ("U", "you", "You"),
        ("i'm", "I'm", "I'm"),
        ("!", "ok", "ok"),
    ],
)
def test_case_is_kept(old, new, expected):
    assert in_case_of(old, new) == expected


@pytest.mark.parametrize("label", [SPAM, NOT_SPAM])
def test_an_article_agrees_with_the_new_word(label):
    for form, news in terms(label).new_forms.items():
        for article, other in (("a", "an"), ("A", "An")):
            for wrong in (article, other):
                text = bare(f"zzz {wrong} {form} zzz", label)
                found = re.fullmatch(r"zzz (an?) (.+) zzz", text, re.IGNORECASE)
                assert found
                assert found[1] == (other if re.match(SOUNDS_OF_A_VOWEL, found[2]) else article), text
                assert found[2] in news


def test_an_article_keeps_its_case():
    assert re.match(r"AN? (?!PRIZE)[A-Z ]+!$", bare("A PRIZE!", SPAM))


@each("text", ["prizes-r-us", "xprize", "prize.example.com", "www.cash.com/prize", "cash4u", "don't-call", "café"])
def test_parts_of_words_and_of_links_stay(text):
    assert bare(f"zzz {text} zzz", SPAM) == f"zzz {text} zzz"


def test_spam_and_the_rest_have_words_of_their_own():
    assert vocabulary("free cash", SPAM, SeededRandom(0), 1.0) != vocabulary(
        "free cash", NOT_SPAM, SeededRandom(0), 1.0
    )


def test_a_sentence_goes_on_in_small_letters_behind_slang():
    texts = {vocabulary("Did you see it?", NOT_SPAM, SeededRandom(seed), 1.0) for seed in range(40)}
    assert any(re.match(r"[A-Z][\w ]*, did you", text) for text in texts)
    assert any(re.match(r"[A-Z][\w ]*: Did you", text) for text in texts)
    assert all(" I'm " in vocabulary("I'm here", NOT_SPAM, SeededRandom(seed), 1.0) for seed in range(10))


@given(st.text(), st.sampled_from([SPAM, NOT_SPAM]), st.integers())
def test_any_text_is_taken_and_none_changes_at_strength_0(text, label, seed):
    assert vocabulary(text, label, SeededRandom(seed), 0.0) == text
    changed = vocabulary(text, label, SeededRandom(seed), 1.0)
    assert (changed == text) == (not any(map(str.isalpha, text)))


@given(st.lists(WORDS, max_size=12))
def test_numbers_and_links_stay_in_their_order(words):
    kept = [word for word in words if re.search(r"\d|www", word)]
    changed = vocabulary(" ".join(words), SPAM, SeededRandom(5), 1.0).split()
    assert [word for word in changed if re.search(r"1000|www", word)] == kept
