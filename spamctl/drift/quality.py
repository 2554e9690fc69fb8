"""Measure the quality of verdicts on trusted labels, and estimate accuracy without labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spamctl.drift import hypothesis_tests
from spamctl.drift.hypothesis_tests import Kernel
from spamctl.drift.sample import Sample
from spamctl.engine.calibration import bin_edges, expected_calibration_error
from spamctl.metrics.scores import CONFIDENCE, confusion, proportion
from spamctl.schema.message import SIMULATED
from spamctl.schema.monitor import Breakdown, GroupRates, Quality, Simulated, Support
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
    deals = hypothesis_tests.permute(trusted, DEALS, rng)
    apart = hypothesis_tests.wasserstein(np.abs(sample.probabilities - 0.5), deals)
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


# Estimate accuracy without labels, and flag where the estimate is unreliable.

# N rows, S rows of a kernel

ASSUMPTION = (
    "the probabilities are as well calibrated in this window as on the test part: "
    "the mix of messages may have shifted, but not the share of spam among messages of one kind"
)
DRAWS = 1_000
NEIGHBOURS = 5
INSIDE = 0.99  # of fresh messages like the reference
DOUBT = 0.01  # so few windows of such messages are said to leave the support


def estimate_accuracy(sample: Sample, rng: np.random.Generator) -> Interval:
    """Return the accuracy that calibrated probabilities promise, with the 95 % interval of what labels would say.

    A verdict is right with probability p if it says spam and 1 - p if not; the mean of that is confidence-based
    performance estimation (NannyML's CBPE; Guillory et al. 2021). The interval is of the accuracy of as many rows, so
    it holds the chance of which rows come and of what they turn out to be. Garg et al. (2022) show that no such method
    can be right under every shift; see `outside`.
    """
    right = np.where(sample.called_spam, sample.probabilities, 1 - sample.probabilities)  # (N,)
    value = float(right.mean())
    drawn = [
        float((rng.random(right.size) < right[rng.integers(right.size, size=right.size)]).mean()) for _ in range(DRAWS)
    ]
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(value, min(value, float(low)), max(value, float(high)))


def share_outside_support(kernel: Kernel, is_current: NDArray[np.bool_]) -> Support | None:
    """Return the share of current rows that lie farther from the reference than its own rows do, from a kernel (S, S).

    How far a row lies is its likeness to its fifth nearest neighbour in the reference (Loftsgaarden & Quesenberry
    1965), itself left out. The border is an order statistic of the reference's own, so the number of fresh rows beyond
    it is beta-binomial, whatever the distribution; `p_value` is the chance of so many. None if there are too few rows.
    """
    from scipy.stats import betabinom

    m, n = int((~is_current).sum()), int(is_current.sum())
    if m <= NEIGHBOURS or n == 0:
        return None
    to_reference = kernel[:, ~is_current].copy()  # (S, m)
    to_reference[np.flatnonzero(~is_current), np.arange(m)] = -np.inf
    nearness = np.partition(to_reference, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS]  # (S,)
    place = min(m, int(np.ceil(INSIDE * (m + 1))))  # of m, from the nearest
    border = np.sort(nearness[~is_current])[::-1][place - 1]
    beyond = int((nearness[is_current] < border).sum())
    chance = 1.0 if beyond == 0 else float(betabinom.sf(beyond - 1, n, m + 1 - place, place))
    return Support(share=beyond / n, expected=1 - place / (m + 1), p_value=min(1.0, chance))
