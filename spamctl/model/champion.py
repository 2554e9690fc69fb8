"""Decide whether a challenger is not worse than the champion on the same test rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from spamctl.errors import DataError
from spamctl.model.score import CONFIDENCE
from spamctl.schema.rates import Interval

_LEAST_TOLD = 0.001  # of a p-value with three decimals


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision, its reason in one line, and the paired differences behind it (challenger minus champion)."""

    not_worse: bool
    reason: str
    only_challenger_right: int
    only_champion_right: int
    accuracy_difference: Interval
    p_value: float


def compare(is_spam: ArrayLike, challenger: ArrayLike, champion: ArrayLike, what: str = "test messages") -> Decision:
    """Compare two models' verdicts (N,), each at its own threshold, on test rows whose truth is `is_spam` (N,).

    The challenger is not worse if it is right on at least as many rows: an equal takes over, but no run of models each
    a little worse by chance can. How much chance may have had a hand is told by the exact McNemar test (1947) and the
    95 % interval of Bonett & Price (2012). Raise DataError if the rows do not match or there is none.
    """
    truth, new, old = (np.asarray(rows, dtype=bool) for rows in (is_spam, challenger, champion))
    if not truth.shape == new.shape == old.shape or truth.ndim != 1 or truth.size == 0:
        raise DataError(
            f"champion: {truth.shape} labels, {new.shape} challenger and {old.shape} champion verdicts do not match; "
            "score both models on the same test rows"
        )
    gained, lost = int(((new == truth) & (old != truth)).sum()), int(((new != truth) & (old == truth)).sum())
    difference, p_value = paired_difference(gained, lost, truth.size), mcnemar(gained, lost)
    return Decision(
        not_worse=gained >= lost,
        reason=_reason(gained - lost, f"{truth.size} {what}", difference, p_value),
        only_challenger_right=gained,
        only_champion_right=lost,
        accuracy_difference=difference,
        p_value=p_value,
    )


def paired_difference(gained: int, lost: int, rows: int) -> Interval:
    """Return the paired difference of accuracies; one row more in each cell keeps the interval from having no width."""
    from scipy.stats import norm

    up, down = (gained + 1) / (rows + 2), (lost + 1) / (rows + 2)
    reach = float(norm.ppf((1 + CONFIDENCE) / 2)) * float(np.sqrt((up + down - (up - down) ** 2) / (rows + 2)))
    return Interval(value=(gained - lost) / rows, low=max(-1.0, up - down - reach), high=min(1.0, up - down + reach))


def mcnemar(gained: int, lost: int) -> float:
    """Return the two-sided exact p-value of rows that only one of the two models gets right."""
    from scipy.stats import binomtest

    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def _reason(lead: int, rows: str, difference: Interval, p_value: float) -> str:
    amount = "as many" if lead == 0 else f"{abs(lead)} {'more' if lead > 0 else 'fewer'}"
    return (
        f"right on {amount} of {rows} {'as' if lead == 0 else 'than'} the champion "
        f"(accuracy {difference.value:+.2%}, 95 % interval {difference.low:+.2%} to {difference.high:+.2%}; "
        f"McNemar p {'< 0.001' if p_value < _LEAST_TOLD else f'= {p_value:.3f}'})"
    )
