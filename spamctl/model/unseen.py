"""Measure both experts on unseen kinds of messages, by cross-validation over whole families."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from spamctl.data import families
from spamctl.message import Message
from spamctl.model import calibration, linear_expert
from spamctl.model.calibration import Bools, Floats
from spamctl.model.probe import folds
from spamctl.model.score import roc_auc
from spamctl.schema.evaluation import UnseenScore

EXPERTS: Final = ("language model", "n-grams", "both")
FLAGGED: Final = 0.01  # of good messages, where recall is read off
EVERY_MEDIUM: Final = "every medium"


def measure(messages: Sequence[Message], probe_logits: Sequence[float], *, seed: int) -> tuple[UnseenScore, ...]:
    """Score training messages by experts trained without their families; border rows are for training only.

    `probe_logits` (N,) are those of linear probes on the features of the language model before it was tuned, out of
    fold (`model.probe.out_of_fold`): a lower bound of what tuning achieves on them. The n-grams are fitted in the very
    same folds. No message that is scored here was seen by who scores it, nor was any of its kind or its honest twin.
    """
    truth = np.array([message.is_spam for message in messages], bool)
    counts = linear_expert.counts_of([message.text for message in messages])
    margins = np.empty(len(messages))
    for fit, held_out in folds(truth, seed, families.groups(messages)):
        expert = linear_expert.fit(counts[fit], truth[fit])
        margins[held_out] = linear_expert.margins(expert, [messages[row].text for row in held_out])
    lines = {"language model": np.asarray(probe_logits, np.float64), "n-grams": margins}
    lines["both"] = sum(_calibrated(truth, line) for line in lines.values()) / len(lines)  # type: ignore[assignment]
    scored = np.array([bool(message.traits.family) and not message.traits.border for message in messages], bool)
    media = np.array([message.traits.medium for message in messages], dtype=object)
    views = {EVERY_MEDIUM: scored} | {name: scored & (media == name) for name in dict.fromkeys(media[scored])}
    return tuple(
        _score(expert, medium, truth[rows], lines[expert][rows])
        for medium, rows in views.items()
        if 0 < truth[rows].sum() < rows.sum()
        for expert in EXPERTS
    )


def _calibrated(truth: Bools, logits: Floats) -> Floats:
    """Bring logits to a common scale."""
    scale = calibration.fit(truth, logits)
    return scale.slope * logits + scale.intercept


def _score(expert: str, medium: str, truth: Bools, logits: Floats) -> UnseenScore:
    spam, rest = logits[truth], logits[~truth]
    border = float(np.quantile(rest, 1 - FLAGGED, method="higher"))
    return UnseenScore(expert, medium, truth.size, spam.size, float(roc_auc(spam, rest)), float((spam > border).mean()))
