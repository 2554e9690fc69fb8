"""Find doubtful labels, and measure the agreement of annotators beyond chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from spamctl.data.feedback import Answer
from spamctl.engine import calibration
from spamctl.errors import NothingLearntError
from spamctl.metrics.baseline import build
from spamctl.schema.message import SPAM, Agreement, Label, Message

# Find labels that the model's probabilities contradict (confident learning).


def suspects(probabilities: Sequence[float], labels: Sequence[Label]) -> list[int]:
    """Return the places of probably wrong labels, the least credible first, given probabilities of spam in [0, 1].

    The model must not have learnt from these labels. Cleanlab's method (Northcutt, Jiang, Chuang: "Confident learning",
    JAIR 70, 2021) compares each probability with the average of its class, so it needs labels of both kinds: of one
    kind alone nothing is suspect.
    """
    spam = np.array([label == SPAM for label in labels], dtype=np.int64)
    if len(set(spam.tolist())) < 2:
        return []
    from cleanlab.filter import find_label_issues  # type: ignore[import-untyped]

    likely = np.asarray(probabilities, dtype=np.float64)
    ranked = find_label_issues(
        spam, np.column_stack([1 - likely, likely]), return_indices_ranked_by="self_confidence", n_jobs=1
    )
    return [int(place) for place in ranked]


FOLDS = 5


def doubts(answers: Sequence[Answer], known: Sequence[Message], *, seed: int = 0) -> list[int]:
    """Return the places of probably wrong labels, the least credible first.

    The probabilities stored with the rows alone would accuse the very messages that a drifted world asks to be learnt:
    those that the served version gets wrong. So a second witness is heard, a linear model that learns from the dataset
    (`known`) and, in turns, from all answers but those that it judges; confident learning compares it with the labels
    (see `suspects`). Only a label that both contradict is doubtful. With fewer than two rows of a class nothing is.
    """
    truth = np.array([answer.message.is_spam for answer in answers], dtype=bool)
    folds = min(FOLDS, int(truth.sum()), int((~truth).sum()))
    if folds < 2:
        return []
    margins = _margins([answer.message for answer in answers], known, folds, seed)
    try:
        likely = calibration.fit(truth, margins).apply(margins)
    except NothingLearntError:  # most of the labels say the contrary of what was learnt: margins are taken as they are
        likely = calibration.sigmoid(margins)
    found = suspects(likely.tolist(), [answer.label for answer in answers])
    return [place for place in found if answers[place].called_spam != truth[place]]


def _margins(
    messages: Sequence[Message], known: Sequence[Message], folds: int, seed: int
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return margins of spam (N,), each from a linear model that has not seen its row."""
    from sklearn.model_selection import StratifiedKFold

    truth = np.array([message.is_spam for message in messages])
    margins = np.empty(len(messages), dtype=np.float64)
    for others, judged in StratifiedKFold(folds, shuffle=True, random_state=seed).split(truth, truth):
        lesson = [*known, *(messages[place] for place in others)]
        model = build("words and characters", 1.0)
        model.fit([message.text for message in lesson], [message.is_spam for message in lesson])
        margins[judged] = model.decision_function([messages[place].text for place in judged])
    return margins


# Measure the agreement of annotators beyond chance (Cohen's kappa).


def agreements(opinions: Mapping[str, Mapping[str, Label]]) -> list[Agreement]:
    """Return Cohen's kappa (Educational and Psychological Measurement 20, 1960) of each pair that overlaps.

    `opinions` holds each annotator's labels by uuid.
    """
    from sklearn.metrics import cohen_kappa_score  # importing it sets variables, and importing us must not

    found = []
    for first, second in combinations(sorted(opinions), 2):
        shared = sorted(opinions[first].keys() & opinions[second].keys())
        if shared:
            said = [[opinions[name][uuid] for uuid in shared] for name in (first, second)]
            agreeing = sum(one == other for one, other in zip(*said, strict=True))
            kappa = float(cohen_kappa_score(*said)) if len({*said[0], *said[1]}) > 1 else None
            found.append(Agreement(first, second, len(shared), agreeing, kappa))
    return found
