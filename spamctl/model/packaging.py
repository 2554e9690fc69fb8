"""Package a classifier: export, quantise if that keeps its scores, calibrate, choose the threshold, seal."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spamctl.model import artefact, calibration, threshold
from spamctl.model.artefact import Files, Golden, Manifest
from spamctl.model.engine import TOKENIZER, Engine, Logits
from spamctl.model.export import (
    FLOAT32,
    INT8,
    INT8_WEIGHTS,
    Distance,
    compress_weights,
    distance,
    quantise,
    to_files,
    to_openvino,
)
from spamctl.model.golden import GOLDEN
from spamctl.model.threshold import OperatingPoint
from spamctl.model.tick import Tick, Ticking
from spamctl.model.tokens import MessageTokenizer, TokenRow

if TYPE_CHECKING:
    from spamctl.model.classifier import SpamClassifier

PRECISION = "f32"  # of what is not int8: the same on every processor


@dataclass(frozen=True, slots=True)
class Wish:
    """Say which engine is wanted, how far int8 may stray from float32, and the budget of false positives."""

    engine: str
    tolerance: float
    max_false_positive_rate: float
    seed: int


@dataclass(frozen=True, slots=True)
class Validation:
    """Hold the validation rows as tokens, and their truth: they choose engine, calibration and threshold."""

    rows: Sequence[TokenRow]
    is_spam: Sequence[bool]


@dataclass(frozen=True, slots=True)
class Package:
    """Hold a sealed package, its point of operation, and how far each engine tried was from float32."""

    files: Files
    engine: str
    point: OperatingPoint
    distances: dict[str, Distance]
    warnings: tuple[str, ...]


def package(
    classifier: SpamClassifier,
    tokenizer: MessageTokenizer,
    train: Sequence[Sequence[int]],
    validation: Validation,
    wish: Wish,
    about: dict[str, Any],
) -> Ticking[Package]:
    """Return the package that will be measured, registered and served; yield progress.

    `train` are token ids of training rows, which calibrate int8; everything else is chosen on validation rows, scored
    by the engine that serves.
    """
    draft = Manifest(FLOAT32, PRECISION, tokenizer.max_tokens, tokenizer.empty_id, 1.0, 0.0, 0.5, (), about)
    parts = {TOKENIZER: tokenizer.to_json().encode()}
    yield Tick("export", 0, 4, "parts")
    exact = to_openvino(classifier)
    graph, kind = exact, FLOAT32
    yield Tick("export", 1, 4, "parts")
    logits = _score(to_files(exact) | parts, draft, validation.rows)
    yield Tick("export", 2, 4, "parts")
    distances: dict[str, Distance] = {}
    truth = np.array(validation.is_spam)
    for candidate in _candidates(wish.engine):
        smaller = quantise(exact, train, wish.seed) if candidate == INT8 else compress_weights(exact)
        scores = _score(to_files(smaller) | parts, draft, validation.rows)
        distances[candidate] = distance(truth, logits, scores)
        if distances[candidate].within(wish.tolerance):
            graph, kind, logits = smaller, candidate, scores
            break
    yield Tick("export", 3, 4, "parts")
    scale = calibration.fit(truth, logits)
    point = threshold.choose(truth, scale.apply(logits), wish.max_false_positive_rate)
    manifest = replace(draft, engine=kind, slope=scale.slope, intercept=scale.intercept, threshold=point.threshold)
    files = _with_golden(to_files(graph) | parts, manifest)
    yield Tick("export", 4, 4, "parts")
    return Package(files, kind, point, distances, _warnings(wish, kind, distances))


def _candidates(wanted: str) -> tuple[str, ...]:
    return {"auto": (INT8, INT8_WEIGHTS), FLOAT32: ()}.get(wanted, (wanted,))


def _warnings(wish: Wish, kind: str, distances: dict[str, Distance]) -> tuple[str, ...]:
    """Say which engine strayed too far and was not taken."""
    return tuple(
        f"{name} changes {d.changed:.2%} of the validation verdicts and ROC-AUC by {-d.auc_fall:+.4f}, more than "
        f"--int8-tolerance {wish.tolerance:g} allows: {kind} is packaged"
        for name, d in distances.items()
        if name != kind
    )


def _score(files: Files, manifest: Manifest, rows: Sequence[TokenRow]) -> Logits:
    """Score rows with a package that is not finished yet."""
    with tempfile.TemporaryDirectory(prefix="spamctl-") as scratch:
        return Engine(artefact.write(artefact.seal(files, manifest), Path(scratch))).logits(rows)


def _with_golden(files: Files, manifest: Manifest) -> Files:
    """Seal files with the golden messages and what the finished engine says of them."""
    with tempfile.TemporaryDirectory(prefix="spamctl-") as scratch:
        engine = Engine(artefact.write(artefact.seal(files, manifest), Path(scratch)))
        golden = tuple(Golden(text, v.probability) for text, v in zip(GOLDEN, engine.classify(GOLDEN), strict=True))
    return artefact.seal(files, replace(manifest, golden=golden))
