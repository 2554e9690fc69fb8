"""Compare two samples by permutation tests on kernels over words, letters and embeddings.

Resampling the reference alone would be simpler, but it is wrong about rare events: an event that the reference lacks
never occurs in its resamples, so the first emoji or the first new word would raise an alarm. Here the rows of both
samples are pooled and permuted (Fisher 1935; Pitman 1937), and the observed assignment is one of B + 1 that are equally
likely under the null hypothesis. So each p-value is exact at every window size and for every statistic, however
discrete, and no threshold can be out of date.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Compute how similar two messages are: by their words and letters, and by the model's embeddings.

# P rows (reference and current together), D features

Kernel = NDArray[np.float32]

BUCKETS: Final = 2**18
RAREST: Final = 5  # a gram of fewer messages weighs like one of five: whether it is new is no news, most rare ones are
VIEWS: Final[Sequence[Mapping[str, object]]] = (
    {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"\w+|[^\w\s]+"},
    {"analyzer": "char_wb", "ngram_range": (3, 4)},
)


def text_kernel(texts: Sequence[str]) -> Kernel:
    """Return the similarity (P, P) of texts, in 0 to 1: the cosine of their hashed word and letter grams.

    The weights (inverse document frequencies) come from all P texts alike, so that they favour no side of a comparison.
    An empty text is like nothing, not even itself.
    """
    from scipy.sparse import hstack

    plain = [without_surrogates(text) for text in texts]
    grams = hstack([_weighted(plain, view) for view in VIEWS], format="csr")  # (P, G) sparse
    return np.asarray((grams @ grams.T).toarray() / len(VIEWS), dtype=np.float32)


def feature_kernel(features: ArrayLike) -> Kernel:
    """Return the similarity (P, P) of feature rows (P, D): Gaussian, as wide as the median distance.

    The median is the usual choice for a two-sample test (Gretton et al. 2012). Each feature is scaled by its deviation
    over all P rows.
    """
    return gaussian(squared_distances(features))


def gaussian(squared: NDArray[np.float32]) -> Kernel:
    """Return a kernel (P, P) of squared distances (P, P)."""
    apart = squared[np.triu_indices(len(squared), 1)]
    width = float(np.median(apart)) if apart.size else 0.0
    return np.asarray(np.exp(-squared / (width or 1.0)), dtype=np.float32)


def squared_distances(features: ArrayLike) -> NDArray[np.float32]:
    """Return the squared distance (P, P) of each two feature rows (P, D), each feature scaled by its deviation."""
    rows = np.asarray(features, dtype=np.float32)
    rows = rows - rows.mean(axis=0)
    spread = rows.std(axis=0)
    rows /= np.where(
        spread > 1e-6 * max(1e-30, float(spread.max(initial=0.0))), spread, np.inf
    )  # a constant tells nothing
    norms = (rows**2).sum(axis=1)  # (P,)
    return np.asarray(np.maximum(norms[:, None] + norms[None, :] - 2 * rows @ rows.T, 0.0), dtype=np.float32)


def without_surrogates(text: str) -> str:
    """Replace lone surrogates, which cannot be encoded, by the replacement character."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _weighted(texts: Sequence[str], view: Mapping[str, object]) -> Any:
    """Return normalised weights (P, BUCKETS) of the grams of texts."""
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.preprocessing import normalize

    counts = HashingVectorizer(n_features=BUCKETS, alternate_sign=False, norm=None, **view).transform(texts)
    counts.data = 1 + np.log(counts.data)
    holding = np.bincount(counts.indices, minlength=BUCKETS)  # messages that hold each gram
    counts.data *= np.log((1 + len(texts)) / np.maximum(holding, min(RAREST, len(texts) / 12)))[counts.indices].clip(0)
    return normalize(counts)


# P pooled rows, of which m are the reference's and n current; B + 1 permutations, the first of them the observed
# assignment; V distinct values of a column

Floats = NDArray[np.float64]
LEAST_DEVIATION = 0.001  # of the reference; Evidently's
DEALS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Permutations:
    """Permutations of the pooled rows: `current` (P, B + 1), 1 or 0, the observed assignment in the first column."""

    current: NDArray[np.uint8]

    @property
    def observed(self) -> NDArray[np.bool_]:
        """Return which rows (P,) are in the current sample."""
        return self.current[:, 0].astype(bool)

    def among(self, rows: NDArray[np.bool_]) -> Permutations:
        """Return the same permutations, restricted to some rows."""
        return Permutations(self.current[rows])


def permute(
    is_current: ArrayLike, replicates: int, rng: np.random.Generator, apart: ArrayLike | None = None
) -> Permutations:
    """Permute the assignment of pooled rows (P,) to the two samples, `replicates` times.

    Rows marked in `apart` (P,) are permuted among themselves, and the others too: then both strata keep their sizes in
    every permutation, and a statistic may use one stratum alone.
    """
    dealt = np.asarray(is_current, dtype=np.uint8)
    kinds = np.zeros(dealt.size, dtype=bool) if apart is None else np.asarray(apart, dtype=bool)
    current = np.repeat(dealt[None, :], replicates + 1, axis=0)  # (B + 1, P)
    for kind in (kinds, ~kinds):
        current[1:, kind] = rng.permuted(current[1:, kind], axis=1)
    return Permutations(np.ascontiguousarray(current.T))


def wasserstein(values: ArrayLike, deals: Permutations) -> Floats:
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


def share_gap(hits: ArrayLike, deals: Permutations, *, among: ArrayLike | None = None) -> Floats:
    """Return the share of hits (P,) among current rows less that of the reference, by permutation (B + 1,).

    With `among` (P,) other rows are not counted; where a side has none, the gap is 0.
    """
    hit = np.asarray(hits, dtype=np.int64)
    counted = np.ones_like(hit) if among is None else np.asarray(among, dtype=np.int64)
    rows_now, hits_now = counted @ deals.current, (hit * counted) @ deals.current
    rows_before, hits_before = counted.sum() - rows_now, (hit * counted).sum() - hits_now
    gap = hits_now / np.maximum(rows_now, 1) - hits_before / np.maximum(rows_before, 1)
    return _without_noise(np.where((rows_now > 0) & (rows_before > 0), gap, 0.0))


def mean_discrepancy(kernel: Kernel, deals: Permutations) -> Floats:
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


def _counts(values: ArrayLike, deals: Permutations) -> tuple[Floats, NDArray[np.int64], NDArray[np.int32]]:
    """Return the levels of a column (V,), their sizes (V,), and how many rows of each are current (V, B + 1)."""
    column = np.asarray(values, dtype=np.float64)
    order = np.argsort(column, kind="stable")
    levels, starts, sizes = np.unique(column[order], return_index=True, return_counts=True)
    return levels, sizes, np.add.reduceat(deals.current[order], starts, axis=0, dtype=np.int32)


def _without_noise(found: Floats) -> Floats:
    """Round away floating-point noise: ties must stay ties."""
    return np.asarray(np.round(found, 10))
