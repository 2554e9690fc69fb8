"""Evaluate a package on the held-out test part, row by row as it will be served."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spamctl.message import Message
from spamctl.model import novelty, parity, score, slices
from spamctl.model.engine import Engine
from spamctl.model.tick import Tick, Ticking
from spamctl.schema.evaluation import Evaluation, Reach

MOST_ALONE = 800  # test messages that are scored one by one, and again in every other way


def evaluate(engine: Engine, test: Sequence[Message], *, seed: int) -> Ticking[Evaluation]:
    """Score test messages one by one, then in other batchings, those beyond the first 800 in batches; yield progress.

    They stand in the order of a hash, so the first are as if drawn. Raises ArtefactError if padding, batch size or row
    order change a verdict.
    """
    rows = engine.tokenize([message.text for message in test])
    sample = rows[:MOST_ALONE]
    alone = np.empty(len(sample))
    for index, logit in enumerate(parity.single_rows(engine, sample)):
        alone[index] = logit
        yield Tick("test messages, one by one", index + 1, len(sample))
    proof = parity.check(engine, sample, alone, seed)
    proof.require()
    logits = np.concatenate([alone, engine.logits(rows[MOST_ALONE:])])
    truth, probabilities = np.array([message.is_spam for message in test]), engine.probabilities(logits)
    texts = [message.text for message in test]
    limit, novelties, called = engine.manifest.reach, [row.novelty for row in rows], probabilities >= engine.threshold
    return Evaluation(
        probabilities=probabilities.tolist(),
        score=score.score(truth, probabilities, engine.threshold, seed=seed),
        parity=proof,
        slices=slices.by_slice(texts, truth, probabilities, engine.threshold),
        mistakes=slices.worst(texts, truth, probabilities, engine.threshold),
        truncated=sum(row.truncated for row in rows),
        reach=Reach() if limit is None else novelty.measure(truth, called, novelties, limit),
    )


def probabilities(engine: Engine, texts: Sequence[str]) -> list[float]:
    """Return the probabilities of spam (N,) that a package gives to texts."""
    found: list[float] = engine.probabilities(engine.logits(engine.tokenize(texts))).tolist() if texts else []
    return found
