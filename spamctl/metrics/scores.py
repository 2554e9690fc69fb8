"""Compute the metrics of probabilities against labels with intervals, and choose the threshold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from spamctl.engine.calibration import (
    Bools,
    Floats,
    bin_edges,
    both_classes,
    brier,
    expected_calibration_error,
    logit,
    sigmoid,
)
from spamctl.errors import DataError, NothingLearntError
from spamctl.schema.rates import Confusion, Interval, MediumRate, OperatingPoint, Rates, Score

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


# Choose the decision threshold on validation rows, within a budget of false positives.


@dataclass(frozen=True, slots=True)
class Curve:
    """Recall and false-positive rate at falling thresholds, corners only."""

    thresholds: tuple[float, ...]
    false_positive_rates: tuple[float, ...]
    recalls: tuple[float, ...]


def choose_threshold(
    is_spam: ArrayLike, probabilities: ArrayLike, max_false_positive_rate: float, *, media: Sequence[str] = ()
) -> OperatingPoint:
    """Choose the threshold that catches the most spam within a budget of false positives.

    Takes truth and probabilities (N,) of validation rows and the budget, a share of the not spam rows in [0, 1). Of
    all thresholds that catch as much, the one with the fewest false positives wins: a budget is not a goal. It stands
    midway, in logits, between the two scores it parts. Intervals are Clopper and Pearson's (1934), and so is the
    one-sided 95 % upper bound of the false positive rate. `media` (N,) names the medium of each row: the rates of each
    are given, and a note says for which the upper bound is over the budget. Raise DataError if a class is missing or
    the budget is not in [0, 1), NothingLearntError if no threshold can keep it.
    """
    if not 0 <= max_false_positive_rate < 1:
        raise DataError(
            f"threshold: the false positive budget must be in 0 to 1, 1 excluded, got {max_false_positive_rate}"
        )
    truth, p = both_classes(is_spam, probabilities)
    spam, rest = p[truth], p[~truth]
    allowed = int(np.floor(max_false_positive_rate * rest.size + 1e-9))  # 0.29 * 100 must count as 29
    allowed = min(allowed, rest.size - 1)  # and a budget a hair under 1 allows no more than one under 1 does
    ceiling = np.sort(rest)[rest.size - 1 - allowed]  # the highest score of a not spam row that must pass
    caught = spam[spam > ceiling]
    threshold = _part(p, float(caught.min())) if caught.size else _above(p)
    alarms, hits = int((rest >= threshold).sum()), int((spam >= threshold).sum())
    by_medium = _by_medium(media, truth, p >= threshold)
    return OperatingPoint(
        threshold=threshold,
        max_false_positive_rate=float(max_false_positive_rate),
        false_positives=alarms,
        false_positive_rate=proportion(alarms, rest.size, "exact"),
        false_positive_rate_upper=upper_bound(alarms, rest.size),
        recall=proportion(hits, spam.size, "exact"),
        notes=_notes_of_budget(max_false_positive_rate, rest.size, hits)
        + _notes_of_media(by_medium, max_false_positive_rate),
        by_medium=by_medium,
    )


def _by_medium(media: Sequence[str], is_spam: Bools, called_spam: Bools) -> dict[str, MediumRate]:
    """Return the false positives of each medium that has good rows."""
    names, found = np.array(media, dtype=object), {}
    for name in dict.fromkeys(media):
        good = (names == name) & ~is_spam
        if name and good.any():
            alarms, rows = int(called_spam[good].sum()), int(good.sum())
            found[name] = MediumRate(alarms, rows, upper_bound(alarms, rows))
    return found


def _notes_of_media(rates: Mapping[str, MediumRate], budget: float) -> tuple[str, ...]:
    """Describe the media whose rows do not show that the false-positive budget holds."""
    unproven = [
        f"{name} ({rate.false_positives} of {rate.rows:,}, at most {rate.upper:.2%})"
        for name, rate in rates.items()
        if rate.upper > budget
    ]
    return (
        (f"the budget of {budget:.2%} is not proven for each medium apart: {', '.join(unproven)}",) if unproven else ()
    )


def upper_bound(hits: int, rows: int) -> float:
    """Return the one-sided 95 % upper bound of hits / rows (Clopper & Pearson 1934); 0 of 100 gives 0.0295."""
    from scipy.stats import binomtest

    return float(binomtest(hits, rows, alternative="less").proportion_ci(CONFIDENCE, method="exact").high)


def curve(is_spam: ArrayLike, probabilities: ArrayLike) -> Curve:
    """Return the curve of truth and probabilities (N,); raise DataError if a class is missing."""
    from sklearn.metrics import roc_curve

    truth, p = both_classes(is_spam, probabilities)
    rates, recalls, thresholds = roc_curve(truth, p)
    thresholds[0] = np.nextafter(p.max(), np.inf)  # scikit-learn opens with infinity, which JSON does not know
    return Curve(
        thresholds=tuple(thresholds.tolist()),
        false_positive_rates=tuple(rates.tolist()),
        recalls=tuple(recalls.tolist()),
    )


def _part(p: Floats, lowest: float) -> float:
    """Return the threshold midway, in logits, between `lowest` and the score below it."""
    below = p[p < lowest]
    return _between(float(below.max()), lowest)


def _above(p: Floats) -> float:
    """Return a threshold above every score, midway between the highest and 1."""
    top = float(p.max())
    if top >= 1:
        raise NothingLearntError(
            "threshold: not spam scores 1.0 on validation rows, no threshold can pass it; train again"
        )
    return max((top + 1) / 2, float(np.nextafter(top, 1)))


def _between(low: float, high: float) -> float:
    middle = float(sigmoid((logit(low) + logit(high)) / 2))
    return middle if low < middle <= high else high  # neighbouring floats have no middle


def _notes_of_budget(budget: float, rest: int, hits: int) -> tuple[str, ...]:
    notes = []
    if budget * rest < 1:
        notes.append(
            f"a budget of {budget:g} is less than one of {rest} not spam validation rows: none was allowed, "
            "and the upper bound says how little that proves"
        )
    if hits == 0:
        notes.append("no threshold within the budget catches spam on the validation rows: nothing will be called spam")
    return tuple(notes)
