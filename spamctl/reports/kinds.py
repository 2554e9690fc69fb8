"""Make the table rows of scores by kind of message, of unseen kinds and of the suites."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from spamctl.reports.scores import UNDEFINED

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
