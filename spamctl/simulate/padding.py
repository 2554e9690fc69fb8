"""Lengthen or shorten a text without changing its meaning."""

import re
from collections import defaultdict
from collections.abc import Sequence

from spamctl.simulate.dice import Dice, whole
from spamctl.simulate.lexicon import lexicon
from spamctl.simulate.links import is_live

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=\S)")
_TOKEN = re.compile(r"(\s*)(\S+)")
_LETTERS = re.compile(r"[^\W\d_]+")
_FEWEST = 8  # words that full strength adds even to a message of one
_AT_THE_END = 0.6  # of the phrases; the others go between sentences


def good_words(text: str, dice: Dice, strength: float) -> str:
    """Add innocent phrases, at full strength as many words as the text has: they outvote the guilty ones."""
    return _padded(text, lexicon("good-words")["phrases"], dice, strength)


def length(text: str, dice: Dice, strength: float) -> str:
    """Pad one half of all texts with words that tell nothing, and write the other half in telegram style.

    A telegram drops the little words alone (lexicon `length`), so what a message asks for, and hence its label, stays.
    """
    known = lexicon("length")
    if dice.lot() < 0.5:  # noqa: PLR2004 a half
        return _padded(text, known["padding"], dice, strength)
    return _telegram(text, frozenset(known["little words"]), dice, strength)


def _padded(text: str, phrases: Sequence[str], dice: Dice, strength: float) -> str:
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


def _telegram(text: str, little: frozenset[str], dice: Dice, strength: float) -> str:
    """Drop little words, each with probability `strength`; a text of nothing else stays."""
    tokens = _TOKEN.findall(text)
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
