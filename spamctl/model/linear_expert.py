"""Fit the linear expert over hashed n-grams, and measure what it adds on kinds unseen by either expert."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spamctl.message import Message
from spamctl.model.calibration import Bools
from spamctl.model.ngrams import BUCKETS, NgramExpert, count

COST = 1.0  # of LinearSVC; the best of .1, .3, 1 and 3 on families that were held out whole


def counts_of(texts: Sequence[str]) -> Any:
    """Return the counts of n-grams (N, BUCKETS) as a sparse matrix."""
    from scipy.sparse import csr_matrix

    rows = [count(text) for text in texts]
    starts = np.concatenate([[0], np.cumsum([len(buckets) for buckets, _ in rows])])
    if not rows:
        return csr_matrix((0, BUCKETS), dtype=np.float32)
    buckets, values = (np.concatenate(part) for part in zip(*rows, strict=True))
    return csr_matrix((values, buckets, starts), shape=(len(rows), BUCKETS), dtype=np.float32)


def fit(counts: Any, is_spam: Bools, weights: Sequence[float] = ()) -> NgramExpert:
    """Fit the expert to counts (N, BUCKETS) and labels (N,); `weights` (N,) are sample weights."""
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.svm import LinearSVC

    scale = TfidfTransformer(sublinear_tf=True)
    table = scale.fit_transform(counts)
    model = LinearSVC(C=COST, random_state=0, max_iter=10_000)
    model.fit(table, is_spam, sample_weight=np.array(weights) if weights else None)
    seen = np.asarray(counts.getnnz(axis=0)).ravel() > 0  # (BUCKETS,)
    frequencies = np.where(seen, scale.idf_, 0.0).astype(np.float32)
    return NgramExpert(frequencies, model.coef_[0].astype(np.float32), float(model.intercept_[0]))


def learn(train: Sequence[Message], texts: Sequence[str], weights: Sequence[float]) -> tuple[NgramExpert, list[float]]:
    """Return an expert that has learnt from `train`, and its margin of each of the other `texts` (N,)."""
    is_spam = np.array([message.is_spam for message in train], bool)
    expert = fit(counts_of([message.text for message in train]), is_spam, weights)
    return expert, margins(expert, texts).tolist()


def margins(expert: NgramExpert, texts: Sequence[str]) -> NDArray[np.float64]:
    """Return the margin (N,) of each text."""
    return np.array([expert.margin(text) for text in texts], np.float64)
