"""Every word list is well formed, so that who extends one is told what is wrong."""

import re
import string
import unicodedata
from pathlib import Path

import pytest

import spamctl.traffic
from spamctl.data.cleaning import clean
from spamctl.schema.message import NOT_SPAM, SPAM
from spamctl.traffic.rewrites import lexicon
from spamctl.traffic.synthetic import FILES, families, is_known, symbols
from tests.each import each

FOLDER = Path(spamctl.traffic.__file__).parent / "lexicons"
NAMES = sorted(path.stem for path in FOLDER.iterdir())
VOCABULARIES = ["vocabulary-spam", "vocabulary-not-spam"]
FAMILIES = [(era, label) for era, label in FILES]


def words_of(value):
    """Yield every string that a lexicon holds."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from words_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from words_of(inner)
    else:
        yield value


@each("name", NAMES)
def test_a_lexicon_opens_by_saying_what_it_is(name):
    assert re.match(r"# [A-Z].*[.\w]\n", (FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


@each("name", [name for name in NAMES if name != "hands"])
def test_a_lexicon_survives_cleaning(name):
    for word in words_of(lexicon(name)):
        assert not isinstance(word, str) or clean(word) == word, word


@each("name", NAMES)
def test_no_key_is_written_twice(name):
    keys = re.findall(r"^( *)([^\s#].*?):(?: |$)", (FOLDER / f"{name}.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    top = [key for indent, key in keys if not indent]
    assert len(top) == len(set(top))


@pytest.mark.parametrize("name", VOCABULARIES)
def test_new_words_have_the_forms_of_old_ones(name):
    seen = {}
    for part, entries in lexicon(name)["replace"].items():
        for old, new in entries.items():
            forms = old.split("/")
            assert new, old
            assert all(len(word.split("/")) in {1, len(forms)} for word in new), (old, new)
            for form in forms:
                assert form == form.lower()
                assert form not in seen, (form, part, seen.get(form))
                seen[form] = part


@pytest.mark.parametrize("name", VOCABULARIES)
def test_no_new_word_is_an_old_one(name):
    entries = [item for entries in lexicon(name)["replace"].values() for item in entries.items()]
    old = {form for key, _ in entries for form in key.split("/")}
    assert not [(key, word) for key, new in entries for word in new if old & set(key.split("/")) & set(word.split("/"))]


@pytest.mark.parametrize("name", VOCABULARIES)
def test_both_ends_have_slang_to_choose_from(name):
    introduce = lexicon(name)["introduce"]
    assert len(set(introduce["before"])) >= 10
    assert len(set(introduce["after"])) >= 10


@each(("era", "label"), FAMILIES)
def test_every_symbol_of_a_family_is_known(era, label):
    for family in families(era, label):
        assert family.phrases["messages"]
        assert {name for name in symbols(family) if not is_known(name, family)} == set(), family.name


@each(("era", "label"), FAMILIES)
def test_every_choice_is_closed_and_every_phrase_is_used(era, label):
    for family in families(era, label):
        used = symbols(family) | {"messages"}
        assert family.phrases.keys() <= used, (family.name, family.phrases.keys() - used)
        for phrase in (phrase for phrases in family.phrases.values() for phrase in phrases):
            assert phrase.count("[") == phrase.count("]"), phrase
            assert phrase.count("{") == phrase.count("}"), phrase


def test_the_families_that_are_promised_are_there():
    names = {(era, label): {family.name for family in families(era, label)} for era, label in FILES}
    assert {
        "parcel fee", "bank alert", "one-time-code theft", "crypto", "job", "romance", "tax refund", "prize",
    } <= names["modern", SPAM]  # fmt: skip
    assert {
        "one-time code", "delivery notice", "appointment", "bank notification", "marketing one asked for", "chat",
    } <= names["modern", NOT_SPAM]  # fmt: skip
    assert len(names["2003", SPAM]) >= 5
    assert len(names["2003", NOT_SPAM]) >= 4


def test_a_homoglyph_is_one_letter_that_is_not_latin_ascii():
    for letter, others in lexicon("homoglyphs").items():
        assert letter in string.ascii_letters
        for other in others:
            assert len(other) == 1
            assert not other.isascii()
            assert unicodedata.category(other)[0] == "L"
            assert other.isupper() == letter.isupper() or unicodedata.name(other).startswith("LATIN LETTER SMALL")


def test_leet_leaves_no_letter():
    for letter, others in lexicon("leet").items():
        assert letter in string.ascii_letters
        assert not [other for other in others if other.isalpha()]
