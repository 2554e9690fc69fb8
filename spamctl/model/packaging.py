"""Package a classifier: export, quantize within the tolerance, calibrate, choose the threshold, seal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from spamctl.model import artefact, finishing, fusion, novelty, parity, scratch
from spamctl.model.artefact import Files, Golden, Manifest
from spamctl.model.calibration import Bools
from spamctl.model.engine import Engine, Logits
from spamctl.model.export import FLOAT32, INT8, INT8_WEIGHTS, distance
from spamctl.model.exporters import exporter
from spamctl.model.finishing import Fitting
from spamctl.model.ngrams import NgramExpert
from spamctl.model.tick import Tick, Ticking
from spamctl.model.tokens import NGRAMS, MessageTokenizer, TokenRow
from spamctl.schema.codec import to_json
from spamctl.schema.evaluation import Parity, Reach
from spamctl.schema.rates import OperatingPoint
from spamctl.schema.train import Distance, Packaging

if TYPE_CHECKING:
    from spamctl.model.classifier import SpamClassifier

PARITY_ROWS = 64
MOST_COMPARED = 600  # rows on which int8 is held against float32, which takes three times as long to score them
NOT_YET = (Golden("", 0.5),)  # in the place of the golden messages, of a draft that nobody will serve
PRECISION = "f32"  # of what is not int8: the same on every processor


@dataclass(frozen=True, slots=True)
class Wish:
    """Requested engine, the tolerance of int8 against float32, and the budget of false positives."""

    engine: str
    tolerance: float
    max_false_positive_rate: float
    seed: int


@dataclass(frozen=True, slots=True)
class Validation:
    """Validation rows as tokens, and their labels: they choose engine, calibration and threshold.

    `expert` is a second one, over n-grams, and `margins` (rows,) what it says of each row, in units of its own. `media`
    (rows,) names the medium of each row, where it is known.
    """

    rows: Sequence[TokenRow]
    is_spam: Sequence[bool]
    media: Sequence[str] = ()
    expert: NgramExpert | None = None
    margins: Sequence[float] = ()

    def first(self, rows: int) -> Validation:
        """Return the first rows alone, without a second expert; they stand in the order of a hash, so as if drawn."""
        return Validation(self.rows[:rows], self.is_spam[:rows])


@dataclass(frozen=True, slots=True)
class Package:
    """A sealed package, its operating point, and the distance of each engine tried from float32.

    `reach` tells which validation rows are out of reach; None where no vocabulary tells.
    """

    files: Files
    engine: str
    point: OperatingPoint
    reach: Reach | None
    distances: dict[str, Distance]
    warnings: tuple[str, ...]

    @property
    def summary(self) -> Packaging:
        """Return all but the files and the warnings."""
        return Packaging(self.engine, self.point, self.reach or Reach(), self.distances)


def package(
    classifier: SpamClassifier,
    tokenizer: MessageTokenizer,
    train: Sequence[Sequence[int]],
    validation: Validation,
    wish: Wish,
    about: dict[str, object],
) -> Ticking[Package]:
    """Return the package that will be measured, registered and served; yield progress.

    `train` are token ids of training rows, which calibrate int8; everything else is chosen on validation rows, scored
    by the engine that serves.
    """
    draft = Manifest(
        FLOAT32, PRECISION, tokenizer.max_tokens, tokenizer.empty_id, 1.0, 0.0, 0.5, NOT_YET, about,
        tail_tokens=tokenizer.tail_tokens,
    )  # fmt: skip
    parts = tokenizer.files()
    yield Tick("export", 0, 4, "parts")
    export = exporter(classifier, train, tokenizer.max_tokens)
    yield Tick("export", 1, 4, "parts")
    compared = validation.first(MOST_COMPARED if _candidates(wish.engine) else len(validation.rows))
    taken = _try(FLOAT32, export.float32() | parts, draft, compared)
    yield Tick("export", 2, 4, "parts")
    distances, warnings, reference = {}, [], taken.logits
    truth = np.array(validation.is_spam)
    for kind in _candidates(wish.engine):
        smaller = export.int8(train, wish.seed) if kind == INT8 else export.int8_weights()
        trial = _try(kind, smaller | parts, draft, validation)
        distances[kind] = distance(np.array(compared.is_spam), reference, trial.logits[: len(reference)])
        if not (fault := _fault(trial, distances[kind], wish.tolerance)):
            taken = trial
            break
        warnings.append(fault)
    if len(taken.logits) < len(truth):
        taken = _try(FLOAT32, taken.files, draft, validation)
    yield Tick("export", 3, 4, "parts")
    files, logits = _with_expert(taken, truth, validation)
    scale, point = finishing.fit(Fitting(truth, logits, validation.media), wish.max_false_positive_rate)
    manifest = replace(draft, engine=taken.kind)
    reach = _reach(validation, scale.apply(logits) >= point.threshold) if tokenizer.vocabulary else None
    if reach:
        manifest = replace(manifest, reach=reach.limit, about=about | {"out_of_reach": to_json(reach)})
    files = finishing.seal(files, manifest, scale, point.threshold)
    yield Tick("export", 4, 4, "parts")
    return Package(files, taken.kind, point, reach, distances, tuple(warnings))


def _reach(validation: Validation, called_spam: Bools) -> Reach:
    """Choose on validation rows the novelty beyond which a message is out of reach, and count those that are."""
    novelties = [row.novelty for row in validation.rows]
    limit = novelty.limit_of(validation.is_spam, called_spam, novelties)
    return novelty.measure(validation.is_spam, called_spam, novelties, limit)


def _with_expert(taken: _Trial, truth: Bools, validation: Validation) -> tuple[Files, Logits]:
    """Return the files of both experts, and what they say together of the validation rows."""
    if validation.expert is None:
        return taken.files, taken.logits
    expert, logits = fusion.fuse(truth, taken.logits, validation.margins, validation.expert)
    return taken.files | {NGRAMS: expert.to_bytes()}, logits


@dataclass(frozen=True, slots=True)
class _Trial:
    """A candidate engine, its validation logits (rows,), and what batching changes in some of them."""

    kind: str
    files: Files
    logits: Logits
    parity: Parity


def _try(kind: str, files: Files, draft: Manifest, validation: Validation) -> _Trial:
    """Score the validation rows with an engine that is not calibrated yet."""
    with scratch.folder() as place:
        engine = Engine(artefact.write(artefact.seal(files, draft), place))
        sample = validation.rows[: PARITY_ROWS if kind != FLOAT32 else 1]  # only what is rounded can flip
        alone = np.array(list(parity.single_rows(engine, sample)))
        return _Trial(kind, files, engine.logits(validation.rows), parity.check(engine, sample, alone, seed=0))


def _candidates(wanted: str) -> tuple[str, ...]:
    return {"auto": (INT8, INT8_WEIGHTS), FLOAT32: ()}.get(wanted, (wanted,))


def _fault(trial: _Trial, far: Distance, tolerance: float) -> str:
    """Return why an engine is rejected, or an empty string."""
    if not trial.parity.holds:
        return (
            f"{trial.kind} moves a probability by {trial.parity.max_delta:.2g} with its batch here: it is not packaged"
        )
    if not far.within(tolerance):
        return (
            f"{trial.kind} changes {far.changed:.2%} of the validation verdicts and ROC-AUC by {-far.auc_fall:+.4f}, "
            f"more than --int8-tolerance {tolerance:g} allows: it is not packaged"
        )
    return ""
