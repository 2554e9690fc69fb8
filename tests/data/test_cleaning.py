"""Cleaning accepts any string, and keeps what spammers use."""

import time
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from spamctl.data.cleaning import clean
from tests.each import each

any_text = st.text(st.characters(codec=None) | st.sampled_from("&#;x0aglt\ud83d\ude00\u0301\u0316\r\n\x00\u200b"))


@each(
    ("raw", "cleaned"),
    [
        ("call &lt;#&gt; now", "call <#> now"),
        ("fish &amp; chips", "fish & chips"),
        ("&amp;lt; &&#35;65; &am\x00p;lt; &euro\u037e", "< A < €"),
        ("e\u0301", "é"),
        ("a\x00b\x07c\x7fd\x9fe", "abcde"),
        ("a\r\nb\rc\x0bd\x85e", "a\nb\nc\nd\ne"),
        ("a\x1fb\tc\n", "a b\tc\n"),
        ("\ud800 x \udc00", "\ufffd x \ufffd"),
        ("\ud83d\ude00", "\U0001f600"),
        ("&#x81;&#0;&#xd800;", "\ufffd\ufffd"),
        ("&#" + "9" * 5000 + ";!", "\ufffd!"),
        ("", ""),
    ],
)
def test_clean_mends_what_carries_no_meaning(raw, cleaned):
    assert clean(raw) == cleaned


@each("kept", ["fr\u200bee", "\u202eeerf", "frее", "ｆｒｅｅ", "FREE £1,000", "a\u00a0b", "&", "&#", "😀"])
def test_clean_keeps_what_spammers_use(kept):
    assert clean(kept) == kept


@given(any_text)
def test_cleaned_text_is_normal_and_can_be_stored(raw):
    cleaned = clean(raw)
    assert unicodedata.is_normalized("NFC", cleaned)
    assert not {c for c in cleaned if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t"}
    assert cleaned.encode().decode() == cleaned


@given(any_text)
def test_cleaning_twice_changes_nothing(raw):
    assert clean(clean(raw)) == clean(raw)


def test_entities_within_entities_take_linear_time():
    started = time.perf_counter()
    assert len(clean("&" + "amp;" * 1_000_000)) == 4_000_001 - 8 * 4
    assert time.perf_counter() - started < 10  # hours, if each layer were unescaped


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Mn", "Mc", "Me"])).filter(lambda text: "&" not in text))
def test_text_without_marks_and_controls_is_only_normalised(raw):
    assert clean(raw) == unicodedata.normalize("NFC", raw)


def test_a_flood_of_combining_marks_takes_linear_time():
    flood = "a" + "\u0300\u0316" * 200_000
    started = time.perf_counter()
    cleaned = clean(flood)
    assert time.perf_counter() - started < 10  # two minutes, if runs of marks are not cut
    assert unicodedata.is_normalized("NFC", cleaned)
    assert cleaned.replace("\u034f", "").count("\u0316") == 200_000


def test_up_to_thirty_combining_marks_stay_as_they_are():
    zalgo = "z" + "\u0316" * 30
    assert clean(zalgo) == zalgo
    assert clean(zalgo + "\u0316") == zalgo + "\u034f\u0316"
