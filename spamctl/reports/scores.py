"""Name the metrics of a model, format them with intervals, and tabulate them by kind of message."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# A score as it crosses from step to step: {"value": 0.99, "low": 0.98, "high": 0.995}; low and high bound 95 %.
Score = Mapping[str, float | None]

UNDEFINED = "n/a"
_DECIMALS = 4
_TO = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric of a filter: its key, its name for a reader, and which end is good."""

    key: str
    name: str
    lower_is_better: bool = False


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


def three(scores: Mapping[str, Score | None]) -> str:
    """Write accuracy, recall and false-positive rate, those that are known, in one line."""
    known = ((measure, scores.get(measure.key)) for measure in MEASURES if measure.key in THREE)
    return ", ".join(f"{measure.name} {number(score['value'])}" for measure, score in known if score)


def interval(score: Score) -> str:
    """Write the two ends of a score's interval, or nothing where there is none."""
    ends = (score.get("low"), score.get("high"))
    return "" if any(_is_undefined(end) for end in ends) else _TO.join(number(end) for end in ends)


def winner(measure: Measure, ours: Score, theirs: Score) -> str:
    """Return "model", "baseline" or "neither": whose score is better, as far as four decimals tell."""
    mine, other = ours.get("value"), theirs.get("value")
    if mine is None or other is None or number(mine) == number(other) or UNDEFINED in {number(mine), number(other)}:
        return "neither"
    return "model" if (mine < other) == measure.lower_is_better else "baseline"


def comparison(scores: Mapping[str, Score], baseline: Mapping[str, Score]) -> str:
    """Describe in one sentence on which scores the baseline is better than the model."""
    shared = [measure for measure in MEASURES if measure.key in scores and measure.key in baseline]
    lost = [m for m in shared if winner(m, scores[m.key], baseline[m.key]) == "baseline"]
    if not shared:
        return ""
    if not lost:
        return f"The linear baseline is better on none of the {len(shared)} scores."
    if len(lost) == len(shared):
        return "The linear baseline is better on every score."
    return f"The linear baseline is better on {_listed([measure.name for measure in lost])}."


def baseline_wins(scores: Mapping[str, Score], baseline: Mapping[str, Score]) -> bool:
    """Return whether the baseline is more accurate than the model."""
    return "accuracy" in baseline and winner(MEASURES[0], scores["accuracy"], baseline["accuracy"]) == "baseline"


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


def kind_rows(kinds: Mapping[str, Sequence[Mapping[str, Any]]], views: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield a row of HEADS for each group of `views`: what is kept and caught, by the model and by the baseline."""
    rivals = {(one["view"], one["name"]): one for one in kinds.get("baseline", ())}
    for one in kinds.get("model", ()):
        if one["view"] in views:
            other = rivals.get((one["view"], one["name"]), {})
            good = one["rows"] - one["spam"]
            yield (one["name"], f"{good:,}", _kept(one), _kept(other), f"{one['spam']:,}", _caught(one), _caught(other))


def unseen_rows(unseen: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Yield a row of UNSEEN_HEADS for each medium: the area of each expert, and what both catch together."""
    for medium in dict.fromkeys(one["medium"] for one in unseen):
        by_expert = {one["expert"]: one for one in unseen if one["medium"] == medium}
        areas = [f"{by_expert[name]['roc_auc']:.3f}" for name in UNSEEN_HEADS[2:5]]
        yield (medium, f"{by_expert['both']['rows']:,}", *areas, f"{by_expert['both']['recall']:.1%}")


def suite_rows(suites: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield a row of SUITE_HEADS for each line, those that fail marked."""
    for line in suites.get("lines", ()):
        share = line["called_spam"]
        right = share if _SHARE[line["suite"]] else _other(share)
        ends = f"{right['low']:.1%} to {right['high']:.1%}"
        mark = "FAILS" if line["fault"] else ""
        yield (f"{line['suite']}: {line['name']}", f"{line['rows']:,}", f"{right['value']:.1%}", ends, mark)


def invariance_rows(suites: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield a row of INVARIANCE_HEADS for each harmless change."""
    for one in suites.get("invariances", ()):
        same = one["unchanged"]
        yield (one["change"], f"{one['rows']:,}", f"{same['value']:.1%}", f"{same['low']:.1%} to {same['high']:.1%}")


def _kept(one: Mapping[str, Any]) -> str:
    """Write the share of good messages that is kept."""
    rate = one.get("false_positive_rate")
    return f"{1 - rate['value']:.1%}" if rate else UNDEFINED


def _caught(one: Mapping[str, Any]) -> str:
    """Write the share of spam that is caught."""
    rate = one.get("recall")
    return f"{rate['value']:.1%}" if rate else UNDEFINED


def _other(share: Mapping[str, float]) -> dict[str, float]:
    """Turn the share that is called spam into the share that is not."""
    return {"value": 1 - share["value"], "low": 1 - share["high"], "high": 1 - share["low"]}
