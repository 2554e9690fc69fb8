"""Describe texts by simple statistics: length, words, digits, links, capitals, odd Unicode."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

_LINK = re.compile(
    r"(?:https?://|www\.)\S*|\b[a-z0-9-]{2,63}\.(?:com|net|org|info|biz|tv|mobi|io|ly|co|uk|me|app)\b\S*", re.IGNORECASE
)
_INVISIBLE = frozenset({"Cc", "Cf", "Cn", "Co", "Cs"})
_SPACE = frozenset("\t\n\r")


def describe(texts: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Return each of DESCRIPTORS over N texts, as columns (N,); whatever a text holds, the numbers are finite.

    `length` counts characters, `words` and `links` count, `word_length` is a mean. The others are shares: `capitals` of
    the letters, the rest of the characters.
    """
    return {
        name: np.fromiter(map(measure, texts), dtype=np.float64, count=len(texts))
        for name, measure in DESCRIPTORS.items()
    }


def odd_characters(text: str) -> int:
    """Count unusual characters: invisible ones, and letters that imitate others.

    A letter poses if compatibility makes another of it (full width, mathematical), or if it is in a word of letters of
    different scripts. A text in another script alone is not odd.
    """
    if text.isascii():
        return sum(char < " " and char not in _SPACE for char in text)
    hidden = sum(unicodedata.category(char) in _INVISIBLE and char not in _SPACE for char in text)
    return hidden + sum(map(_posing, re.findall(r"[^\W\d_]+", text)))


def _posing(word: str) -> int:
    """Count the letters of a word in another script than its most frequent one, or in a styled form."""
    if word.isascii():
        return 0
    scripts = [script(char) for char in word]
    main = max(sorted(set(scripts)), key=scripts.count)
    return sum(one != main or _dressed(char) for char, one in zip(word, scripts, strict=True))


@lru_cache(maxsize=4096)
def script(char: str) -> str:
    """Return the script of a letter, such as Latin, by the first word of its Unicode name."""
    return unicodedata.name(char, "Unknown").partition(" ")[0].title()


@lru_cache(maxsize=4096)
def _dressed(char: str) -> bool:
    plain = unicodedata.normalize("NFKC", char)
    return plain != unicodedata.normalize("NFC", char) and plain.isascii()


def _share(counted: Callable[[str], bool], among: Callable[[str], bool] = lambda _: True) -> Callable[[str], float]:
    def measure(text: str) -> float:
        looked_at = [char for char in text if among(char)]
        return sum(map(counted, looked_at)) / len(looked_at) if looked_at else 0.0

    return measure


def _word_length(text: str) -> float:
    words = text.split()
    return sum(map(len, words)) / len(words) if words else 0.0


DESCRIPTORS: Final[Mapping[str, Callable[[str], float]]] = MappingProxyType(
    {
        "length": lambda text: float(len(text)),
        "words": lambda text: float(len(text.split())),
        "digits": _share(str.isdigit),
        "links": lambda text: float(len(_LINK.findall(text))),
        "currency": _share(lambda char: unicodedata.category(char) == "Sc"),
        "capitals": _share(str.isupper, str.isalpha),
        "non_letters": _share(lambda char: not char.isalpha() and not char.isspace()),
        "odd_unicode": lambda text: odd_characters(text) / max(1, len(text)),
        "word_length": _word_length,
    }
)
