"""Replace words of a text by newer ones and slang, keeping grammar and letter case."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from spamctl.message import SPAM, Label
from spamctl.schema.codec import from_json
from spamctl.simulate.dice import Dice
from spamctl.simulate.lexicon import lexicon
from spamctl.simulate.links import live_spans

# What begins with the sound of a vowel: also "NFT", which is spelt out, and not "USDT".
_SOUNDS_OF_A_VOWEL = re.compile(r"[AEFHILMNORSX][A-Z]{1,3}s?\b|(?!U[A-Z])[aeiouAEIOU]")
_ENDS = (".", "!", "?")
_NO_CAPITAL_OF_OPENING = frozenset({"i", "i'm", "im"})
_FIRST_WORD = re.compile(r"[^\W\d_][\w']*")


@dataclass(frozen=True, slots=True)
class Terms:
    """A lexicon: new forms by old form, a pattern that finds those, and what goes before or after."""

    new_forms: dict[str, tuple[str, ...]]
    pattern: re.Pattern[str]
    openers: tuple[str, ...]
    closers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Introductions:
    """Slang that may stand before or after a whole message."""

    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A lexicon as its file spells it: new forms by old forms by part of speech, and slang to introduce."""

    replace: Mapping[str, Mapping[str, tuple[str, ...]]]
    introduce: Introductions


@cache
def terms(label: Label) -> Terms:
    """Read the lexicon of spam, or that of the rest.

    An entry names all forms of an old word and those of new ones in the same order (`prize/prizes: [drop/drops]`), so a
    noun stays a noun, a plural a plural, and a past tense a past tense. A new word of one form serves for all.
    """
    known = from_json(Vocabulary, lexicon("vocabulary-spam" if label == SPAM else "vocabulary-not-spam"))
    new_forms: dict[str, tuple[str, ...]] = {}
    for entries in known.replace.values():
        for old, new in entries.items():
            for place, form in enumerate(old.split("/")):
                new_forms[form] = tuple(_form(other, place) for other in new)
    longest_first = sorted(new_forms, key=lambda form: (-len(form), form))
    old = "|".join(map(re.escape, longest_first))
    pattern = rf"(?:\b(?P<article>(?ai:an?))(?P<gap>\s+))?(?<![\w'-])(?P<old>(?ai:{old}))(?![\w'-])"
    return Terms(new_forms, re.compile(pattern), known.introduce.before, known.introduce.after)


def _form(word: str, place: int) -> str:
    """Return the form of a new word that answers the old one's form at a place."""
    forms = word.split("/")
    return forms[place] if len(forms) > 1 else forms[0]


def vocabulary(text: str, label: Label, dice: Dice, strength: float) -> str:
    """Replace each word that the lexicon of a label knows with probability `strength`, and add new ones at the ends."""
    if not any(map(str.isalpha, text)):
        return text
    known, live = terms(label), live_spans(text)

    def other(match: re.Match[str]) -> str:
        lot, new = dice.lot(), dice.pick(known.new_forms[match["old"].lower()])
        if lot >= strength or any(start <= match.start("old") < end for start, end in live):
            return match[0]
        return _article(match, new) + (match["gap"] or "") + in_case_of(match["old"], new)

    changed = known.pattern.sub(other, text)
    before, opener = dice.lot(), dice.pick(known.openers)
    after, closer = dice.lot(), dice.pick(known.closers)
    if before < strength:
        changed = f"{in_case_of(_first_word(text), opener)} {_behind(opener, changed)}"
    if after < strength:
        changed = f"{changed} {in_case_of(_first_word(text), closer) if text.endswith(_ENDS) else closer}"
    return changed


def in_case_of(old: str, new: str) -> str:
    """Write a new word in the letter case of an old one: `PRIZE` and `Prize` become `DROP` and `Drop`.

    One capital may be either, as in "I": it opens a sentence. A new word's own capitals stay, as in "NFT".
    """
    letters = [letter for letter in old if letter.isalpha()]
    if len(letters) > 1 and all(map(str.isupper, letters)):
        return new.upper()
    return new[:1].upper() + new[1:] if letters and letters[0].isupper() else new


def _article(match: re.Match[str], new: str) -> str:
    """Return `a` or `an` as the new word wants it, in the case of the old article, or nothing where there was none."""
    old = match["article"]
    if not old:
        return ""
    right = "an" if _SOUNDS_OF_A_VOWEL.match(new) else "a"
    if old.isupper() and match["old"].isupper():
        return right.upper()
    return right.capitalize() if old[0].isupper() else right


def _behind(opener: str, text: str) -> str:
    """Lower-case the first word of a sentence that follows a comma, if it was capitalised as its opening."""
    first = _FIRST_WORD.match(text)
    little = first is not None and first[0].lower() in lexicon("length")["little words"]
    if (
        first is None
        or not little
        or first[0].lower() in _NO_CAPITAL_OF_OPENING
        or first[0][1:] != first[0][1:].lower()
    ):
        return text
    return text[0].lower() + text[1:] if opener.endswith(",") else text


def _first_word(text: str) -> str:
    """Return the first run of letters."""
    found = _FIRST_WORD.search(text)
    return found[0] if found else ""
