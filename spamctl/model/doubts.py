"""Find doubtful labels: those that neither the version that answered nor a model of the other labels supports."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spamctl.data.feedback import Answer
from spamctl.errors import NothingLearntError
from spamctl.message import Message
from spamctl.model import calibration
from spamctl.model.baseline import build
from spamctl.model.suspects import suspects

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
