"""Compute how similar two messages are: by their words and letters, and by the model's embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
