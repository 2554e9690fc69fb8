"""Fit the linear expert over hashed n-grams, and measure both experts on unseen kinds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spamctl.data import split
from spamctl.engine import calibration
from spamctl.engine.calibration import Bools, Floats
from spamctl.engine.ngrams import BUCKETS, NgramExpert, count
from spamctl.metrics.scores import roc_auc
from spamctl.schema.evaluation import UnseenScore
from spamctl.schema.message import Message
from spamctl.training.probe import folds

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


def fit_expert(counts: Any, is_spam: Bools, weights: Sequence[float] = ()) -> NgramExpert:
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


def learn_expert(
    train: Sequence[Message], texts: Sequence[str], weights: Sequence[float]
) -> tuple[NgramExpert, list[float]]:
    """Return an expert that has learnt from `train`, and its margin of each of the other `texts` (N,)."""
    is_spam = np.array([message.is_spam for message in train], bool)
    expert = fit_expert(counts_of([message.text for message in train]), is_spam, weights)
    return expert, expert_margins(expert, texts).tolist()


def expert_margins(expert: NgramExpert, texts: Sequence[str]) -> NDArray[np.float64]:
    """Return the margin (N,) of each text."""
    return np.array([expert.margin(text) for text in texts], np.float64)


def margins_of(expert: NgramExpert, counts: Any) -> NDArray[np.float64]:
    """Return the margin (N,) of each row of counts (N, BUCKETS); that of `expert.margin` but for its last digits."""
    table = counts.astype(np.float64)
    table.data = (1 + np.log(table.data)) * expert.frequencies[table.indices]
    lengths = np.sqrt(np.asarray(table.multiply(table).sum(axis=1)).ravel())  # (N,)
    means = np.divide(table @ expert.weights, lengths, out=np.zeros(len(lengths)), where=lengths > 0)  # (N,)
    return np.asarray(expert.bias + means, np.float64)


# Measure both experts on unseen kinds of messages, by cross-validation over whole families.

EXPERTS: Final = ("language model", "n-grams", "both")
FLAGGED: Final = 0.01  # of good messages, where recall is read off
EVERY_MEDIUM: Final = "every medium"


def measure_unseen(messages: Sequence[Message], probe_logits: Sequence[float], *, seed: int) -> tuple[UnseenScore, ...]:
    """Score training messages by experts trained without their families; border rows are for training only.

    `probe_logits` (N,) are those of linear probes on the features of the language model before it was tuned, out of
    fold (`model.probe.out_of_fold`): a lower bound of what tuning achieves on them. The n-grams are fitted in the very
    same folds. No message that is scored here was seen by who scores it, nor was any of its kind or its honest twin.
    """
    truth = np.array([message.is_spam for message in messages], bool)
    counts = counts_of([message.text for message in messages])
    margins = np.empty(len(messages))
    for fit, held_out in folds(truth, seed, split.family_groups(messages)):
        expert = fit_expert(counts[fit], truth[fit])
        margins[held_out] = margins_of(expert, counts[held_out])
    lines = {"language model": np.asarray(probe_logits, np.float64), "n-grams": margins}
    lines["both"] = sum(_calibrated(truth, line) for line in lines.values()) / len(lines)  # type: ignore[assignment]
    scored = np.array([bool(message.traits.family) and not message.traits.border for message in messages], bool)
    media = np.array([message.traits.medium for message in messages], dtype=object)
    views = {EVERY_MEDIUM: scored} | {name: scored & (media == name) for name in dict.fromkeys(media[scored])}
    return tuple(
        _score(expert, medium, truth[rows], lines[expert][rows])
        for medium, rows in views.items()
        if 0 < truth[rows].sum() < rows.sum()
        for expert in EXPERTS
    )


def _calibrated(truth: Bools, logits: Floats) -> Floats:
    """Bring logits to a common scale."""
    scale = calibration.fit(truth, logits)
    return scale.slope * logits + scale.intercept


def _score(expert: str, medium: str, truth: Bools, logits: Floats) -> UnseenScore:
    spam, rest = logits[truth], logits[~truth]
    border = float(np.quantile(rest, 1 - FLAGGED, method="higher"))
    return UnseenScore(expert, medium, truth.size, spam.size, float(roc_auc(spam, rest)), float((spam > border).mean()))
