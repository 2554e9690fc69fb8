"""Count hashed n-grams of words and characters, and score a message by a linear model over them.

Only numpy is needed here: the server counts as training does. Features are hashed (Weinberger and others, Feature
Hashing for Large Scale Multitask Learning, 2009), weighed as sublinear TF-IDF and brought to unit length.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spamctl.data.cleaning import UNSEEN
from spamctl.errors import ArtefactError

BUCKETS = 2**20
WORD_ORDERS = (1, 2)
CHARACTER_ORDERS = (1, 2, 3, 4)  # within a word and the blank on either side of it
LONGEST = 20_000  # characters that are looked at: some twenty pages

_WORD = re.compile(r"\w+|[^\w\s]+")  # punctuation tells, too
_MULTIPLY = np.uint64(0x9E3779B97F4A7C15)  # 2^64 divided by the golden ratio: Knuth's multiplicative hashing
_SHIFT = np.uint64(64 - 20)
_BLANK = np.uint64(ord(" "))

Indices = NDArray[np.int64]
Floats = NDArray[np.float32]


def count(text: str) -> tuple[Indices, Floats]:
    """Return the buckets (K,) that a message's n-grams fall into, rising, and how often each comes (K,).

    The text is read as a person sees it: case, compatibility forms and what is drawn as nothing make no difference.
    """
    seen = as_read(text)
    hashes = [*_word_hashes(_WORD.findall(seen)), *_character_hashes(seen.split())]
    every = np.concatenate(hashes) if hashes else np.empty(0, np.uint64)
    found, counts = np.unique((every * _MULTIPLY) >> _SHIFT, return_counts=True)
    return found.astype(np.int64), counts.astype(np.float32)


def as_read(text: str) -> str:
    """Return the beginning of a text as a person reads it, in lower case."""
    text = text[:LONGEST]
    return (text if text.isascii() else unicodedata.normalize("NFKC", UNSEEN.sub("", text))).lower()


def _word_hashes(words: Sequence[str]) -> list[NDArray[np.uint64]]:
    """Return the hashes of the n-grams of words, an array for each order."""
    one = np.array([zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in words], np.uint64)
    return [_grams(one, order, salt=order) for order in WORD_ORDERS]


def _character_hashes(words: Sequence[str]) -> list[NDArray[np.uint64]]:
    """Return the hashes of the n-grams of characters, an array for each order; none spans two words."""
    padded = "".join(f" {word} " for word in words).encode("utf-32-le", "surrogatepass")
    points = np.frombuffer(padded, np.uint32).astype(np.uint64)
    between = np.concatenate([[0], np.cumsum((points[1:] == _BLANK) & (points[:-1] == _BLANK))]).astype(np.int64)
    hashes = []
    for order in CHARACTER_ORDERS:
        within = between[order - 1 :] == between[: len(between) - order + 1] if len(points) >= order else []
        hashes.append(_grams(points, order, salt=16 + order)[within] if len(points) >= order else points[:0])
    return hashes


def _grams(units: NDArray[np.uint64], order: int, salt: int) -> NDArray[np.uint64]:
    """Return a hash of each run of `order` units (N,); the salt keeps orders and kinds of units apart."""
    if len(units) < order:
        return units[:0]
    last = len(units) - order + 1
    found = np.full(last, salt, np.uint64)
    for place in range(order):
        found = (found * _MULTIPLY) ^ (units[place : place + last] + np.uint64(1))
        found ^= found >> np.uint64(31)
    return found


@dataclass(frozen=True, slots=True)
class NgramExpert:
    """Linear model over hashed n-grams: an inverse document frequency and a weight for each bucket.

    A bucket that no training message fell into has a frequency of 0, and so counts for nothing.
    """

    frequencies: Floats  # (BUCKETS,)
    weights: Floats  # (BUCKETS,)
    bias: float

    def margin(self, text: str) -> float:
        """Return how far a message is on the side of spam; 0 is the border between the labels."""
        buckets, counts = count(text)
        values = (1 + np.log(counts)) * self.frequencies[buckets]  # (K,)
        length = float(np.sqrt(np.dot(values, values)))
        return self.bias + (float(np.dot(values, self.weights[buckets])) / length if length else 0.0)

    def to_bytes(self) -> bytes:
        """Return the expert as bytes: its bias and both arrays, little-endian float32."""
        return b"".join(np.asarray(part, "<f4").tobytes() for part in ([self.bias], self.frequencies, self.weights))

    @classmethod
    def from_bytes(cls, content: bytes) -> NgramExpert:
        """Read what `to_bytes` wrote; raise ArtefactError if it is something else."""
        if len(content) != 4 * (1 + 2 * BUCKETS):
            raise ArtefactError("the n-gram expert is not of the known size; use the spamctl that packaged it")
        values = np.frombuffer(content, "<f4")
        if not np.isfinite(values).all():
            raise ArtefactError("the n-gram expert holds numbers that are not finite; download or train again")
        return cls(values[1 : 1 + BUCKETS], values[1 + BUCKETS :], float(values[0]))
