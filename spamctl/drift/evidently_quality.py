"""Render Evidently's classification page for the served verdicts, never for a threshold of its own.

Given probabilities, Evidently calls spam what is above one half, and its page contradicts the filter's own. So it gets
the verdicts; probabilities only rank. Figures are those of all labelled rows, as in `drift/quality.py`, and tests are
run where their thresholds were calibrated, on rows of which near duplicates count once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spamctl.drift.evidently_page import Compared, Page, Part, compose, run
from spamctl.drift.sample import Sample
from spamctl.message import NOT_SPAM, SPAM

if TYPE_CHECKING:
    import pandas as pd

FEWEST_LABELS = 10
# How far a quality may fall, and how far it may rise: one side each, never both, as the thresholds of `judge` say.
MAY_FALL = {"accuracy": "accuracy_tests"}
MAY_RISE = {"false_positive_rate": "fpr_tests"}

_NOISE = 1e-9  # of rounding: a statistic that equals its threshold alarms in `judge`
_PROBABILITY = "probability"


def classification(
    reference: Sample, current: Sample, thresholds: Mapping[str, float], rows: Mapping[str, Compared]
) -> Page:
    """Return the page of both samples' rows with a label that measures; one that cannot be made says why.

    `thresholds` are those of `judge`, and `rows` say for each sample how many rows there are.
    """
    from evidently.metrics import LogLoss, RocAuc
    from evidently.presets.classification import ClassificationQuality

    sides = [sample.take(np.flatnonzero(sample.trusted)) for sample in (reference, current)]
    if reason := unmeasurable(sides[1]):
        return Page("", {"missing": reason})
    shown = sides if not unmeasurable(sides[0]) else sides[1:]
    verdicts = run([ClassificationQuality(conf_matrix=True, include_tests=False)], *_verdicts(shown))
    ranking = run([RocAuc(), LogLoss()], *_probabilities(shown))
    counts = {side: Compared(whole.of, len(each)) for (side, whole), each in zip(rows.items(), sides, strict=True)}
    return compose("Classification", [_tests(sides, thresholds), verdicts, ranking], counts, {})


def unmeasurable(sample: Sample) -> str:
    """Return why quality cannot be measured on labelled rows, or nothing."""
    rows, spam = len(sample.truth), sum(label == SPAM for label in sample.truth)
    if rows < FEWEST_LABELS:
        return f"{rows} rows have a trusted label, fewer than {FEWEST_LABELS}"
    if spam in {0, rows}:
        return f"all {rows} labelled rows are {NOT_SPAM if not spam else SPAM}"
    return ""


def _verdicts(samples: Sequence[Sample]) -> tuple[list[pd.DataFrame], Any]:
    """Return frames of truth and verdict, and what their columns are."""
    import pandas as pd
    from evidently import BinaryClassification, DataDefinition

    frames = [pd.DataFrame({"label": list(each.truth), "verdict": words(each.called_spam)}) for each in samples]
    roles = BinaryClassification(target="label", prediction_labels="verdict", pos_label=SPAM)
    return frames, DataDefinition(categorical_columns=["label", "verdict"], classification=[roles])


def _probabilities(samples: Sequence[Sample]) -> tuple[list[pd.DataFrame], Any]:
    """Return frames of truth and probability of spam, and what their columns are."""
    import pandas as pd
    from evidently import BinaryClassification, DataDefinition

    frames = [pd.DataFrame({"label": list(each.truth), _PROBABILITY: each.probabilities}) for each in samples]
    roles = BinaryClassification(target="label", prediction_labels=None, prediction_probas=_PROBABILITY, pos_label=SPAM)
    columns = {"numerical_columns": [_PROBABILITY], "categorical_columns": ["label"]}
    return frames, DataDefinition(**columns, classification=[roles])


def _tests(sides: Sequence[Sample], thresholds: Mapping[str, float]) -> Part:
    """Return the tests alone, of rows that are distinct."""
    from evidently.presets.classification import ClassificationQuality

    once = [side.distinct() for side in sides]
    limits = _limits(once[0], thresholds)
    if not limits or unmeasurable(once[1]):
        return Part()
    quality = ClassificationQuality(include_tests=True, **limits)
    return Part(tests=run([quality], *_verdicts(once if not unmeasurable(once[0]) else once[1:])).tests)


def _limits(reference: Sample, thresholds: Mapping[str, float]) -> dict[str, list[Any]]:
    """Return the tests of quality: how far from the reference's each may be on its bad side, from `judge`."""
    from evidently.tests import gt, lt

    right = reference.called_spam == reference.is_spam
    rates = {"accuracy": right} | {"false_positive_rate": reference.called_spam[~reference.is_spam]}
    known = {name: float(hits.mean()) for name, hits in rates.items() if len(hits) and name in thresholds}
    falls = {slot: [gt(known[name] - thresholds[name] + _NOISE)] for name, slot in MAY_FALL.items() if name in known}
    rises = {slot: [lt(known[name] + thresholds[name] - _NOISE)] for name, slot in MAY_RISE.items() if name in known}
    return falls | rises


def words(called_spam: Sequence[bool] | Any) -> list[str]:
    """Return verdicts in words."""
    return [SPAM if spam else NOT_SPAM for spam in called_spam]
