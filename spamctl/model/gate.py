"""Register a model only if its test accuracy reaches the threshold and it is better than a constant answer.

Where few messages are spam, one that calls nothing spam is right on most of them: accuracy alone lets it pass.
"""

from __future__ import annotations

from collections.abc import Iterator

from spamctl.schema.rates import Interval, Score
from spamctl.schema.version import Gate, Mode

CHANCE = 0.5  # the ROC AUC of who draws lots


def judge(score: Score, threshold: float, mode: Mode) -> Gate:
    """Compare a test score with a threshold, and with what needs no filter.

    A model is refused, whatever the threshold, if it catches no spam, if the 95 % interval of its ROC AUC does not lie
    above chance, or if it is right on no more messages than one that gives all of them the more frequent verdict.
    """
    accuracy, counts = score.metrics.accuracy, score.confusion
    spam = counts.true_positives + counts.false_negatives
    larger = max(spam, score.rows - spam)
    reasons = [*_useless(score, spam, larger), *_below(accuracy, threshold, mode)]
    majority = larger / score.rows
    return Gate(threshold, mode, accuracy.value, accuracy.low, majority, not reasons, "; ".join(reasons))


def _useless(score: Score, spam: int, larger: int) -> Iterator[str]:
    """Yield why a model is no filter, in whole rows, so that no rounding opens the gate."""
    counts, area = score.confusion, score.metrics.roc_auc
    if not counts.true_positives:
        yield f"it catches none of {spam:,} spam test messages (recall 0)"
    if not area.low > CHANCE:  # which a value that is no number is not, either
        yield (
            f"it ranks spam no better than chance: ROC AUC {area.value:.4f}, "
            f"95 % interval {area.low:.4f} to {area.high:.4f}, and {CHANCE} is chance"
        )
    right = counts.true_positives + counts.true_negatives
    if right <= larger:
        kind = "spam" if larger == spam else "not spam"
        yield (
            f"it is right on {right:,} of {score.rows:,} test messages, "
            f"and calling every message {kind} is right on {larger:,}"
        )


def _below(accuracy: Interval, threshold: float, mode: Mode) -> Iterator[str]:
    """Yield how accuracy misses the threshold: the value, or the interval's lower end."""
    measured, name = (
        (accuracy.value, "test accuracy") if mode == "point" else (accuracy.low, "the lower bound of test accuracy")
    )
    if not measured >= threshold:
        yield f"{name} {measured:.6g} is below --accuracy-threshold {threshold:.6g}"
