"""Estimate accuracy without labels, and flag where the estimate is unreliable."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spamctl.drift.kernels import Kernel
from spamctl.drift.sample import Sample
from spamctl.model.score import CONFIDENCE
from spamctl.schema.monitor import Support
from spamctl.schema.rates import Interval

# N rows, S rows of a kernel

ASSUMPTION = (
    "the probabilities are as well calibrated in this window as on the test part: "
    "the mix of messages may have shifted, but not the share of spam among messages of one kind"
)
DRAWS = 1_000
NEIGHBOURS = 5
INSIDE = 0.99  # of fresh messages like the reference
DOUBT = 0.01  # so few windows of such messages are said to leave the support


def accuracy(sample: Sample, rng: np.random.Generator) -> Interval:
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


def outside(kernel: Kernel, is_current: NDArray[np.bool_]) -> Support | None:
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
