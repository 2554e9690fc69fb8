"""Train a classifier to separate current messages from the reference's: its AUC measures the drift."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spamctl.drift.kernels import Kernel
from spamctl.drift.permutation import Floats, deal
from spamctl.schema.monitor import Separation

# S rows of a kernel, B + 1 permutations, the first of them the observed assignment

FOLDS = 5
DEALS = 200
MOST_OF_A_SIDE = 1_000  # rows: more would take minutes and tell no more
PENALTY = 0.3
QUANTILE = 0.95


def classify(kernel: Kernel, is_current: NDArray[np.bool_], rng: np.random.Generator) -> Separation:
    """Return the cross-validated ROC-AUC of a linear classifier of the two sides, and what it reaches by chance.

    The classifier is kernel ridge regression on the text kernel (S, S), so one factorisation per fold serves the
    observed assignment and its permutations; `threshold` is the 95 % quantile over those. A classifier as two-sample
    test is Lopez-Paz & Oquab's (2017).
    """
    from scipy.linalg import cho_factor, cho_solve

    rows = np.sort(
        np.concatenate([rng.permutation(np.flatnonzero(side))[:MOST_OF_A_SIDE] for side in (is_current, ~is_current)])
    )
    now = deal(is_current[rows], DEALS, rng).current.astype(np.float64)  # (S, B + 1)
    n = now[:, 0].sum()
    target = now / n - (1 - now) / (rows.size - n)
    target /= np.abs(target).max()
    alike = kernel[np.ix_(rows, rows)].astype(np.float64)
    alike -= alike.mean(axis=0)
    alike -= alike.mean(axis=1, keepdims=True)  # else a fold's score would tell which labels its rows lack
    fold = rng.permutation(rows.size) % FOLDS
    scores = np.empty_like(now)
    for held in range(FOLDS):
        out = fold == held
        factor = cho_factor(alike[np.ix_(~out, ~out)] + PENALTY * np.eye(int((~out).sum())))
        scores[out] = alike[np.ix_(out, ~out)] @ cho_solve(factor, target[~out])
    areas = _areas(scores, now)
    return Separation(auc=float(areas[0]), threshold=float(np.quantile(areas[1:], QUANTILE)))


def _areas(scores: Floats, now: Floats) -> Floats:
    """Return the area under the curve of each column of scores (S, B + 1)."""
    from scipy.stats import rankdata

    n = now.sum(axis=0)
    ranks = (rankdata(np.round(scores, 9), axis=0) * now).sum(axis=0)
    return np.asarray((ranks - n * (n + 1) / 2) / (n * (len(now) - n)))
