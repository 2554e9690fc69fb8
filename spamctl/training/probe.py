"""Score features by a linear probe, choose the depth by it, and initialise the head from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spamctl.errors import DataError
from spamctl.schema.train import BlockScore

STRENGTH = 0.1  # inverse of the L2 penalty on standardised features
STRENGTH_ON_KINDS = 0.01  # where whole families are held out, the least log loss of .1, .01, .001 and .0003
FOLDS = 5
FLOOR_SHARE = (
    0.25  # shallower blocks do as well on the messages at hand, and fall behind on those of another place or year
)


@dataclass(frozen=True, slots=True)
class DepthChoice:
    """The chosen depth, the least depth allowed, and the scores of every block with the number of rows."""

    depth: int
    floor: int
    rows: int
    scores: tuple[BlockScore, ...]


def score_blocks(
    pooled: NDArray[np.float32], labels: NDArray[np.bool_], seed: int, groups: Sequence[str] = ()
) -> Iterator[BlockScore]:
    """Yield each block's score, from pooled features (blocks, rows, 2D) and labels (rows,).

    Rows of one of `groups` (rows,) share a fold. Raises DataError if a class has fewer rows than there are folds.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from threadpoolctl import threadpool_limits

    fewest = int(min(labels.sum(), (~labels).sum()))
    if fewest < FOLDS:
        raise DataError(
            f"--depth auto needs {FOLDS} training rows of each class, found {fewest}; give --depth a number"
        )
    splits = list(folds(labels, seed, groups))
    probe = LogisticRegression(C=STRENGTH_ON_KINDS if groups else STRENGTH, max_iter=1000)
    for block, features in enumerate(pooled, start=1):
        with threadpool_limits(1):  # on matrices this small, two threads take three times as long as one
            probabilities = cross_val_predict(probe, _rotate(features), labels, cv=splits, method="predict_proba")[:, 1]
        losses = -np.log(np.clip(np.where(labels, probabilities, 1 - probabilities), 1e-7, 1))
        error = float(losses.std(ddof=1) / np.sqrt(len(losses)))
        yield BlockScore(block, float(losses.mean()), error, float(((probabilities >= 0.5) == labels).mean()))


def folds(
    labels: NDArray[np.bool_], seed: int, groups: Sequence[str]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the rows to fit and to score of each fold; rows of one group share a fold."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    if groups:
        return StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(labels, labels, groups)  # type: ignore[no-any-return]
    return StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(labels, labels)  # type: ignore[no-any-return]


def out_of_fold(
    features: NDArray[np.float32], labels: NDArray[np.bool_], groups: Sequence[str], seed: int
) -> NDArray[np.float64]:
    """Return the logits (rows,) of probes that never saw the row's group, on features (rows, 2D) and labels (rows,)."""
    logits = np.empty(len(labels))
    for fit, held_out in folds(labels, seed, groups):
        weights, bias = fit_probe(features[fit], labels[fit])
        logits[held_out] = features[held_out] @ weights + bias
    return logits


def choose_depth(scores: list[BlockScore], rows: int, blocks: int = 0) -> DepthChoice:
    """Choose the shallowest block whose loss is within one standard error of the best one's, from the floor on.

    `blocks` is how many the model has, where not all were scored: the floor is a share of them, rounded down. (Of 30
    blocks, 7 ranked unseen kinds as well as 8 to .001, and an eighth of the time pays for a prompt's question.)

    The rule of Breiman, Friedman, Olshen and Stone, Classification and Regression Trees (1984), section 3.4.3. The
    error of the difference on the same rows would be smaller, and asked for 20 of 30 blocks where this asks for half as
    many: twice the time for each message, for .007 of the area that both experts reach together on unseen kinds.
    """
    floor = max(1, int((blocks or len(scores)) * FLOOR_SHARE))
    eligible = [score for score in scores if floor <= score.block]
    best = min(eligible, key=lambda score: score.log_loss)
    depth = next(score.block for score in eligible if score.log_loss <= best.log_loss + best.standard_error)
    return DepthChoice(depth, floor, rows, tuple(scores))


def fit_probe(
    features: NDArray[np.float32], labels: NDArray[np.bool_], row_weights: Sequence[float] = ()
) -> tuple[NDArray[np.float32], float]:
    """Return weights (2D,) and bias of a logistic regression on features (rows, 2D), for unscaled features.

    `row_weights` says how much each row counts; without any, all count the same.
    """
    from sklearn.linear_model import LogisticRegression

    centre, scale = features.mean(axis=0), features.std(axis=0) + 1e-6
    probe = LogisticRegression(C=STRENGTH, max_iter=1000)
    probe.fit((features - centre) / scale, labels, sample_weight=np.array(row_weights) if row_weights else None)
    weights = probe.coef_[0] / scale
    return weights.astype(np.float32), float(probe.intercept_[0] - weights @ centre)


def _rotate(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Standardise features (rows, 2D) and rotate them into their row space: the same probe, fewer columns."""
    standard = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
    values, vectors = np.linalg.eigh(standard.astype(np.float64) @ standard.T)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0)))  # (rows, rows)
