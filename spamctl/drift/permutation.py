"""Compare two samples by permutation tests: the null distribution of each statistic under no change.

Resampling the reference alone would be simpler, but it is wrong about rare events: an event that the reference lacks
never occurs in its resamples, so the first emoji or the first new word would raise an alarm. Here the rows of both
samples are pooled and permuted (Fisher 1935; Pitman 1937), and the observed assignment is one of B + 1 that are equally
likely under the null hypothesis. So each p-value is exact at every window size and for every statistic, however
discrete, and no threshold can be out of date.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spamctl.drift.kernels import Kernel

# P pooled rows, of which m are the reference's and n current; B + 1 permutations, the first of them the observed
# assignment; V distinct values of a column

Floats = NDArray[np.float64]
LEAST_DEVIATION = 0.001  # of the reference; Evidently's
DEALS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Deals:
    """Permutations of the pooled rows: `current` (P, B + 1), 1 or 0, the observed assignment in the first column."""

    current: NDArray[np.uint8]

    @property
    def observed(self) -> NDArray[np.bool_]:
        """Return which rows (P,) are in the current sample."""
        return self.current[:, 0].astype(bool)

    def among(self, rows: NDArray[np.bool_]) -> Deals:
        """Return the same permutations, restricted to some rows."""
        return Deals(self.current[rows])


def deal(is_current: ArrayLike, replicates: int, rng: np.random.Generator, apart: ArrayLike | None = None) -> Deals:
    """Permute the assignment of pooled rows (P,) to the two samples, `replicates` times.

    Rows marked in `apart` (P,) are permuted among themselves, and the others too: then both strata keep their sizes in
    every permutation, and a statistic may use one stratum alone.
    """
    dealt = np.asarray(is_current, dtype=np.uint8)
    kinds = np.zeros(dealt.size, dtype=bool) if apart is None else np.asarray(apart, dtype=bool)
    current = np.repeat(dealt[None, :], replicates + 1, axis=0)  # (B + 1, P)
    for kind in (kinds, ~kinds):
        current[1:, kind] = rng.permuted(current[1:, kind], axis=1)
    return Deals(np.ascontiguousarray(current.T))


def wasserstein(values: ArrayLike, deals: Deals) -> Floats:
    """Return the distance (B + 1,) of the two permuted sides in a column (P,), in deviations of the reference.

    This is the first Wasserstein distance over the larger of the reference's standard deviation and 0.001, which is
    what Evidently shows by that name.
    """
    levels, sizes, counts = _counts(values, deals)
    found = np.empty(deals.current.shape[1])
    centred, gaps = levels - levels.mean(), np.diff(levels)
    for start in range(0, found.size, DEALS_AT_ONCE):
        now = counts[:, start : start + DEALS_AT_ONCE]  # (V, b)
        before = sizes[:, None] - now
        n, m = now.sum(axis=0), before.sum(axis=0)
        apart = np.abs(np.cumsum(now, axis=0)[:-1] / n - np.cumsum(before, axis=0)[:-1] / m)  # (V - 1, b)
        variance = (centred**2) @ before / m - (centred @ before / m) ** 2
        deviation = np.sqrt(np.maximum(variance, 0.0))
        found[start : start + DEALS_AT_ONCE] = gaps @ apart / np.maximum(deviation, LEAST_DEVIATION)
    return _without_noise(found)


def share_gap(hits: ArrayLike, deals: Deals, *, among: ArrayLike | None = None) -> Floats:
    """Return the share of hits (P,) among current rows less that of the reference, by permutation (B + 1,).

    With `among` (P,) other rows are not counted; where a side has none, the gap is 0.
    """
    hit = np.asarray(hits, dtype=np.int64)
    counted = np.ones_like(hit) if among is None else np.asarray(among, dtype=np.int64)
    rows_now, hits_now = counted @ deals.current, (hit * counted) @ deals.current
    rows_before, hits_before = counted.sum() - rows_now, (hit * counted).sum() - hits_now
    gap = hits_now / np.maximum(rows_now, 1) - hits_before / np.maximum(rows_before, 1)
    return _without_noise(np.where((rows_now > 0) & (rows_before > 0), gap, 0.0))


def mean_discrepancy(kernel: Kernel, deals: Deals) -> Floats:
    """Return the squared distance (B + 1,) of the mean embeddings of the two sides, from a kernel (P, P).

    This is the maximum mean discrepancy of Gretton et al. (2012), with the rows' likeness to themselves counted in: it
    is the same in every permutation of a kernel that is 1 there.
    """
    centred = kernel - kernel.mean(axis=0, dtype=np.float64)
    centred = (centred - centred.mean(axis=1, keepdims=True)).astype(np.float32)  # which changes no distance
    found = np.empty(deals.current.shape[1])
    for start in range(0, found.size, DEALS_AT_ONCE):
        now = deals.current[:, start : start + DEALS_AT_ONCE].astype(np.float32)  # (P, b)
        n = now.sum(axis=0)
        weights = now / n - (1 - now) / (len(now) - n)  # (P, b)
        found[start : start + DEALS_AT_ONCE] = (weights * (centred @ weights)).sum(axis=0)
    return np.round(found, 7)  # single precision: what is smaller is noise


def _counts(values: ArrayLike, deals: Deals) -> tuple[Floats, NDArray[np.int64], NDArray[np.int32]]:
    """Return the levels of a column (V,), their sizes (V,), and how many rows of each are current (V, B + 1)."""
    column = np.asarray(values, dtype=np.float64)
    order = np.argsort(column, kind="stable")
    levels, starts, sizes = np.unique(column[order], return_index=True, return_counts=True)
    return levels, sizes, np.add.reduceat(deals.current[order], starts, axis=0, dtype=np.int32)


def _without_noise(found: Floats) -> Floats:
    """Round away floating-point noise: ties must stay ties."""
    return np.asarray(np.round(found, 10))
