"""Name the metrics of a model, format them with intervals, and tabulate them by kind of message."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from spamctl.schema.evaluation import GroupScore, GroupScores, SuiteReport, UnseenScore, of_views
from spamctl.schema.rates import ErrorRates, Interval, Rates

UNDEFINED = "n/a"
_DECIMALS = 4
_TO = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric of a filter: its key, its name for a reader, and which end is good."""

    key: str
    name: str
    lower_is_better: bool = False

    def of(self, rates: Rates | ErrorRates) -> Interval:
        """Return this metric of all that were measured."""
        found: Interval = getattr(rates, self.key)
        return found


class MeasuredRates(Protocol):
    """What tells the three rates that are read together; None where no row tells one."""

    @property
    def accuracy(self) -> Interval | None:
        """Return the share of all messages that are called what they are."""

    @property
    def recall(self) -> Interval | None:
        """Return the share of the spam that is called spam."""

    @property
    def false_positive_rate(self) -> Interval | None:
        """Return the share of the good messages that are called spam."""


MEASURES = (
    Measure("accuracy", "accuracy"),
    Measure("precision", "precision"),
    Measure("recall", "recall"),
    Measure("f1", "F1"),
    Measure("mcc", "MCC"),
    Measure("roc_auc", "ROC AUC"),
    Measure("pr_auc", "PR AUC"),
    Measure("false_positive_rate", "false-positive rate", lower_is_better=True),
    Measure("brier", "Brier score", lower_is_better=True),
    Measure("ece", "calibration error", lower_is_better=True),
)

THREE = ("accuracy", "recall", "false_positive_rate")  # which are told together: each hides what another shows


def number(value: float | None) -> str:
    """Write one score with four decimals."""
    return UNDEFINED if _is_undefined(value) else f"{value:.{_DECIMALS}f}"


def percent(value: float | None) -> str:
    """Write a share as a percentage with two decimals."""
    return UNDEFINED if value is None or math.isnan(value) else f"{100 * value:.2f} %"


def three(rates: MeasuredRates) -> str:
    """Write accuracy, recall and false-positive rate, those that are known, in one line."""
    named = (
        ("accuracy", rates.accuracy),
        ("recall", rates.recall),
        ("false-positive rate", rates.false_positive_rate),
    )
    return ", ".join(f"{name} {number(rate.value)}" for name, rate in named if rate)


def interval(score: Interval) -> str:
    """Write the two ends of a score's interval, or nothing where there is none."""
    ends = (score.low, score.high)
    return "" if any(_is_undefined(end) for end in ends) else _TO.join(number(end) for end in ends)


def from_keys(score: Mapping[str, float | None]) -> Interval:
    """Return a score from plain JSON, in which null stands for what is undefined."""
    value, low, high = (score.get(key) for key in ("value", "low", "high"))
    return Interval(*(math.nan if end is None else end for end in (value, low, high)))


def winner(measure: Measure, ours: Interval, theirs: Interval) -> str:
    """Return "model", "baseline" or "neither": whose score is better, as far as four decimals tell."""
    mine, other = ours.value, theirs.value
    if number(mine) == number(other) or UNDEFINED in {number(mine), number(other)}:
        return "neither"
    return "model" if (mine < other) == measure.lower_is_better else "baseline"


def comparison(scores: Rates, baseline: Rates | None) -> str:
    """Describe in one sentence on which scores the baseline is better than the model."""
    if baseline is None:
        return ""
    lost = [m for m in MEASURES if winner(m, m.of(scores), m.of(baseline)) == "baseline"]
    if not lost:
        return f"The linear baseline is better on none of the {len(MEASURES)} scores."
    if len(lost) == len(MEASURES):
        return "The linear baseline is better on every score."
    return f"The linear baseline is better on {_listed([measure.name for measure in lost])}."


def baseline_wins(scores: Rates, baseline: Rates | None) -> bool:
    """Return whether the baseline is more accurate than the model."""
    return baseline is not None and winner(MEASURES[0], scores.accuracy, baseline.accuracy) == "baseline"


def _listed(names: list[str]) -> str:
    """Join names as in a sentence: "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _is_undefined(value: float | None) -> bool:
    """Return whether a score could not be computed."""
    return value is None or math.isnan(value)


# Make the table rows of scores by kind of message, of unseen kinds and of the suites.

HEADS = ("messages", "good", "kept", "baseline keeps", "spam", "caught", "baseline catches")
UNSEEN_HEADS = ("unseen kinds", "messages", "language model", "n-grams", "both", "recall at 1 % FPR")
SUITE_HEADS = ("suite", "messages", "right", "95 % interval", "")
INVARIANCE_HEADS = ("harmless change", "messages", "same verdict", "95 % interval")
_SHARE = {"must-deliver": False, "must-catch": True}  # whether called spam is right


def kind_rows(kinds: GroupScores, views: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield a row of HEADS for each group of `views`: what is kept and caught, by the model and by the baseline."""
    rivals = {(one.view, one.name): one for one in kinds.baseline}
    for one in of_views(kinds.model, views):
        other = rivals.get((one.view, one.name))
        good = one.rows - one.spam
        yield (one.name, f"{good:,}", _kept(one), _kept(other), f"{one.spam:,}", _caught(one), _caught(other))


def unseen_rows(unseen: Sequence[UnseenScore]) -> Iterator[tuple[str, ...]]:
    """Yield a row of UNSEEN_HEADS for each medium: the area of each expert, and what both catch together."""
    for medium in dict.fromkeys(one.medium for one in unseen):
        by_expert = {one.expert: one for one in unseen if one.medium == medium}
        areas = [f"{by_expert[name].roc_auc:.3f}" for name in UNSEEN_HEADS[2:5]]
        both = by_expert[UNSEEN_HEADS[4]]
        yield (medium, f"{both.rows:,}", *areas, f"{both.recall:.1%}")


def suite_rows(suites: SuiteReport) -> Iterator[tuple[str, ...]]:
    """Yield a row of SUITE_HEADS for each line, those that fail marked."""
    for line in suites.lines:
        share = line.called_spam
        right = share if _SHARE[line.suite] else _other(share)
        mark = "FAILS" if line.fault else ""
        yield (f"{line.suite}: {line.name}", f"{line.rows:,}", f"{right.value:.1%}", _ends(right), mark)


def invariance_rows(suites: SuiteReport) -> Iterator[tuple[str, ...]]:
    """Yield a row of INVARIANCE_HEADS for each harmless change."""
    for one in suites.invariances:
        yield (one.change, f"{one.rows:,}", f"{one.unchanged.value:.1%}", _ends(one.unchanged))


def _ends(share: Interval) -> str:
    """Write the two ends of the interval of a share."""
    return f"{share.low:.1%} to {share.high:.1%}"


def _kept(one: GroupScore | None) -> str:
    """Write the share of good messages that is kept."""
    rate = one and one.false_positive_rate
    return f"{1 - rate.value:.1%}" if rate else UNDEFINED


def _caught(one: GroupScore | None) -> str:
    """Write the share of spam that is caught."""
    rate = one and one.recall
    return f"{rate.value:.1%}" if rate else UNDEFINED


def _other(share: Interval) -> Interval:
    """Turn the share that is called spam into the share that is not."""
    return Interval(1 - share.value, 1 - share.high, 1 - share.low)
