"""Find labels that the model's probabilities contradict (confident learning)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spamctl.message import SPAM, Label


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
