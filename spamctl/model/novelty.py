"""Measure how much of a message is unlike all training messages, and decide which messages are out of reach.

A message's novelty is the share of its words that no training message holds, as if three known words stood beside
them: a word or two alone tell little. Only words of letters count: prices, numbers, links and letters written as digits
are new in every message, and a spammer's disguise must not have it delivered. Scripts that write no blanks are read in
pairs of characters. Of the ways to measure this that were tried on languages held out whole, shares of n-grams among
them, it tells them apart best, and padding a message moves it least.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spamctl.errors import ArtefactError
from spamctl.model.ngrams import as_read
from spamctl.schema.evaluation import Reach

BITS = 20  # of a word's hash: 40,000 words fill 4 % of the places, so of 100 new words 4 pass for known
PRIOR = 3  # known words that stand beside those of the message
GOOD_SHARE, CAUGHT_SHARE = 0.02, 0.01  # of validation rows: good ones, and caught spam
LEAST = 0.3  # a message is in reach if less of it is new, whatever validation says: one new word alone is a quarter

_WORD = re.compile(r"\w+")
# Thai, Lao, Burmese, Khmer, Kana, Han
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"
)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words of the training messages as one bit for each hash; no word can be read off it."""

    bits: bytes  # 2^BITS of them, the lowest of each byte first

    def novelty(self, text: str) -> float:
        """Return the share, 0 to 1, of a message's words that were never seen; 0 if it holds no word."""
        places = [_place(word) for word in words(text)]
        unseen = sum(not self.bits[place >> 3] >> (place & 7) & 1 for place in places)
        return unseen / (len(places) + PRIOR)

    @classmethod
    def of(cls, texts: Iterable[str]) -> Vocabulary:
        """Learn the words of training messages."""
        seen = np.zeros(2**BITS, np.bool_)
        seen[[_place(word) for text in texts for word in words(text)]] = True
        return cls(np.packbits(seen, bitorder="little").tobytes())

    @classmethod
    def from_bytes(cls, content: bytes) -> Vocabulary:
        """Read the bits as they were packaged; raise ArtefactError if they are something else."""
        if len(content) != 2**BITS // 8:
            raise ArtefactError("the vocabulary is not of the known size; use the spamctl that packaged it")
        return cls(content)


def words(text: str) -> Iterator[str]:
    """Yield the words of a text that are made of letters, as a person reads them: case makes no difference."""
    for word in _WORD.findall(as_read(text)):
        if not word.isalpha():
            continue
        yield from _UNSPACED.sub(" ", word).split()
        for run in _UNSPACED.findall(word):
            yield from (run[place : place + 2] for place in range(max(1, len(run) - 1)))


def limit_of(is_spam: ArrayLike, called_spam: ArrayLike, novelties: ArrayLike) -> float:
    """Return the novelty beyond which a message is out of reach, from validation rows (N,).

    It is the lowest at which no more than 2 % of the good rows, and no more than 1 % of the spam that is caught, are.
    """
    truth, called = np.asarray(is_spam, np.bool_), np.asarray(called_spam, np.bool_)
    found = np.asarray(novelties, np.float64)
    return max(LEAST, _within(found[~truth], GOOD_SHARE), _within(found[truth & called], CAUGHT_SHARE))


def measure(is_spam: ArrayLike, called_spam: ArrayLike, novelties: ArrayLike, limit: float) -> Reach:
    """Count which rows (N,) of a part are out of reach, and the spam that is delivered for it."""
    truth, called = np.asarray(is_spam, np.bool_), np.asarray(called_spam, np.bool_)
    out = np.asarray(novelties, np.float64) > limit
    counts = (~truth, ~truth & out, truth, truth & out, truth & called, truth & called & out)
    return Reach(limit, *(int(rows.sum()) for rows in counts))


def _within(novelties: NDArray[np.float64], share: float) -> float:
    """Return the lowest of some novelties that no more than a share of them exceeds; 0 if there are none."""
    if not novelties.size:
        return 0.0
    return float(np.sort(novelties)[novelties.size - 1 - int(share * novelties.size + 1e-9)])


def _place(word: str) -> int:
    return zlib.crc32(word.encode("utf-8", "surrogatepass")) >> (32 - BITS)
