"""Package a classifier: export it for the faster runtime, calibrate, choose the threshold, seal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from spamctl import folders
from spamctl.engine import ngrams, parity
from spamctl.engine.calibration import Bools
from spamctl.engine.engine import Embedder, Engine, Features, Logits
from spamctl.engine.manifest import Files, Golden, Manifest, seal, write
from spamctl.engine.ngrams import NgramExpert
from spamctl.engine.runtime import LOGITS, ONNX, Inputs, default_threads, multiplies_int8, session
from spamctl.engine.tokens import NGRAMS, MessageTokenizer, TokenRow
from spamctl.export import finishing, onnx, smooth_quant
from spamctl.export.finishing import Fitting
from spamctl.export.onnx import GraphSpec, to_onnx_files
from spamctl.export.openvino import (
    FLOAT32,
    INT8,
    INT8_WEIGHTS,
    calibrating,
    compress_weights,
    distance,
    make_ready,
    one_row,
    quantise,
    scores_alike,
    to_files,
    to_openvino,
)
from spamctl.progress import ProgressGenerator, ProgressUpdate
from spamctl.schema.codec import to_json
from spamctl.schema.evaluation import Parity, Reach
from spamctl.schema.rates import OperatingPoint
from spamctl.schema.train import Distance, Packaging

if TYPE_CHECKING:
    import openvino

    from spamctl.training.model import SpamClassifier

# Write a classifier for the runtime that is faster: ONNX Runtime for short messages and known blocks, or OpenVINO.

# B rows, T tokens


logger = logging.getLogger(__name__)

Run = Callable[[Sequence[str], Inputs], list[NDArray[np.float32]]]

SHORT = 64  # tokens in the mean: longer messages OpenVINO scores as fast, or up to a quarter faster
SPARE = 16  # places beyond the longest row, for what it is padded with


class Exporter(Protocol):
    """Writer of one classifier at several precisions."""

    def float32(self) -> Files:
        """Return a graph that scores as PyTorch does."""

    def int8(self, rows: Sequence[Sequence[int]], seed: int) -> Files:
        """Return one whose products are made in int8, by scales that token ids of training rows fix."""

    def int8_weights(self) -> Files:
        """Return one whose weights are int8, and whose arithmetic is float32."""


def exporter(classifier: SpamClassifier, rows: Sequence[Sequence[int]], max_tokens: int) -> Exporter:
    """Return what writes a classifier for messages like `rows`, cut to `max_tokens`; raise DataError if nothing can."""
    make_ready(classifier)
    short = np.mean([len(ids) for ids in rows]) <= SHORT
    if short and (drawn := onnx.read_spec(classifier, max_tokens + SPARE)):
        found = _OnnxRuntime(drawn, classifier)
        if found.scores_alike(max_tokens):
            return found
    return _OpenVino(classifier)


class _OpenVino:
    def __init__(self, classifier: SpamClassifier) -> None:
        self._classifier = classifier

    @cached_property
    def _graph(self) -> openvino.Model:
        return to_openvino(self._classifier)

    def float32(self) -> Files:
        return to_files(self._graph)

    def int8(self, rows: Sequence[Sequence[int]], seed: int) -> Files:
        return to_files(quantise(self._graph, calibrating(rows, seed)))

    def int8_weights(self) -> Files:
        return to_files(compress_weights(self._graph))


class _OnnxRuntime(_OpenVino):
    """Exporter for ONNX Runtime; int8 weights with float activations are left to OpenVINO, which is faster there."""

    def __init__(self, drawn: GraphSpec, classifier: SpamClassifier) -> None:
        super().__init__(classifier)
        self._drawn, self._exact = drawn, to_onnx_files(drawn)

    def scores_alike(self, max_tokens: int) -> bool:
        """Return whether ONNX Runtime loads the graph and gives the classifier's scores."""
        try:
            with _running(self._exact) as run:
                return scores_alike(lambda inputs: run([LOGITS], inputs)[0], self._classifier, max_tokens)
        except Exception as fault:  # of a class of its own for each: a head may have a size that it cannot turn
            kind = self._classifier.trunk.config.model_type
            logger.debug("ONNX Runtime does not run this %s: %s", kind, fault)
            return False

    def float32(self) -> Files:
        return self._exact

    def int8(self, rows: Sequence[Sequence[int]], seed: int) -> Files:
        names = smooth_quant.names_in(self._drawn)
        with _running(to_onnx_files(self._drawn, watch=names)) as run:
            reaches = smooth_quant.reaches(names, (run(names, one_row(ids)) for ids in calibrating(rows, seed)))
        found = smooth_quant.rounding(self._drawn, reaches)
        return to_onnx_files(found.blueprint, found.grids)


@contextmanager
def _running(files: Files) -> Iterator[Run]:
    """Open a graph in ONNX Runtime, and return what gives its named outputs."""
    with folders.temporary_folder() as place:
        yield session(write(files, place) / ONNX, default_threads()).run


def features_in_int8(
    classifier: SpamClassifier, tokenizer: MessageTokenizer, train: Sequence[Sequence[int]], seed: int
) -> Callable[[Sequence[Sequence[int]], str], ProgressGenerator[Features]] | None:
    """Return what computes the features (rows, 2D) of token ids as the int8 engine will serve them; None if it cannot.

    A head that learns from them learns from what it will be given. They come twice as fast as those of PyTorch in
    bfloat16. `train` and `seed` calibrate int8, and `package` must be given the same. Only our own graph is known to
    round the blocks without regard to the head, and only a processor that multiplies int8 is fast at it.
    """
    trunk = classifier.trunk
    attention = trunk.config._attn_implementation  # noqa: SLF001  (there is no public question)
    written = exporter(classifier, train, tokenizer.max_tokens) if multiplies_int8() else None
    if not isinstance(written, _OnnxRuntime):
        trunk.model.set_attn_implementation(attention)  # PyTorch will compute the features: as it was, it is faster
        return None
    files = written.int8(train, seed) | tokenizer.files()

    def features(rows: Sequence[Sequence[int]], task: str) -> ProgressGenerator[Features]:
        with folders.temporary_folder() as place:
            embedder = Embedder(write(seal(files, _draft(tokenizer, {})), place), in_bulk=True)
            return (yield from embedder.features_of([TokenRow([*ids], truncated=False) for ids in rows], task))

    return features


def _draft(tokenizer: MessageTokenizer, about: dict[str, object]) -> Manifest:
    """Return the manifest of a package that is not calibrated yet."""
    return Manifest(
        FLOAT32, PRECISION, tokenizer.max_tokens, tokenizer.empty_id, 1.0, 0.0, 0.5, NOT_YET, about,
        tail_tokens=tokenizer.tail_tokens,
    )  # fmt: skip


PARITY_ROWS = 64
MOST_COMPARED = 600  # rows on which int8 is held against float32, which takes three times as long to score them
NOT_YET = (Golden("", 0.5),)  # in the place of the golden messages, of a draft that nobody will serve
PRECISION = "f32"  # of what is not int8: the same on every processor


@dataclass(frozen=True, slots=True)
class PackageRequest:
    """Requested engine, the tolerance of int8 against float32, and the budget of false positives.

    `learnt_in_int8` says that the head was fitted to features of the int8 engine.
    """

    engine: str
    tolerance: float
    max_false_positive_rate: float
    seed: int
    learnt_in_int8: bool = False


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
    wish: PackageRequest,
    about: dict[str, object],
) -> ProgressGenerator[Package]:
    """Return the package that will be measured, registered and served; yield progress.

    `train` are token ids of training rows, which calibrate int8; everything else is chosen on validation rows, scored
    by the engine that serves.
    """
    draft, parts = _draft(tokenizer, about), tokenizer.files()
    yield ProgressUpdate("export", 0, 4, "parts")
    export = exporter(classifier, train, tokenizer.max_tokens)
    yield ProgressUpdate("export", 1, 4, "parts")
    compared = validation.first(MOST_COMPARED if _candidates(wish.engine) else len(validation.rows))
    taken = _try(FLOAT32, export.float32() | parts, draft, compared)
    yield ProgressUpdate("export", 2, 4, "parts")
    distances, warnings, reference = {}, [], taken.logits
    truth = np.array(validation.is_spam)
    for kind in _candidates(wish.engine):
        smaller = export.int8(train, wish.seed) if kind == INT8 else export.int8_weights()
        trial = _try(kind, smaller | parts, draft, validation)
        distances[kind] = distance(
            np.array(compared.is_spam), reference, trial.logits[: len(reference)], wish.max_false_positive_rate
        )
        if not (fault := _fault(trial, distances[kind], wish)):
            taken = trial
            break
        warnings.append(fault)
    if len(taken.logits) < len(truth):
        taken = _try(FLOAT32, taken.files, draft, validation)
    yield ProgressUpdate("export", 3, 4, "parts")
    files, logits = _with_expert(taken, truth, validation)
    scale, point = finishing.fit(Fitting(truth, logits, validation.media), wish.max_false_positive_rate)
    manifest = replace(draft, engine=taken.kind)
    reach = _reach(validation, scale.apply(logits) >= point.threshold) if tokenizer.vocabulary else None
    if reach:
        manifest = replace(manifest, reach=reach.limit, about=about | {"out_of_reach": to_json(reach)})
    files = finishing.seal(files, manifest, scale, point.threshold)
    yield ProgressUpdate("export", 4, 4, "parts")
    return Package(files, taken.kind, point, reach, distances, tuple(warnings))


def _reach(validation: Validation, called_spam: Bools) -> Reach:
    """Choose on validation rows the novelty beyond which a message is out of reach, and count those that are."""
    novelties = [row.novelty for row in validation.rows]
    limit = ngrams.novelty_limit(validation.is_spam, called_spam, novelties)
    return ngrams.measure_novelty(validation.is_spam, called_spam, novelties, limit)


def _with_expert(taken: _Trial, truth: Bools, validation: Validation) -> tuple[Files, Logits]:
    """Return the files of both experts, and what they say together of the validation rows."""
    if validation.expert is None:
        return taken.files, taken.logits
    expert, logits = ngrams.fuse(truth, taken.logits, validation.margins, validation.expert)
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
    with folders.temporary_folder() as place:
        engine = Engine(write(seal(files, draft), place), in_bulk=True)
        sample = validation.rows[: PARITY_ROWS if kind != FLOAT32 else 1]  # only what is rounded can flip
        alone = np.array(list(parity.single_rows(engine, sample)))
        return _Trial(kind, files, engine.logits(validation.rows), parity.check(engine, sample, alone, seed=0))


def _candidates(wanted: str) -> tuple[str, ...]:
    return {"auto": (INT8, INT8_WEIGHTS), FLOAT32: ()}.get(wanted, (wanted,))


def _fault(trial: _Trial, far: Distance, wish: PackageRequest) -> str:
    """Return why an engine is rejected, or an empty string."""
    if not trial.parity.holds:
        return (
            f"{trial.kind} moves a probability by {trial.parity.max_delta:.2g} with its batch here: it is not packaged"
        )
    if not far.within(wish.tolerance, learnt_in_int8=wish.learnt_in_int8 and trial.kind == INT8):
        return (
            f"{trial.kind} changes {far.changed:.2%} of the validation verdicts and ROC-AUC by {-far.auc_fall:+.4f}, "
            f"more than --int8-tolerance {wish.tolerance:g} allows: it is not packaged"
        )
    return ""
