"""Run the tests for drift, permutation tests on kernels among them, with one family-wise false-alarm rate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spamctl.drift.sample import Sample, describe
from spamctl.schema.monitor import Outcome

# Compare two samples by permutation tests on kernels over words, letters and embeddings.
# Resampling the reference alone would be simpler, but it is wrong about rare events: an event that the reference lacks
# never occurs in its resamples, so the first emoji or the first new word would raise an alarm. Here the rows of both
# samples are pooled and permuted (Fisher 1935; Pitman 1937), and the observed assignment is one of B + 1 that are
# equally likely under the null hypothesis. So each p-value is exact at every window size and for every statistic,
# however discrete, and no threshold can be out of date.

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


# Run the tests for drift of inputs, outputs and quality, with one family-wise false-alarm rate.

# Control the family-wise error rate of many tests: together they give no more false alarms than asked for.

# T tests, B + 1 permutations, the first of them the observed assignment

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of a test: it alarms from its threshold on, which is exactly where its adjusted p is low enough."""

    statistic: float
    threshold: float
    p_value: float
    adjusted_p: float
    holm_p: float
    alarm: bool


def judge_family(nulls: Mapping[str, ArrayLike], rate: float) -> dict[str, Finding]:
    """Test statistics (B + 1,), large ones indicating drift, so that any false alarm at all has probability `rate`.

    This is the step-down procedure of Westfall & Young (1993) on p-values, as Ge, Dudoit & Speed (2003) compute it: it
    takes the dependence of the tests from the permutations, so correlated tests cost little power. Holm's p-values
    (1979), which assume the worst dependence, are given for comparison. With few permutations the least p-value is
    coarse and the test conservative (200 permutations of 15 tests gave 2.4 % false alarms where 5 % were asked for),
    so take a hundred for each test. Statistics of different rows may be permuted separately: they then count as
    independent, which is the worse case when they are positively related (Šidák 1967).
    """
    names = list(nulls)
    statistics = np.stack([np.asarray(nulls[name], dtype=np.float64) for name in names])  # (T, B + 1)
    p = np.stack([_p_values(row) for row in statistics])  # (T, B + 1)
    order = np.argsort(p[:, 0], kind="stable")  # (T,) most surprising first
    least = np.minimum.accumulate(p[order[::-1]], axis=0)[::-1]  # (T, B + 1) of this test and those after it
    raw = (least <= p[order, :1]).mean(axis=1)
    adjusted = np.maximum.accumulate(raw)
    passed = int((adjusted <= rate).sum())  # how many alarm: the first so many
    found = {}
    for place, test in enumerate(order):
        critical = _critical(least[min(place, passed)], rate)
        found[names[test]] = Finding(
            statistic=float(statistics[test, 0]),
            threshold=_threshold(statistics[test], critical),
            p_value=float(p[test, 0]),
            adjusted_p=float(adjusted[place]),
            holm_p=_holm(p[order, 0], place),
            alarm=place < passed,
        )
    return {name: found[name] for name in names}


def _p_values(statistics: FloatArray) -> FloatArray:
    """Return, by permutation (B + 1,), the share of permutations whose statistic is at least as large."""
    return (statistics.size - np.searchsorted(np.sort(statistics), statistics, side="left")) / statistics.size


def _critical(least: FloatArray, rate: float) -> float:
    """Return the largest value of `least` (B + 1,) that is reached in at most `rate` of the permutations, or 0."""
    levels, counts = np.unique(least, return_counts=True)
    low_enough = np.cumsum(counts) <= rate * least.size * (1 + 1e-12)
    return float(levels[low_enough][-1]) if low_enough.any() else 0.0


def _threshold(statistics: FloatArray, critical: float) -> float:
    """Return the smallest statistic whose p-value is at most `critical`; if none is, far beyond the largest.

    Then no permutation could raise an alarm, so a statistic in units of it means nothing, and must not look close to
    one.
    """
    ascending = np.sort(statistics)
    at_most = math.floor(critical * statistics.size * (1 + 1e-12))
    first = int(np.searchsorted(ascending, ascending[-at_most], side="left")) if at_most else ascending.size
    if ascending.size - first > at_most:  # ties reach below: go to the next larger value
        first = int(np.searchsorted(ascending, ascending[first], side="right"))
    if first < ascending.size:
        return float(ascending[first])
    return float(ascending[-1] + max(1.0, abs(ascending[-1])))


def _holm(ascending: FloatArray, place: int) -> float:
    """Return Holm's adjusted p-value of the test at a place among ascending p-values (T,)."""
    factors = np.arange(ascending.size, 0, -1)
    return float(min(1.0, (factors * ascending)[: place + 1].max()))


# m reference and n current rows, P = m + n; S of them are looked at by the tests whose work grows with the square

FEWEST = 30  # rows of either side
FEWEST_LABELS = 20  # trusted ones of the window
MOST_OF_A_SIDE = 2_000  # rows in a kernel: 64 MB
OUTPUTS = ("spam_share", "probability")
QUALITY = ("accuracy", "false_positive_rate")


@dataclass(frozen=True, slots=True)
class Pool:
    """Distinct rows of both samples, their permutations, and the kernel matrices between them.

    `reference` and `current` hold m and n rows; `compared` (P,) marks the S rows of the kernels. `features` is None
    where the model's own features are not known.
    """

    reference: Sample
    current: Sample
    deals: Permutations
    compared: NDArray[np.bool_]
    text: Kernel
    features: Kernel | None

    @property
    def is_current(self) -> NDArray[np.bool_]:
        """Return which rows of the kernels (S,) are in the current sample."""
        return self.deals.observed[self.compared]

    @property
    def rows_compared(self) -> NDArray[np.intp]:
        """Return which current rows (of n) the kernels compare, in their order."""
        return np.flatnonzero(self.compared[len(self.reference) :])


def pool_samples(reference: Sample, current: Sample, replicates: int, rng: np.random.Generator) -> Pool:
    """Pool distinct rows of two samples, and permute them `replicates` times."""
    m, n = len(reference), len(current)
    compared = np.concatenate([_some(m, rng), _some(n, rng)])
    deals = permute(np.arange(m + n) >= m, replicates, rng, compared)
    texts = [*reference.texts, *current.texts]
    known = reference.features.shape[1] == current.features.shape[1] > 0
    features = np.concatenate([reference.features, current.features])[compared] if known else None
    return Pool(
        reference,
        current,
        deals,
        compared,
        text_kernel([texts[row] for row in np.flatnonzero(compared)]),
        None if features is None else feature_kernel(features),
    )


def run_tests(pooled: Pool, quality: Mapping[str, Floats], rate: float) -> list[Outcome]:
    """Test the whole family; `quality` holds what `quality_nulls` gave."""
    found = judge_family(nulls(pooled, quality), rate)
    means = _means(pooled.reference), _means(pooled.current)
    return [
        _outcome(name, finding, pooled, (means[0].get(name), means[1].get(name))) for name, finding in found.items()
    ]


def nulls(pooled: Pool, quality: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return each test's statistic by permutation (B + 1,), the observed one first."""
    columns = [_columns(side) for side in (pooled.reference, pooled.current)]
    found = {name: wasserstein(np.concatenate([side[name] for side in columns]), pooled.deals) for name in columns[0]}
    some = pooled.deals.among(pooled.compared)
    found["text"] = mean_discrepancy(pooled.text, some)
    if pooled.features is not None:
        found["features"] = mean_discrepancy(pooled.features, some)
    return found | dict(quality)


def quality_nulls(reference: Sample, current: Sample, replicates: int, rng: np.random.Generator) -> dict[str, Floats]:
    """Return how far accuracy fell and the false-positive rate rose, by permutation (B + 1,) of the labels.

    Both samples hold distinct rows with labels that are trusted. A test that no row of one side can tell is left out.
    """
    if len(current) < FEWEST_LABELS or not len(reference):
        return {}
    deals = permute(np.arange(len(reference) + len(current)) >= len(reference), replicates, rng)
    truth = np.concatenate([reference.is_spam, current.is_spam])
    called = np.concatenate([reference.called_spam, current.called_spam])
    found = {"accuracy": share_gap(truth != called, deals)}
    if not reference.is_spam.all() and not current.is_spam.all():
        found["false_positive_rate"] = share_gap(called, deals, among=~truth)
    return found


def _columns(sample: Sample) -> dict[str, Floats]:
    return describe(sample.texts) | {
        "probability": sample.probabilities,
        "spam_share": sample.called_spam.astype(np.float64),
    }


def _means(sample: Sample) -> dict[str, float]:
    means = {name: float(values.mean()) for name, values in _columns(sample).items()}
    labelled = sample.take(sample.trusted)
    if len(labelled):
        means["accuracy"] = float((labelled.called_spam == labelled.is_spam).mean())
    if (~labelled.is_spam).any():
        means["false_positive_rate"] = float(labelled.called_spam[~labelled.is_spam].mean())
    return means


def _outcome(name: str, finding: Finding, pooled: Pool, means: tuple[float | None, float | None]) -> Outcome:
    kind = "quality" if name in QUALITY else "output" if name in OUTPUTS else "input"
    rows = len(pooled.current)
    if name in QUALITY:
        rows = int(pooled.current.trusted.sum())
    elif name in {"text", "features"}:
        rows = int(pooled.is_current.sum())
    return Outcome(
        name=name,
        kind=kind,
        statistic=finding.statistic,
        threshold=finding.threshold,
        p_value=finding.p_value,
        adjusted_p=finding.adjusted_p,
        alarm=finding.alarm,
        reference=means[0],
        current=means[1],
        rows=rows,
    )


def _some(rows: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Mark a random MOST_OF_A_SIDE of some rows, at most."""
    marked = np.zeros(rows, dtype=bool)
    marked[rng.permutation(rows)[:MOST_OF_A_SIDE]] = True
    return marked
