"""The words behind a stored verdict are those of the version that gave it, or are not told."""

import re

import pytest

from spamctl.engine.manifest import digest
from spamctl.registry.versions import Found, beside
from spamctl.serving.explain import MOST_TOLD, Reasons
from tests import tiny_packages


def known(sign):
    """Return the three words of the tiny package that push most towards spam (1), or away from it (-1)."""
    return sorted(tiny_packages.words(), key=lambda word: -sign * tiny_packages.words()[word])[:3]


@pytest.fixture
def cache(tmp_path):
    """Keep a copy of version 1 of the model spam."""
    (tmp_path / "spam").mkdir()
    tiny_packages.write(tmp_path / "spam" / "1-abc")
    return tmp_path


def test_words_that_push_either_way_are_told_with_their_push(cache):
    spam, rest = known(1)[0], known(-1)[0]
    told = dict(pair.rsplit(" ", 1) for pair in Reasons(cache).words("spam", "1", f"{spam} {rest}").split(", "))
    assert float(told[spam]) > 0 > float(told[rest])


def test_what_a_monitor_left_beside_a_copy_is_none(cache):
    found = Found("spam", "1", "", str(cache / "spam" / "1-abc"))
    for name in ("features.npz", "test_part.json"):
        beside(found, name).write_bytes(b"no model")
    assert re.fullmatch(r"\S.* \+\d+\.\d\d", Reasons(cache).words("spam", "1", known(1)[0]))


def test_a_few_words_are_enough(cache):
    told = Reasons(cache).words("spam", "1", " ".join([*known(1), *known(-1)] * 9))
    assert 1 <= len(told.split(", ")) <= MOST_TOLD
    assert re.fullmatch(r"\S.* [+-]\d+\.\d\d", told)


@pytest.mark.parametrize(
    ("name", "version"),
    [("spam", "2"), ("ham", "1"), ("../spam", "1"), ("spam", "../1"), ("spam", "*"), ("", ""), ("spam", "1-abc")],
)
def test_of_another_version_nothing_is_told(cache, name, version):
    assert Reasons(cache).words(name, version, "win") == ""


def test_of_two_packages_of_one_number_the_one_that_answered_is_asked(cache):
    other = tiny_packages.write(cache / "spam" / "1-xyz", scale=-4.0)
    (cache / "spam" / "1-xyz.test_part.json").write_text("[]")
    spam, reasons = known(1)[0], Reasons(cache)
    told = [reasons.words("spam", "1", spam, digest(place)) for place in (cache / "spam" / "1-abc", other)]
    assert [float(one.rsplit(" ", 1)[1]) > 0 for one in told] == [True, False]
    assert reasons.words("spam", "1", spam, "0" * 64) == ""
    assert reasons.words("spam", "1", spam) in told


def test_a_damaged_copy_says_so(cache):
    (cache / "spam" / "1-abc" / "model.bin").write_bytes(b"changed")
    assert Reasons(cache).words("spam", "1", "win").startswith("not known: ")


@pytest.mark.parametrize("text", ["", " ", "\ud83d", "\0"], ids=ascii)
def test_odd_texts_have_no_words_or_some(cache, text):
    assert isinstance(Reasons(cache).words("spam", "1", text), str)
