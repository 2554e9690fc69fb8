"""Measure the quality of verdicts on trusted labels, and report simulated labels separately."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spamctl.drift import permutation
from spamctl.drift.sample import Sample
from spamctl.model.calibration import bin_edges, expected_calibration_error
from spamctl.model.score import CONFIDENCE, confusion, proportion
from spamctl.schema.label import SIMULATED
from spamctl.schema.monitor import Breakdown, GroupRates, Quality, Simulated
from spamctl.schema.rates import Interval

# N rows with a trusted label

MOST_GROUPS = 20
RESAMPLES = 500
DEALS = 999
UNLIKE = 0.01  # false-alarm rate of the test that labels are a random sample of the window


def measured(sample: Sample, rng: np.random.Generator) -> Quality | None:
    """Return the quality of the verdicts that were served, from trusted labels, or None if there are none.

    Proportions come with Wilson's interval (1927), the calibration error with a bootstrap's; a rate that no row can
    tell is None.
    """
    labelled = sample.take(sample.trusted)
    if not len(labelled):
        return None
    truth, called = labelled.is_spam, labelled.called_spam
    counts = confusion(truth, called)
    shared = rate(counts.true_positives, len(labelled) - counts.true_negatives)
    return Quality(
        rows=len(labelled),
        spam=int(truth.sum()),
        coverage=len(labelled) / len(sample),
        label_sources=dict(Counter(labelled.label_sources).most_common()),
        accuracy=rate(counts.true_positives + counts.true_negatives, len(labelled)),
        precision=rate(counts.true_positives, counts.true_positives + counts.false_positives),
        recall=rate(counts.true_positives, counts.true_positives + counts.false_negatives),
        f1=shared and Interval(*(2 * share / (1 + share) for share in (shared.value, shared.low, shared.high))),
        false_positive_rate=rate(counts.false_positives, counts.false_positives + counts.true_negatives),
        calibration_error=_calibration_error(truth, labelled.probabilities, rng),
    )


def simulated(sample: Sample) -> Simulated | None:
    """Return how often labels that were invented from verdicts agree with them: no measure of quality."""
    invented = sample.take(np.array([source == SIMULATED for source in sample.label_sources], bool) & sample.labelled)
    if not len(invented):
        return None
    return Simulated(len(invented), float((invented.called_spam == invented.is_spam).mean()))


def by_group(sample: Sample) -> Breakdown:
    """Return accuracy, false-positive rate and recall by version, family and source, the largest groups first."""
    labelled = sample.take(sample.trusted)
    version, family, source = (
        tuple(_group(labelled, names, name) for name in _largest(names))
        for names in (labelled.versions, labelled.families, labelled.sources)
    )
    return Breakdown(version, family, source)


def alike(sample: Sample, rng: np.random.Generator) -> bool:
    """Return whether the labelled rows could be a random sample of the window, by how sure the verdicts were.

    Reviewers are asked about doubtful messages first; what is measured on those says nothing about the others.
    """
    trusted = sample.trusted
    if trusted.all() or not trusted.any():
        return True
    deals = permutation.deal(trusted, DEALS, rng)
    apart = permutation.wasserstein(np.abs(sample.probabilities - 0.5), deals)
    return bool((apart >= apart[0]).mean() > UNLIKE)


def rate(hits: int, rows: int) -> Interval | None:
    """Return a share with Wilson's interval, or None without rows."""
    if not rows:
        return None
    found = proportion(hits, rows)
    return Interval(found.value, found.low, found.high)


def _largest(names: Sequence[str]) -> list[str]:
    counts = Counter(filter(None, names))
    return sorted(counts, key=lambda name: (-counts[name], name))[:MOST_GROUPS]


def _group(labelled: Sample, names: Sequence[str], wanted: str) -> GroupRates:
    rows = labelled.take([row for row, name in enumerate(names) if name == wanted])
    truth, called = rows.is_spam, rows.called_spam
    return GroupRates(
        name=wanted,
        rows=len(rows),
        accuracy=rate(int((truth == called).sum()), len(rows)),
        false_positive_rate=rate(int(called[~truth].sum()), int((~truth).sum())),
        recall=rate(int(called[truth].sum()), int(truth.sum())),
    )


def _calibration_error(
    truth: NDArray[np.bool_], probabilities: NDArray[np.float64], rng: np.random.Generator
) -> Interval:
    """Return the expected calibration error with the percentiles of a bootstrap, stretched to hold the value."""
    edges = bin_edges(probabilities)
    error: Callable[..., Any] = lambda rows: expected_calibration_error(truth[rows], probabilities[rows], edges)  # noqa: E731
    value = float(error(np.arange(truth.size)))
    drawn = [float(error(rng.integers(truth.size, size=truth.size))) for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(value, min(value, float(low)), max(value, float(high)))
