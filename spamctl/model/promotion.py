"""Let a version that learnt from labelled answers lead only if it forgot nothing and is better at what is new."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spamctl.errors import SpamctlError
from spamctl.model.champion import Decision, compare
from spamctl.model.engine import Engine
from spamctl.model.registry import TestRows, called_spam, champion_files, enter
from spamctl.model.score import proportion
from spamctl.model.succession import CHALLENGER, CHAMPION

if TYPE_CHECKING:
    from mlflow import MlflowClient

TOLERANCE = 0.01  # of accuracy on the frozen test part
LEAST_RECENT = 20  # rows; on fewer, being better is luck
MOST_DOUBT = 0.1  # share of labels: above it nothing can be concluded from the others either


@dataclass(frozen=True, slots=True)
class Evidence:
    """Hold what a challenger made of the frozen test part and of the recent rows, and the share of doubtful labels."""

    test: TestRows
    recent: TestRows
    doubt: float


@dataclass(frozen=True, slots=True)
class Promotion:
    """Hold the alias that a version earned, why, and how it and the champion did on either part, as plain JSON."""

    alias: str
    reason: str
    comparison: Mapping[str, Any]


def promote(client: MlflowClient, name: str, version: str, evidence: Evidence) -> Promotion:
    """Make a version champion if `judge` says so, or if there is none yet; else challenger.

    A champion that cannot be scored keeps its place.
    """
    found = champion_files(client, name)
    if not found:
        promotion = Promotion(CHAMPION, f"the first version of {name}", {})
    else:
        try:
            promotion = _compared(*found, evidence)
        except SpamctlError as error:
            reason = f"the champion, version {found[0]}, cannot be scored: {error}"
            promotion = Promotion(CHALLENGER, reason, {})
    enter(client, name, promotion.alias, version)
    return promotion


def judge(test: Decision, recent: Decision | None, rows: int, doubt: float) -> tuple[bool, str]:
    """Tell whether a challenger leads from now on, and why, given both comparisons and the number of recent rows.

    It must not be worse than the champion by more than a point of accuracy on the frozen test part, and right on more
    of the recent rows, whose labels must be credible; their order in time makes them a test of today. Being better by
    a few rows may be chance: the p-value says how likely, and a person can go back (`spamctl rollback`).
    """
    if test.accuracy_difference.value < -TOLERANCE - 1e-9:  # else 9 fewer of 900 would be more than a point
        return False, f"worse by more than a point on the frozen test part: {test.reason}"
    if recent is None or rows < LEAST_RECENT:
        few = f"{rows:,} labelled messages were held out as recent, and fewer than {LEAST_RECENT} cannot show it better"
        return False, f"{few}: label more with spamctl label, or raise --recent-share"
    if doubt > MOST_DOUBT:
        return False, (
            f"{doubt:.0%} of the labels are doubtful, so that the others prove nothing: "
            "look at them with spamctl label --source review --suspects"
        )
    if recent.only_challenger_right <= recent.only_champion_right:
        return False, f"not better on what is new: {recent.reason}"
    return True, f"{recent.reason}; on the frozen test part {test.reason}"


def _compared(champion: str, folder: Path, evidence: Evidence) -> Promotion:
    """Score the champion on both parts, and judge."""
    engine = Engine(folder)
    parts: dict[str, dict[str, Any]] = {}
    decisions: dict[str, Decision] = {}
    for part, rows, what in (
        ("test", evidence.test, "test messages"),
        ("recent", evidence.recent, "recent messages"),
    ):
        if rows.texts:
            theirs = called_spam(engine, rows.texts)
            decision = decisions[part] = compare(rows.is_spam, rows.called_spam, theirs, what)
            parts[part] = {
                "rows": len(rows.texts),
                "spam": sum(rows.is_spam),
                "challenger": scores(rows.is_spam, rows.called_spam),
                "champion": scores(rows.is_spam, theirs),
                **{name: value for name, value in decision.as_dict().items() if name not in {"reason", "not_worse"}},
            }
    promoted, reason = judge(decisions["test"], decisions.get("recent"), len(evidence.recent.texts), evidence.doubt)
    return Promotion(CHAMPION if promoted else CHALLENGER, reason, {"champion": champion, "parts": parts})


def scores(is_spam: Any, called: Any) -> dict[str, dict[str, float]]:
    """Return accuracy, recall and false positive rate of verdicts (N,), each with its 95 % interval."""
    truth, spam = np.asarray(is_spam, dtype=bool), np.asarray(called, dtype=bool)
    counts = {
        "accuracy": (truth == spam, truth | True),
        "recall": (truth & spam, truth),
        "false_positive_rate": (~truth & spam, ~truth),
    }
    return {name: asdict(proportion(int(hits.sum()), int(rows.sum()))) for name, (hits, rows) in counts.items()}
