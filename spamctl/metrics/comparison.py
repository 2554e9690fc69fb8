"""Compare two versions on the same rows: accuracy, recall and the false-positive rate, paired.

Accuracy hides what a version loses behind what it gains: fewer false alarms pay for missed spam, and the reverse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from spamctl.engine.calibration import Bools
from spamctl.errors import DataError
from spamctl.metrics.scores import CONFIDENCE, proportion
from spamctl.schema.rates import ErrorRates, Interval, PairedRate

# Decide whether a challenger is not worse than the champion on the same test rows.

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


ENOUGH = 20  # rows of a class: of fewer, none shows what a version does to it
RECALL, FALSE_POSITIVE_RATE = "recall", "false-positive rate"
OF = {RECALL: "spam", FALSE_POSITIVE_RATE: "good"}


@dataclass(frozen=True, slots=True)
class PairedRates:
    """Both rates of both versions on one part, which `what` names."""

    what: str
    recall: PairedRate
    false_positive_rate: PairedRate


def rates(is_spam: ArrayLike, challenger: ArrayLike, champion: ArrayLike, what: str) -> PairedRates:
    """Compare two versions' verdicts (N,) on rows whose truth is `is_spam` (N,); either class may have no row.

    Each rate has Wilson's interval (1927), each difference that of Bonett & Price (2012), all of 95 %.
    """
    truth, new, old = (np.asarray(rows, dtype=bool) for rows in (is_spam, challenger, champion))
    return PairedRates(what, _paired(new[truth], old[truth]), _paired(new[~truth], old[~truth]))


def error_rates(is_spam: ArrayLike, called: ArrayLike) -> ErrorRates:
    """Return accuracy, recall and false-positive rate of verdicts (N,), each with Wilson's 95 % interval."""
    truth, spam = np.asarray(is_spam, dtype=bool), np.asarray(called, dtype=bool)
    return ErrorRates(
        accuracy=_share(truth == spam, truth | True),
        recall=_share(truth & spam, truth),
        false_positive_rate=_share(~truth & spam, ~truth),
    )


def worse(found: PairedRates, budget: float) -> Iterator[str]:
    """Yield in what a challenger is credibly worse than the champion, or than its budget of false positives.

    Above the budget it may be where the champion is so too and it is no worse: to refuse it would keep what is worse.
    """
    recall, alarms = found.recall, found.false_positive_rate
    if recall.difference.high < 0:
        yield f"{_moved(RECALL, recall, found.what)}, credibly lower ({_range(recall.difference)})"
    if alarms.difference.low > 0:
        yield f"{_moved(FALSE_POSITIVE_RATE, alarms, found.what)}, credibly higher ({_range(alarms.difference)})"
    elif alarms.challenger.low > budget and alarms.challenger.value > alarms.champion.value:
        yield f"{_moved(FALSE_POSITIVE_RATE, alarms, found.what)}, {above(alarms.challenger, budget)}"


def doubts(found: PairedRates, budget: float) -> Iterator[str]:
    """Yield what the rows are too few to tell: a rate that looks worse, or one that stands on hardly any row."""
    for name, rate, sign in ((RECALL, found.recall, -1), (FALSE_POSITIVE_RATE, found.false_positive_rate, 1)):
        credible = rate.difference.high < 0 if sign < 0 else rate.difference.low > 0
        over = sign > 0 and rate.challenger.value > budget
        if rate.rows < ENOUGH:
            yield f"{rate.rows:,} {OF[name]} {found.what} are too few to tell the {name}"
        elif sign * rate.difference.value > 0 and not credible:
            yield f"{_moved(name, rate, found.what)}: too few to tell whether it is worse ({_range(rate.difference)})"
        elif over and rate.challenger.low <= budget:
            yield (
                f"{name} {rate.challenger.value:.4f} of {rate.rows:,} {OF[name]} {found.what}, over its budget "
                f"{budget:g}: too few to tell whether it is really above (95 % interval from {rate.challenger.low:.4f})"
            )
        elif over:
            yield f"{name} on {found.what} {above(rate.challenger, budget)}, and the champion's is no lower"


def above(rate: Interval, budget: float) -> str:
    """Describe a false-positive rate that is credibly above its budget."""
    return f"{rate.value:.4f} is credibly above its budget {budget:g} (95 % interval {rate.low:.4f} to {rate.high:.4f})"


def sentence(found: PairedRates) -> str:
    """Return both rates of both versions in words."""
    recall, alarms = found.recall, found.false_positive_rate
    return ", ".join(
        f"{name} {rate.champion.value:.4f} to {rate.challenger.value:.4f}"
        for name, rate in ((RECALL, recall), (FALSE_POSITIVE_RATE, alarms))
        if rate.rows
    )


def _share(hits: Bools, rows: Bools) -> Interval:
    return proportion(int(hits.sum()), int(rows.sum()))


def _paired(new: Bools, old: Bools) -> PairedRate:
    gained, lost = int((new & ~old).sum()), int((~new & old).sum())
    rows = int(new.size)
    difference = paired_difference(gained, lost, rows) if rows else Interval(0.0, -1.0, 1.0)
    return PairedRate(
        rows, proportion(int(new.sum()), rows), proportion(int(old.sum()), rows), difference, mcnemar(gained, lost)
    )


def _moved(name: str, rate: PairedRate, what: str) -> str:
    of = f"{rate.rows:,} {OF[name]} {what}"
    return f"{name} {rate.champion.value:.4f} to {rate.challenger.value:.4f} on {of}"


def _range(difference: Interval) -> str:
    return f"difference {difference.value:+.2%}, 95 % interval {difference.low:+.2%} to {difference.high:+.2%}"
