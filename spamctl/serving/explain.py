"""Explain a verdict by words (leave-one-out), of a message at hand or of a stored answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from spamctl.engine.manifest import MANIFEST, digest
from spamctl.errors import ArtefactError
from spamctl.registry.registry_file import NAME
from spamctl.schema.message import WordPush

if TYPE_CHECKING:
    from spamctl.engine.engine import Engine

MOST_WORDS = 64
MOST_TOLD = 6
_LEAST_PUSH = 0.05  # log-odds, below which a word is not behind anything
# A window of 512 tokens ends long before these characters; a text of 10 MB costs no more than a page.
_READ_FOR_WORDS = 8_192
_KEPT_OF_THE_TEXT = 65_536

_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class Word:
    """A word, or a run of neighbours, and its characters [start, end) in the message."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Variants:
    """Words of a message in order, and beside each the message without it."""

    words: tuple[Word, ...]
    texts: tuple[str, ...]


def variants(text: str, *, most_words: int = MOST_WORDS) -> Variants:
    """Return the message without each of its words in turn: at most `most_words` texts, to be scored in one batch.

    In a message of more words, neighbours go together in runs of one length, so that all of it is explained. Offsets
    count characters (Unicode code points), as Python does. A message without words has no variants.

    Leave-one-out is the "erasure" of Li, Monroe and Jurafsky, Understanding Neural Networks through Representation
    Erasure, 2016 (https://arxiv.org/abs/1612.08220).
    """
    words = _runs(text, most_words)
    kept = text[:_KEPT_OF_THE_TEXT]
    return Variants(words, tuple(kept[:start] + kept[end:] for start, end in _cuts(kept, words)))


def pushes(logit: float, without: Sequence[float]) -> list[float]:
    """Return how far each word pushes the message towards spam, in raw log-odds: the logit less the one without it."""
    return [logit - other for other in without]


def explanation(variants: Variants, logit: float, without: Sequence[float]) -> list[WordPush]:
    """Return each word with its push.

    `logit` is the message's own, `without` are those of its variants in order; a different number is a ValueError.
    """
    return [
        WordPush(word.text, word.start, word.end, push)
        for word, push in zip(variants.words, pushes(logit, without), strict=True)
    ]


def told(variants: Variants, logit: float, without: Sequence[float]) -> str:
    """Return the words that push a message most, each with its push in log-odds of spam, the strongest first."""
    found = zip((word.text for word in variants.words), pushes(logit, without), strict=True)
    strongest = sorted(found, key=lambda pair: -abs(pair[1]))[:MOST_TOLD]
    return ", ".join(f"{word} {push:+.2f}" for word, push in strongest if abs(push) >= _LEAST_PUSH)


def _runs(text: str, most: int) -> tuple[Word, ...]:
    """Return the words where a message begins, in at most `most` runs of neighbours."""
    spans = [found.span() for found in _WORD.finditer(text, 0, _READ_FOR_WORDS)]
    length = max(1, -(-len(spans) // most))
    runs = [spans[first : first + length] for first in range(0, len(spans), length)]
    return tuple(Word(text[run[0][0] : run[-1][1]], run[0][0], run[-1][1]) for run in runs)


def _cuts(text: str, words: Sequence[Word]) -> list[tuple[int, int]]:
    """Return what is left out with each word: also the space after it, or before the last, so that none is doubled."""
    if not words:
        return []
    cuts = [(word.start, following.start) for word, following in pairwise(words)]
    last, following = words[-1], _WORD.search(text, words[-1].end)
    if following:
        return [*cuts, (last.start, following.start())]
    return [*cuts, (words[-2].end if len(words) > 1 else last.start, last.end)]


# Explain a stored verdict by words, with a local copy of the exact version that gave it, if there is one.

_VERSION = re.compile(r"[0-9]{1,9}")


class Reasons:
    """Engines for explanations, each loaded once, from the server's copies under `cache`."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._engines: dict[tuple[str, str, str], Engine | str] = {}

    def words(self, name: str, version: str, text: str, package: str = "") -> str:
        """Return the words that push a text most, each with its push in log-odds of spam, the strongest first.

        `package` is the digest of the one that answered, if it is known. Nothing if no copy of it lies here; if the
        copy is damaged, what is wrong with it.
        """
        key = (name, version, package)
        if key not in self._engines:
            self._engines[key] = self._engine(*key)
        engine = self._engines[key]
        if isinstance(engine, str):
            return engine
        without = variants(text)
        logit, *logits = engine.logits(engine.tokenize([text, *without.texts])).tolist()
        return told(without, logit, logits)

    def _engine(self, name: str, version: str, package: str) -> Engine | str:
        """Load a version; what the store calls it must be a name before it may be part of a path."""
        if not (NAME.fullmatch(name) and _VERSION.fullmatch(version)):
            return ""
        # What a monitor has computed of a version lies beside its copy, as files of nearly the same name.
        copies = [copy for copy in sorted((self._cache / name).glob(f"{version}-*")) if _is_copy(copy, package)]
        if not copies:
            return ""
        from spamctl.engine.engine import Engine  # which takes a while to load, and may not be needed

        try:
            return Engine(copies[-1], threads=1)
        except ArtefactError as refusal:
            return f"not known: {refusal}"


def _is_copy(place: Path, package: str) -> bool:
    """Return whether a folder holds a package, the one of that digest if it is known."""
    return (place / MANIFEST).is_file() and package in ("", digest(place))
