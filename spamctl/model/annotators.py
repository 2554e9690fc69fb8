"""Measure the agreement of annotators beyond chance (Cohen's kappa)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from spamctl.message import Label
from spamctl.schema.label import Agreement


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
