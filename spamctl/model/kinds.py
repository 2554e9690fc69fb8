"""Measure a filter by groups of messages: recall, false positives and ranking by medium, language and kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from spamctl.message import Message
from spamctl.model.calibration import Bools, Floats
from spamctl.model.engine import Engine
from spamctl.model.score import proportion, roc_auc
from spamctl.schema.evaluation import Evaluation, GroupScore, GroupScores
from spamctl.schema.train import Baseline

VIEWS: Final[Mapping[str, Callable[[Message], str]]] = MappingProxyType(
    {
        "dataset": lambda message: message.traits.dataset,
        "medium": lambda message: message.traits.medium,
        "language": lambda message: message.traits.language,
        "style": lambda message: ("border" if message.traits.border else "natural") if message.traits.kind else "",
        "family": lambda message: message.traits.family,
    }
)


def by_kind(messages: Sequence[Message], probabilities: ArrayLike, threshold: float) -> tuple[GroupScore, ...]:
    """Score each group of each of VIEWS, the largest first; messages without a value in a view are left out.

    Takes N messages and their probabilities of spam (N,); `p >= threshold` is called spam.
    """
    p, truth = np.asarray(probabilities, dtype=np.float64), np.array([message.is_spam for message in messages], bool)
    found: list[GroupScore] = []
    for view, name_of in VIEWS.items():
        names = np.array([name_of(message) for message in messages], dtype=object)
        sizes = {name: int((names == name).sum()) for name in dict.fromkeys(names) if name}
        ordered = sorted(sizes, key=lambda one: (-sizes[one], one))
        found += [group_score(view, name, truth[names == name], p[names == name], threshold) for name in ordered]
    return tuple(found)


def side_by_side(messages: Sequence[Message], model: Evaluation, baseline: Baseline) -> GroupScores:
    """Return `by_kind` of the model and of the baseline, from their probabilities (N,) and their thresholds."""
    return GroupScores(
        model=by_kind(messages, model.probabilities, model.score.threshold),
        baseline=by_kind(messages, baseline.probabilities, baseline.score.threshold),
    )


def held_out(messages: Sequence[Message], engine: Engine) -> tuple[GroupScore, ...]:
    """Return `by_kind` of messages of families that were held out whole; nothing if none were."""
    if not messages:
        return ()
    p = engine.probabilities(engine.logits(engine.tokenize([message.text for message in messages])))
    truth = np.array([message.is_spam for message in messages], bool)
    whole = group_score("held out", "kinds never seen", truth, p, engine.threshold)
    return (whole, *by_kind(messages, p, engine.threshold))


def group_score(view: str, name: str, truth: Bools, probabilities: Floats, threshold: float) -> GroupScore:
    """Score one group of messages (N,)."""
    spam, rest = probabilities[truth], probabilities[~truth]
    return GroupScore(
        view=view,
        name=name,
        rows=truth.size,
        spam=spam.size,
        recall=proportion(int((spam >= threshold).sum()), spam.size) if spam.size else None,
        false_positive_rate=proportion(int((rest >= threshold).sum()), rest.size) if rest.size else None,
        roc_auc=float(roc_auc(spam, rest)) if spam.size and rest.size else None,
    )
