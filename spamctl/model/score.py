"""Compute the metrics of probabilities against labels, each with its 95 % interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from spamctl.errors import DataError
from spamctl.model.calibration import Floats, bin_edges, both_classes, brier, expected_calibration_error, logit, sigmoid
from spamctl.schema.rates import Confusion, Interval, Rates, Score

# Shapes: S spam rows, H not spam rows, N = S + H; `...` stands for the resamples of a bootstrap.

CONFIDENCE = 0.95
RESAMPLES = 1000
METRICS = tuple(metric.name for metric in fields(Rates))
RESAMPLED = ("mcc", "roc_auc", "pr_auc", "brier", "ece")  # the order of the rows of `_statistic`
AREAS = ("roc_auc", "pr_auc")


def score(
    is_spam: ArrayLike, probabilities: ArrayLike, threshold: float, *, resamples: int = RESAMPLES, seed: int = 0
) -> Score:
    """Score the probabilities of spam (N,) of rows whose truth is `is_spam` (N,); `p >= threshold` is called spam.

    Proportions get Wilson's interval (1927), F1 too, which rises with the share TP / (TP + FP + FN). The others come
    from a bootstrap that resamples spam and the rest apart (Efron & Tibshirani 1993): MCC, Brier and ECE get its
    percentiles, the two areas its standard error on the scale of logits, because percentiles promise too much near 1
    (Boyd, Eng & Page 2013). What cannot be told is 0, and `notes` says so, as it does where resamples cannot differ.
    Raise DataError if a class has fewer than two rows or a value is not a probability.
    """
    truth, p = both_classes(is_spam, probabilities)
    if p.min() < 0 or p.max() > 1:
        raise DataError(
            f"scores: probabilities must lie in 0 to 1, got {p.min()} to {p.max()}; calibrate the logits first"
        )
    spam, rest = p[truth], p[~truth]  # (S,) (H,)
    if min(spam.size, rest.size) < 2:
        raise DataError(
            f"scores: {spam.size} spam and {rest.size} not spam rows; two of each are needed to say how sure"
        )
    counts = confusion(truth, p >= threshold)
    statistic = _statistic(threshold, bin_edges(p))
    metrics = _proportions(counts) | _bootstrap(spam, rest, statistic, resamples, seed)
    return Score(
        rows=p.size,
        threshold=float(threshold),
        confusion=counts,
        metrics=Rates(**metrics),
        notes=_notes(counts, metrics["roc_auc"]),
    )


def confusion(is_spam: ArrayLike, called_spam: ArrayLike) -> Confusion:
    """Count truth (N,) against verdicts (N,)."""
    truth, called = np.asarray(is_spam, dtype=bool), np.asarray(called_spam, dtype=bool)
    return Confusion(
        true_positives=int((truth & called).sum()),
        false_positives=int((~truth & called).sum()),
        false_negatives=int((truth & ~called).sum()),
        true_negatives=int((~truth & ~called).sum()),
    )


def proportion(hits: int, rows: int, method: Literal["wilson", "exact"] = "wilson") -> Interval:
    """Return hits / rows with its two-sided interval, Wilson's or Clopper and Pearson's ("exact").

    With no row nothing is known: the value is 0 and the interval 0 to 1.
    """
    if rows == 0:
        return Interval(value=0.0, low=0.0, high=1.0)
    from scipy.stats import binomtest

    ends = binomtest(hits, rows).proportion_ci(CONFIDENCE, method=method)
    return _holding(hits / rows, float(ends.low), float(ends.high))


def _proportions(counts: Confusion) -> dict[str, Interval]:
    right = counts.true_positives + counts.true_negatives
    wrong = counts.false_positives + counts.false_negatives
    shared = proportion(counts.true_positives, counts.true_positives + wrong)
    return {
        "accuracy": proportion(right, right + wrong),
        "precision": proportion(counts.true_positives, counts.true_positives + counts.false_positives),
        "recall": proportion(counts.true_positives, counts.true_positives + counts.false_negatives),
        "false_positive_rate": proportion(counts.false_positives, counts.false_positives + counts.true_negatives),
        "f1": Interval(*(2 * share / (1 + share) for share in (shared.value, shared.low, shared.high))),
    }


def _bootstrap(
    spam: Floats, rest: Floats, statistic: Callable[..., Floats], resamples: int, seed: int
) -> dict[str, Interval]:
    from scipy.stats import bootstrap

    result = bootstrap(
        (spam, rest),  # two samples, resampled each on its own: the bootstrap is stratified
        statistic,
        n_resamples=resamples,
        batch=max(1, 1_000_000 // (spam.size + rest.size)),  # bounds the memory of one batch
        vectorized=True,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    ends = result.confidence_interval
    found = zip(RESAMPLED, statistic(spam, rest), ends.low, ends.high, result.standard_error, strict=True)
    return {
        name: _area(float(value), float(error)) if name in AREAS else _holding(float(value), float(low), float(high))
        for name, value, low, high, error in found
    }


def _area(value: float, error: float) -> Interval:
    """Return the interval of an area from its standard error, symmetric in logits so that it stays within 0 to 1."""
    if error == 0 or not 0 < value < 1:
        return Interval(value=value, low=value, high=value)
    from scipy.stats import norm

    reach = float(norm.ppf((1 + CONFIDENCE) / 2)) * error / (value * (1 - value))
    return _holding(value, float(sigmoid(logit(value) - reach)), float(sigmoid(logit(value) + reach)))


def _statistic(threshold: float, edges: Floats) -> Callable[..., Floats]:
    """Return the function of spam (..., S) and the rest (..., H) that gives the five resampled metrics (5, ...)."""

    def measure(spam: Floats, rest: Floats, axis: int = -1) -> Floats:
        p = np.concatenate([spam, rest], axis=axis)  # (..., N)
        truth = np.arange(p.shape[-1]) < spam.shape[-1]  # (N,)
        return np.stack(
            [
                matthews(spam >= threshold, rest >= threshold),
                roc_auc(spam, rest),
                average_precision(spam, rest),
                brier(truth, p),
                expected_calibration_error(truth, p, edges),
            ]
        )  # (5, ...)

    return measure


def matthews(spam_called: ArrayLike, rest_called: ArrayLike) -> Floats:
    """Return the correlation of truth and verdict from verdicts (..., S) and (..., H); 0 where it is undefined.

    The coefficient is that of Matthews (1975).
    """
    spam, rest = np.asarray(spam_called, dtype=bool), np.asarray(rest_called, dtype=bool)
    hit, alarm = spam.sum(axis=-1, dtype=np.float64), rest.sum(axis=-1, dtype=np.float64)  # (...)
    miss, calm = spam.shape[-1] - hit, rest.shape[-1] - alarm
    scale = np.sqrt((hit + alarm) * (miss + calm) * spam.shape[-1] * rest.shape[-1])
    found = (hit * calm - alarm * miss) / np.where(scale > 0, scale, 1.0)
    return np.asarray(np.clip(found, -1.0, 1.0))  # rounding may add an ulp


def roc_auc(spam: Floats, rest: Floats) -> Floats:
    """Return how often spam outranks the rest, a tie counting half, from scores (..., S) and (..., H).

    The area is the statistic of Mann & Whitney (1947) as a share of all pairs.
    """
    from scipy.stats import rankdata

    pairs = spam.shape[-1] * rest.shape[-1]
    ranks = rankdata(np.concatenate([spam, rest], axis=-1), axis=-1)[..., : spam.shape[-1]]  # (..., S)
    return np.asarray((ranks.sum(axis=-1) - spam.shape[-1] * (spam.shape[-1] + 1) / 2) / pairs)


def average_precision(spam: Floats, rest: Floats) -> Floats:
    """Return the mean, over spam rows, of the precision at their score; from scores (..., S) and (..., H)."""
    from scipy.stats import rankdata

    everything = np.concatenate([spam, rest], axis=-1)
    called = rankdata(-everything, method="max", axis=-1)[..., : spam.shape[-1]]  # (..., S) rows at or above
    caught = rankdata(-spam, method="max", axis=-1)  # (..., S) spam rows at or above
    return np.asarray((caught / called).mean(axis=-1))


def _holding(value: float, low: float, high: float) -> Interval:
    """Return the interval, stretched to hold its value: ECE grows in resamples, and rounding moves an end by an ulp."""
    return Interval(value=value, low=min(low, value), high=max(high, value))


def _notes(counts: Confusion, area: Interval) -> tuple[str, ...]:
    notes = []
    if counts.true_positives + counts.false_positives == 0:
        notes.append("no message was called spam: precision is unknown and MCC undefined, both shown as 0")
    if counts.true_negatives + counts.false_negatives == 0:
        notes.append("every message was called spam: MCC is undefined and shown as 0")
    if area.value == 1:
        notes.append("spam outranks all the rest: resamples cannot differ, so the intervals of the areas have no width")
    if counts.false_positives + counts.false_negatives == 0:
        notes.append("no verdict was wrong: resamples cannot differ, so the interval of MCC has no width")
    return tuple(notes)
