"""Finish a package: calibrate its engine, choose its threshold, score its golden messages, and seal it.

A training does this with validation rows, a recalibration with labelled answers; neither touches the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from numpy.typing import ArrayLike

from spamctl import folders
from spamctl.engine import calibration
from spamctl.engine import engine as golden
from spamctl.engine import manifest as artefact
from spamctl.engine.calibration import Calibration
from spamctl.engine.engine import GOLDEN, Engine, Logits
from spamctl.engine.manifest import Files, Golden, Manifest
from spamctl.metrics import scores
from spamctl.schema.rates import OperatingPoint


@dataclass(frozen=True, slots=True)
class Fitting:
    """Rows for a calibration and a threshold: labels (N,) and raw logits (N,).

    `media` (N,) names the medium of each row, where it is known.
    """

    is_spam: ArrayLike
    logits: Logits
    media: Sequence[str] = ()


def fit(fitting: Fitting, budget: float) -> tuple[Calibration, OperatingPoint]:
    """Return a calibration and the point of operation that it has with its threshold.

    `budget` is the share, in [0, 1), of the good rows that may be called spam. Raises DataError and NothingLearntError
    as `calibration.fit` and `threshold.choose` do.
    """
    scale = calibration.fit(fitting.is_spam, fitting.logits)
    return scale, scores.choose_threshold(fitting.is_spam, scale.apply(fitting.logits), budget, media=fitting.media)


def seal(files: Files, draft: Manifest, scale: Calibration, at: float) -> Files:
    """Return the sealed package of some files with the threshold `at`; the files stay byte for byte as they are.

    `files` are those of a package without its manifest, `draft` says how they are used; what it says of calibration,
    threshold and golden messages is replaced.
    """
    return _with_golden(files, replace(draft, slope=scale.slope, intercept=scale.intercept, threshold=at))


def _with_golden(files: Files, manifest: Manifest) -> Files:
    """Seal files with the golden messages, some near the threshold, and what the finished engine says of them."""
    with folders.temporary_folder() as place:
        engine = Engine(artefact.write(artefact.seal(files, manifest), place))
        pool = golden.turning_messages()
        near = golden.nearest_to_threshold(
            pool, [verdict.probability for verdict in engine.classify(pool)], engine.threshold
        )
        texts = [*GOLDEN, *near]
        rows = tuple(Golden(text, v.probability) for text, v in zip(texts, engine.classify(texts), strict=True))
    return artefact.seal(files, replace(manifest, golden=rows))
