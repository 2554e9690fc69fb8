"""Break errors down by kind of message: recall, false positives, and the worst errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from spamctl.errors import DataError
from spamctl.message import NOT_SPAM, SPAM
from spamctl.model.calibration import Bools, both_classes
from spamctl.model.score import proportion
from spamctl.schema.evaluation import Mistake, Slice

SHORT: Final = 50  # characters: half of all ordinary SMS are shorter
LONG: Final = 140  # characters: most SMS spam fills the 160 it pays for

_URL = re.compile(r"https?://|www\.|\b[a-z0-9-]{1,63}\.(?:com|net|org|info|biz|tv|mobi|io|ly|co|uk)\b", re.IGNORECASE)
_PHONE = re.compile(r"(?<!\d)\+?\d(?:[ .()-]{0,2}\d){6,14}(?!\d)")  # 7 to 15 digits (E.164), however they are spaced
_MONEY = re.compile(r"[$£€¥₹]|\b(?:usd|gbp|eur|inr|dollars?|pounds?|euros?|rupees?)\b", re.IGNORECASE)
_DIGIT = re.compile(r"\d")


def _shouts(text: str) -> bool:
    letters = [char for char in text if char.isalpha()]
    return len(letters) >= 4 and 2 * sum(map(str.isupper, letters)) > len(letters)


SLICES: Final[Mapping[str, Callable[[str], bool]]] = MappingProxyType(
    {
        "every message": lambda _: True,
        f"short (under {SHORT} characters)": lambda text: len(text) < SHORT,
        f"medium ({SHORT} to {LONG - 1})": lambda text: SHORT <= len(text) < LONG,
        f"long ({LONG} and more)": lambda text: len(text) >= LONG,
        "with a URL": lambda text: bool(_URL.search(text)),
        "with a phone number": lambda text: bool(_PHONE.search(text)),
        "with a currency": lambda text: bool(_MONEY.search(text)),
        "with digits": lambda text: bool(_DIGIT.search(text)),
        "without digits": lambda text: not _DIGIT.search(text),
        "mostly capitals": _shouts,
        "with non-ASCII characters": lambda text: not text.isascii(),
    }
)


def by_slice(texts: Sequence[str], is_spam: ArrayLike, probabilities: ArrayLike, threshold: float) -> tuple[Slice, ...]:
    """Measure each of SLICES over rows of text, truth and probability (N each); a message may lie in many slices.

    Intervals are Wilson's, 95 %, each slice on its own. Raise DataError if the three do not match.
    """
    truth, called = _verdicts(texts, is_spam, probabilities, threshold)
    return tuple(
        _slice(name, np.fromiter(map(holds, texts), dtype=bool, count=len(texts)), truth, called)
        for name, holds in SLICES.items()
    )


def worst(
    texts: Sequence[str], is_spam: ArrayLike, probabilities: ArrayLike, threshold: float, *, limit: int = 20
) -> tuple[Mistake, ...]:
    """Return at most `limit` wrong verdicts, the least probability given to the truth first; ties keep row order.

    Raise DataError if texts, truth and probabilities (N each) do not match.
    """
    truth, called = _verdicts(texts, is_spam, probabilities, threshold)
    p = np.asarray(probabilities, dtype=np.float64)
    given = np.where(truth, p, 1 - p)  # (N,) the probability of what the row really is
    order = np.argsort(given, kind="stable")
    wrong = order[(truth != called)[order]][:limit]
    return tuple(
        Mistake(text=texts[row], label=SPAM if truth[row] else NOT_SPAM, probability=float(p[row])) for row in wrong
    )


def _verdicts(
    texts: Sequence[str], is_spam: ArrayLike, probabilities: ArrayLike, threshold: float
) -> tuple[Bools, Bools]:
    truth, p = both_classes(is_spam, probabilities)
    if len(texts) != truth.size:
        raise DataError(f"slices: {len(texts)} texts do not match {truth.size} labels; give one text for each row")
    return truth, p >= threshold


def _slice(name: str, inside: Bools, truth: Bools, called: Bools) -> Slice:
    spam, rest = inside & truth, inside & ~truth
    return Slice(
        name=name,
        rows=int(inside.sum()),
        spam=int(spam.sum()),
        recall=proportion(int(called[spam].sum()), int(spam.sum())) if spam.any() else None,
        false_positive_rate=proportion(int(called[rest].sum()), int(rest.sum())) if rest.any() else None,
    )
