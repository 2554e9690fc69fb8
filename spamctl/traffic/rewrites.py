"""Rewrite texts as spammers and years do: disguises, newer words, padding, other hosts."""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from spamctl.schema.codec import from_json
from spamctl.schema.message import SPAM, Label
from spamctl.traffic.rng import SeededRandom, whole

# Read the word lists of the simulation; each is a file that one can extend with an editor.

_FOLDER = "lexicons"


@cache
def lexicon(name: str) -> dict[str, Any]:
    """Return a word list of the package by its name, such as `vocabulary-spam`."""
    text = files("spamctl.traffic").joinpath(_FOLDER, f"{name}.yaml").read_text(encoding="utf-8")
    return {key: _lines(value) for key, value in yaml.safe_load(text).items()}


@dataclass(frozen=True, slots=True)
class HostWords:
    """Parts of made-up host names: first, joint, second."""

    first: tuple[str, ...]
    joint: tuple[str, ...]
    second: tuple[str, ...]


@cache
def host_words() -> HostWords:
    """Return the parts of made-up host names."""
    return from_json(HostWords, lexicon("hosts"))


def _lines(value: Any) -> Any:
    """Turn each block of text into its lines: one phrase a line needs no quotes."""
    if isinstance(value, dict):
        return {key: _lines(inner) for key, inner in value.items()}
    return value.splitlines() if isinstance(value, str) and "\n" in value else value


# Generate host names that nobody owns, and replace the hosts of the links in a text.

# RFC 2606 keeps these free for ever, so that no message made here leads anywhere.
ENDINGS = ("example", "test", "invalid")

_NAME = r"(?:[a-z0-9](?:[a-z0-9-]{0,62})\.){1,6}"
_KNOWN = r"(?:com|net|org|info|biz|mobi|uk|tv|ac|eu|us|example|test|invalid)"
_PREFIX = r"(?:https?://|(?:www|wap)\.)"
# A host follows a scheme or `www.`, or ends as hosts do; "ok.see you" is two sentences, and "me@mail.com" an address.
_HOST = re.compile(
    rf"(?<![\w@.-])(?P<before>(?:{_PREFIX}){{1,2}})[a-z0-9-]{{1,63}}(?:\.[a-z0-9-]{{1,63}}){{0,6}}"
    rf"|(?<![\w@.-]){_NAME}{_KNOWN}(?![\w-])",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"\S+")
_LIVE = re.compile(r"\d|@|://|\w\.\w")


def host(dice: SeededRandom, *, about: str = "") -> str:
    """Make up a host name, which may begin with what it is about."""
    words = host_words()
    first, joint = (about, "-") if about else (dice.pick(words.first), dice.pick(words.joint))
    return f"{first}{joint}{dice.pick(words.second)}.{dice.pick(ENDINGS)}"


def rotate(text: str, dice: SeededRandom, strength: float) -> str:
    """Give each link of a text another host with probability `strength`; its path stays."""

    def other(match: re.Match[str]) -> str:
        lot, name = dice.lot(), host(dice)
        return f"{match['before'] or ''}{name}" if lot < strength else match[0]

    return _HOST.sub(other, text)


def has_link(text: str) -> bool:
    """Return whether a text names a host that can be rotated."""
    return _HOST.search(text) is not None


def is_live(token: str) -> bool:
    """Return whether a token must stay as it is to work: a link, an address, a number to call, a code to send."""
    return _LIVE.search(token) is not None


def live_spans(text: str) -> list[tuple[int, int]]:
    """Return where the live tokens of a text start and end."""
    return [found.span() for found in _TOKEN.finditer(text) if is_live(found[0])]


_WORD = re.compile(r"[^\W\d_]{2,}")
_SHARE = 0.6  # of the letters of a disguised word that have a look-alike
_UNSEEN = ("\u200b", "\u200c", "\u200d", "\u2060", "\ufeff")

Change = Callable[[str, SeededRandom], str]


def homoglyphs(text: str, dice: SeededRandom, strength: float) -> str:
    """Write words, each with probability `strength`, with letters of other alphabets that look the same."""
    return _each_word(text, dice, strength, lambda word, lots: _swap(word, lots, lexicon("homoglyphs")))


def leet(text: str, dice: SeededRandom, strength: float) -> str:
    """Write words, each with probability `strength`, with digits and signs for letters."""
    return _each_word(text, dice, strength, lambda word, lots: _swap(word, lots, lexicon("leet")))


def zero_width(text: str, dice: SeededRandom, strength: float) -> str:
    """Break words, each with probability `strength`, with one or two characters that have no width."""
    return _each_word(text, dice, strength, _broken)


def _each_word(text: str, dice: SeededRandom, strength: float, change: Change) -> str:
    """Change words with probability `strength`, and leave alone what must be clicked, called or copied.

    Lots are drawn for every word, changed or not: what a lower strength changes, a higher one changes likewise.
    """

    def word(match: re.Match[str]) -> str:
        lot, changed = dice.lot(), change(match[0], dice)
        return changed if lot < strength else match[0]

    def token(match: re.Match[str]) -> str:
        return match[0] if is_live(match[0]) else _WORD.sub(word, match[0])

    return _TOKEN.sub(token, text)


def _swap(word: str, dice: SeededRandom, table: dict[str, list[str]]) -> str:
    """Swap most letters of a word that the table knows, and at least one of them."""
    places = [place for place, letter in enumerate(word) if letter in table]
    if not places:
        return word
    sure = dice.pick(places)
    letters = list(word)
    for place in places:
        lot, other = dice.lot(), dice.pick(table[word[place]])
        if place == sure or lot < _SHARE:
            letters[place] = other
    return "".join(letters)


def _broken(word: str, dice: SeededRandom) -> str:
    """Put one or two unseen characters between letters of a word."""
    for _ in range(dice.between(1, 2)):
        place, unseen = dice.between(1, len(word) - 1), dice.pick(_UNSEEN)
        word = word[:place] + unseen + word[place:]
    return word


# Replace words of a text by newer ones and slang, keeping grammar and letter case.

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


def vocabulary(text: str, label: Label, dice: SeededRandom, strength: float) -> str:
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


# Lengthen or shorten a text without changing its meaning.

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=\S)")
_SPACED_TOKEN = re.compile(r"(\s*)(\S+)")
_LETTERS = re.compile(r"[^\W\d_]+")
_FEWEST = 8  # words that full strength adds even to a message of one
_AT_THE_END = 0.6  # of the phrases; the others go between sentences


def good_words(text: str, dice: SeededRandom, strength: float) -> str:
    """Add innocent phrases, at full strength as many words as the text has: they outvote the guilty ones."""
    return _padded(text, lexicon("good-words")["phrases"], dice, strength)


def length(text: str, dice: SeededRandom, strength: float) -> str:
    """Pad one half of all texts with words that tell nothing, and write the other half in telegram style.

    A telegram drops the little words alone (lexicon `length`), so what a message asks for, and hence its label, stays.
    """
    known = lexicon("length")
    if dice.lot() < 0.5:  # noqa: PLR2004 a half
        return _padded(text, known["padding"], dice, strength)
    return _telegram(text, frozenset(known["little words"]), dice, strength)


def _padded(text: str, phrases: Sequence[str], dice: SeededRandom, strength: float) -> str:
    """Add phrases until the wanted number of words is reached; a higher strength adds more to the same ones."""
    if not text.strip():
        return text
    wanted = whole(strength, max(_FEWEST, len(text.split())))
    places = [found.end() for found in _SENTENCE_END.finditer(text)]
    added: defaultdict[int, list[str]] = defaultdict(list)
    while wanted > 0:
        phrase, lot, place = dice.pick(phrases), dice.lot(), dice.lot()
        at_the_end = lot < _AT_THE_END or not places
        added[len(text) if at_the_end else places[int(place * len(places))]].append(phrase)
        wanted -= len(phrase.split())
    for place in sorted(added, reverse=True):
        joined = " ".join(added[place])
        text = f"{text} {joined}" if place == len(text) else f"{text[:place]}{joined} {text[place:]}"
    return text


def _telegram(text: str, little: frozenset[str], dice: SeededRandom, strength: float) -> str:
    """Drop little words, each with probability `strength`; a text of nothing else stays."""
    tokens = _SPACED_TOKEN.findall(text)
    is_little = [_is_little(token, little) for _, token in tokens]
    if all(is_little):
        return text
    lots = [dice.lot() for _ in tokens]
    kept = [
        gap + token
        for (gap, token), drop, lot in zip(tokens, is_little, lots, strict=True)
        if not (drop and lot < strength)
    ]
    if len(kept) == len(tokens):
        return text
    return "".join(kept).lstrip()


def _is_little(token: str, little: frozenset[str]) -> bool:
    """Return whether a token is one little word, with nothing but punctuation around it."""
    words = _LETTERS.findall(token)
    return not is_live(token) and len(words) == 1 and words[0].lower() in little
