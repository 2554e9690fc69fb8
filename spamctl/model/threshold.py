"""Choose the decision threshold on validation rows, within a budget of false positives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from spamctl.errors import DataError, NothingLearntError
from spamctl.model.calibration import Bools, Floats, both_classes, logit, sigmoid
from spamctl.model.score import CONFIDENCE, proportion
from spamctl.schema.rates import MediumRate, OperatingPoint


@dataclass(frozen=True, slots=True)
class Curve:
    """Recall and false-positive rate at falling thresholds, corners only."""

    thresholds: tuple[float, ...]
    false_positive_rates: tuple[float, ...]
    recalls: tuple[float, ...]


def choose(
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
        notes=_notes(max_false_positive_rate, rest.size, hits) + _notes_of_media(by_medium, max_false_positive_rate),
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


def _notes(budget: float, rest: int, hits: int) -> tuple[str, ...]:
    notes = []
    if budget * rest < 1:
        notes.append(
            f"a budget of {budget:g} is less than one of {rest} not spam validation rows: none was allowed, "
            "and the upper bound says how little that proves"
        )
    if hits == 0:
        notes.append("no threshold within the budget catches spam on the validation rows: nothing will be called spam")
    return tuple(notes)
