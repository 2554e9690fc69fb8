"""Calibrate logits into probabilities, and measure the calibration error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spamctl.errors import ArtefactError, DataError, NothingLearntError

# Only numpy at the top: the server imports this module to apply a calibration, never to fit one.
# Shapes: N rows; `...` stands for any number of leading axes (the resamples of a bootstrap).

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

BINS = 10


@dataclass(frozen=True, slots=True)
class Calibration:
    """Platt scaling: sigmoid(slope * logit + intercept); a positive slope keeps the order of rows."""

    slope: float
    intercept: float

    def __post_init__(self) -> None:
        """Refuse a calibration that is not finite and increasing."""
        if not (np.isfinite(self.slope) and np.isfinite(self.intercept) and self.slope > 0):
            raise ArtefactError(
                f"calibration: the slope must be finite and above 0 and the intercept finite, "
                f"got slope {self.slope} and intercept {self.intercept}; train again"
            )

    def apply(self, logits: ArrayLike) -> Floats:
        """Return the probability of spam, in [0, 1], of each logit; same shape, each row on its own."""
        raw = np.asarray(logits, dtype=np.float64)
        return np.array([self.probability(logit) for logit in raw.ravel().tolist()]).reshape(raw.shape)

    def probability(self, logit: float) -> float:
        """Return that of one logit; for a server, operations of numpy on single numbers take ten times as long."""
        line = self.slope * logit + self.intercept
        odds = math.exp(-abs(line))
        return 1 / (1 + odds) if line >= 0 else odds / (1 + odds)

    def as_dict(self) -> dict[str, float]:
        """Return the two numbers as plain JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, object]) -> Calibration:
        """Read what `as_dict` wrote; raise ArtefactError if a number is missing, not a number or not increasing."""
        slope, intercept = fields.get("slope"), fields.get("intercept")
        if not (isinstance(slope, int | float) and isinstance(intercept, int | float)):
            raise ArtefactError(f"calibration: needs the numbers slope and intercept, got {dict(fields)}; train again")
        return cls(slope=float(slope), intercept=float(intercept))


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """One bin of a reliability diagram: its rows, their mean probability, and their share of spam."""

    rows: int
    mean_probability: float
    spam_share: float


def fit(is_spam: ArrayLike, logits: ArrayLike) -> Calibration:
    """Fit a calibration to the logits (N,) of validation rows whose truth is `is_spam` (N,).

    Raise DataError if a class is missing or a logit is not finite, and NothingLearntError if all logits are equal or
    spam scores no higher than the rest. The targets are smoothed, so that separable rows keep a finite slope (Platt
    1999; Lin, Lin & Weng 2007).
    """
    from scipy.optimize import minimize

    truth, raw = both_classes(is_spam, logits)
    spread = float(raw.std())
    if spread <= 1e-9 * max(1.0, float(np.abs(raw).max())):
        raise NothingLearntError(
            "calibration: every validation row has the same logit; train longer or on other messages"
        )
    centre, spam, rest = float(raw.mean()), int(truth.sum()), int((~truth).sum())
    unit = (raw - centre) / spread  # (N,) well conditioned whatever the scale of the logits
    target = np.where(truth, (spam + 1) / (spam + 2), 1 / (rest + 2))  # (N,)

    def loss(line: Floats) -> tuple[float, Floats]:
        z = line[0] * unit + line[1]  # (N,)
        slack = sigmoid(z) - target  # (N,)
        return float(np.mean(np.logaddexp(0, z) - target * z)), np.array([np.mean(slack * unit), np.mean(slack)])

    start = np.array([0.0, np.log((spam + 1) / (rest + 1))])
    slope, intercept = minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-8}).x
    if not slope > 0:
        raise NothingLearntError(
            "calibration: spam does not score higher than the rest on the validation rows; "
            "check which label means spam, or train longer"
        )
    return Calibration(slope=float(slope / spread), intercept=float(intercept - slope * centre / spread))


def both_classes(is_spam: ArrayLike, values: ArrayLike) -> tuple[Bools, Floats]:
    """Return truth and values as arrays (N,); raise DataError if they do not match or do not hold both classes."""
    truth, numbers = np.asarray(is_spam, dtype=bool), np.asarray(values, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != numbers.shape:
        raise DataError(
            f"scores: {truth.shape} labels do not match {numbers.shape} values; give one value for each row"
        )
    if not np.isfinite(numbers).all():
        raise DataError(f"scores: {int((~np.isfinite(numbers)).sum())} of {numbers.size} values are not finite")
    if truth.all() or not truth.any():
        raise DataError(
            f"scores: {int(truth.sum())} spam and {int((~truth).sum())} not spam rows; both kinds are needed, "
            "give more labelled messages"
        )
    return truth, numbers


def sigmoid(logits: ArrayLike) -> Floats:
    """Return 1 / (1 + exp(-logits)) without overflow; any shape."""
    z = np.asarray(logits, dtype=np.float64)
    small = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, small) / (1.0 + small)


def logit(probabilities: ArrayLike) -> Floats:
    """Return log(p / (1 - p)), any shape; exact 0 and 1 are held just inside, so that the answer is finite."""
    p = np.clip(np.asarray(probabilities, dtype=np.float64), 1e-300, 1 - 2**-53)
    return np.log(p) - np.log1p(-p)


def bin_edges(probabilities: ArrayLike, bins: int = BINS) -> Floats:
    """Return the inner borders of at most `bins` bins of equal mass; rows of one probability stay in one bin."""
    p = np.asarray(probabilities, dtype=np.float64)
    return np.unique(np.quantile(p, np.linspace(0, 1, bins + 1)[1:-1]))


def reliability(is_spam: ArrayLike, probabilities: ArrayLike, bins: int = BINS) -> tuple[ReliabilityBin, ...]:
    """Return the bins of equal mass of a reliability diagram, by rising probability; empty bins are left out.

    `is_spam` and `probabilities` are (N,); raise DataError if a class is missing (Nguyen & O'Connor 2015).
    """
    truth, p = both_classes(is_spam, probabilities)
    where = np.searchsorted(bin_edges(p, bins), p, side="right")  # (N,)
    return tuple(
        ReliabilityBin(
            rows=int((where == index).sum()),
            mean_probability=float(p[where == index].mean()),
            spam_share=float(truth[where == index].mean()),
        )
        for index in np.unique(where)
    )


def brier(is_spam: ArrayLike, probabilities: ArrayLike) -> Floats:
    """Return the mean squared distance of probability and truth over the last axis; (..., N) becomes (...)."""
    gap = np.asarray(probabilities, dtype=np.float64) - np.asarray(is_spam, dtype=np.float64)
    return np.asarray(np.mean(gap**2, axis=-1))


def expected_calibration_error(is_spam: ArrayLike, probabilities: ArrayLike, edges: ArrayLike) -> Floats:
    """Return the mean gap of probability and spam share, by bin of `edges`; (..., N) becomes (...).

    The gap of a bin weighs as many rows as it has (Naeini, Cooper & Hauskrecht 2015).
    """
    p, borders = np.asarray(probabilities, dtype=np.float64), np.asarray(edges, dtype=np.float64)
    gap = (p - np.asarray(is_spam, dtype=np.float64)).reshape(-1, p.shape[-1])  # (R, N)
    bins = borders.size + 1
    where = np.searchsorted(borders, p.reshape(gap.shape), side="right")  # (R, N)
    cell = where + bins * np.arange(gap.shape[0])[:, None]  # (R, N) a bin of a resample is a cell
    sums = np.bincount(cell.ravel(), weights=gap.ravel(), minlength=bins * gap.shape[0])  # (R * bins,)
    return np.asarray(np.abs(sums).reshape((*p.shape[:-1], bins)).sum(axis=-1) / p.shape[-1])
