"""Obfuscate words as spammers do: look-alike letters, invisible characters, digits for letters."""

import re
from collections.abc import Callable

from spamctl.simulate.dice import Dice
from spamctl.simulate.lexicon import lexicon
from spamctl.simulate.links import is_live

_TOKEN = re.compile(r"\S+")
_WORD = re.compile(r"[^\W\d_]{2,}")
_SHARE = 0.6  # of the letters of a disguised word that have a look-alike
_UNSEEN = ("\u200b", "\u200c", "\u200d", "\u2060", "\ufeff")

Change = Callable[[str, Dice], str]


def homoglyphs(text: str, dice: Dice, strength: float) -> str:
    """Write words, each with probability `strength`, with letters of other alphabets that look the same."""
    return _each_word(text, dice, strength, lambda word, lots: _swap(word, lots, lexicon("homoglyphs")))


def leet(text: str, dice: Dice, strength: float) -> str:
    """Write words, each with probability `strength`, with digits and signs for letters."""
    return _each_word(text, dice, strength, lambda word, lots: _swap(word, lots, lexicon("leet")))


def zero_width(text: str, dice: Dice, strength: float) -> str:
    """Break words, each with probability `strength`, with one or two characters that have no width."""
    return _each_word(text, dice, strength, _broken)


def _each_word(text: str, dice: Dice, strength: float, change: Change) -> str:
    """Change words with probability `strength`, and leave alone what must be clicked, called or copied.

    Lots are drawn for every word, changed or not: what a lower strength changes, a higher one changes likewise.
    """

    def word(match: re.Match[str]) -> str:
        lot, changed = dice.lot(), change(match[0], dice)
        return changed if lot < strength else match[0]

    def token(match: re.Match[str]) -> str:
        return match[0] if is_live(match[0]) else _WORD.sub(word, match[0])

    return _TOKEN.sub(token, text)


def _swap(word: str, dice: Dice, table: dict[str, list[str]]) -> str:
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


def _broken(word: str, dice: Dice) -> str:
    """Put one or two unseen characters between letters of a word."""
    for _ in range(dice.between(1, 2)):
        place, unseen = dice.between(1, len(word) - 1), dice.pick(_UNSEEN)
        word = word[:place] + unseen + word[place:]
    return word
