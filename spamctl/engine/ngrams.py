"""Score a message by its n-grams, fuse that with the language model, and decide what is out of reach.

Only numpy is needed here: the server counts as training does. Features are hashed (Weinberger and others, Feature
Hashing for Large Scale Multitask Learning, 2009), weighed as sublinear TF-IDF and brought to unit length.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spamctl.data.cleaning import UNSEEN
from spamctl.engine import calibration
from spamctl.errors import ArtefactError
from spamctl.schema.evaluation import Reach

BUCKETS = 2**20
WORD_ORDERS = (1, 2)
CHARACTER_ORDERS = (1, 2, 3, 4)  # within a word and the blank on either side of it
LONGEST = 20_000  # characters that are looked at: some twenty pages

_WORD = re.compile(r"\w+|[^\w\s]+")  # punctuation tells, too
_DIGIT = re.compile(r"\d")
_MULTIPLY = np.uint64(0x9E3779B97F4A7C15)  # 2^64 divided by the golden ratio: Knuth's multiplicative hashing
_SHIFT = np.uint64(64 - 20)
_BLANK = np.uint64(ord(" "))

Indices = NDArray[np.int64]
Floats = NDArray[np.float32]


def count(text: str, *, digits: bool = False) -> tuple[Indices, Floats]:
    """Return the buckets (K,) that a message's n-grams fall into, rising, and how often each comes (K,).

    The text is read as a person sees it: case, compatibility forms and what is drawn as nothing make no difference.
    Digits are read by the language model alone: which ones come in a corpus is an accident of who wrote it, and an
    expert that has learnt them from `everyday` ranks the messages of `sms-spam` worse.
    """
    seen = as_read(text) if digits else _DIGIT.sub("", as_read(text))
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
    digits: bool = False  # whether they count, as in older packages

    def margin(self, text: str) -> float:
        """Return how far a message is on the side of spam; 0 is the border between the labels."""
        buckets, counts = count(text, digits=self.digits)
        values = (1 + np.log(counts)) * self.frequencies[buckets]  # (K,)
        length = float(np.sqrt(np.dot(values, values)))
        return self.bias + (float(np.dot(values, self.weights[buckets])) / length if length else 0.0)

    def words_for_spam(self, text: str, most: int) -> list[str]:
        """Return the words of a message that count most for spam, the strongest first, as the expert reads them.

        A word counts by its own weight alone, not by those of its letters or of its neighbours.
        """
        words = list(dict.fromkeys(_WORD.findall(as_read(text))))
        if not words:
            return []
        buckets = ((_word_hashes(words)[0] * _MULTIPLY) >> _SHIFT).astype(np.int64)  # (W,)
        shares = self.frequencies[buckets] * self.weights[buckets]  # (W,)
        return [words[place] for place in np.argsort(-shares, kind="stable")[:most] if shares[place] > 0]

    def to_bytes(self) -> bytes:
        """Return the expert as bytes: its bias, both arrays, and 1 if digits count, as little-endian float32."""
        parts = ([self.bias], self.frequencies, self.weights, [self.digits])
        return b"".join(np.asarray(part, "<f4").tobytes() for part in parts)

    @classmethod
    def from_bytes(cls, content: bytes) -> NgramExpert:
        """Read what `to_bytes` wrote; raise ArtefactError if it is something else.

        Where it does not say whether digits count, it was written when they always did.
        """
        older = 4 * (1 + 2 * BUCKETS)
        if len(content) not in {older, older + 4}:
            raise ArtefactError("the n-gram expert is not of the known size; use the spamctl that packaged it")
        values = np.frombuffer(content, "<f4")
        if not np.isfinite(values).all():
            raise ArtefactError("the n-gram expert holds numbers that are not finite; download or train again")
        digits = len(content) == older or bool(values[-1])
        return cls(values[1 : 1 + BUCKETS], values[1 + BUCKETS : 1 + 2 * BUCKETS], float(values[0]), digits)


# Combine two experts in one logit: the language model, and a linear model over n-grams.


def fuse(
    is_spam: ArrayLike, logits: ArrayLike, margins: ArrayLike, expert: NgramExpert
) -> tuple[NgramExpert, NDArray[np.float64]]:
    """Return the expert brought to the scale of the language model's logits, and the sum of both (N,).

    Takes validation rows: their truth, logits and margins (N,). The sum ranks as the mean of both calibrated logits
    does, a logarithmic opinion pool (Genest & Zidek 1986): neither expert is trusted more on kinds that both have yet
    to see, where a stacked model would rest on rows that are like those of training. Raises DataError as
    `calibration.fit` does.
    """
    raw, other = np.asarray(logits, np.float64), np.asarray(margins, np.float64)
    ratio = calibration.fit(is_spam, other).slope / calibration.fit(is_spam, raw).slope
    scaled = replace(expert, weights=(expert.weights * ratio).astype(np.float32), bias=expert.bias * ratio)
    return scaled, raw + ratio * other


# Measure how much of a message is unlike all training messages, and decide which messages are out of reach.
#
# A message's novelty is the share of its words that no training message holds, as if three known words stood beside
# them: a word or two alone tell little. Only words of letters count: prices, numbers, links and letters written as
# digits are new in every message, and a spammer's disguise must not have it delivered. Scripts that write no blanks are
# read in pairs of characters. Of the ways to measure this that were tried on languages held out whole, shares of
# n-grams among them, it tells them apart best, and padding a message moves it least.

BITS = 20  # of a word's hash: 40,000 words fill 4 % of the places, so of 100 new words 4 pass for known
PRIOR = 3  # known words that stand beside those of the message
GOOD_SHARE, CAUGHT_SHARE = 0.02, 0.01  # of validation rows: good ones, and caught spam
LEAST = 0.3  # a message is in reach if less of it is new, whatever validation says: one new word alone is a quarter

_LETTERS = re.compile(r"\w+")
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
    for word in _LETTERS.findall(as_read(text)):
        if not word.isalpha():
            continue
        yield from _UNSPACED.sub(" ", word).split()
        for run in _UNSPACED.findall(word):
            yield from (run[place : place + 2] for place in range(max(1, len(run) - 1)))


def novelty_limit(is_spam: ArrayLike, called_spam: ArrayLike, novelties: ArrayLike) -> float:
    """Return the novelty beyond which a message is out of reach, from validation rows (N,).

    It is the lowest at which no more than 2 % of the good rows, and no more than 1 % of the spam that is caught, are.
    """
    truth, called = np.asarray(is_spam, np.bool_), np.asarray(called_spam, np.bool_)
    found = np.asarray(novelties, np.float64)
    return max(LEAST, _within(found[~truth], GOOD_SHARE), _within(found[truth & called], CAUGHT_SHARE))


def measure_novelty(is_spam: ArrayLike, called_spam: ArrayLike, novelties: ArrayLike, limit: float) -> Reach:
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
