"""Write a classifier for the runtime that is faster: ONNX Runtime for short messages and known blocks, or OpenVINO."""

# B rows, T tokens

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from spamctl.model import artefact, blueprint, rounding, scratch
from spamctl.model.artefact import Files
from spamctl.model.blueprint import Blueprint
from spamctl.model.export import (
    calibrating,
    compress_weights,
    make_ready,
    one_row,
    quantise,
    scores_alike,
    to_files,
    to_openvino,
)
from spamctl.model.onnx_graph import to_onnx_files
from spamctl.model.runtime import LOGITS, ONNX, Inputs, default_threads, session

if TYPE_CHECKING:
    import openvino

    from spamctl.model.classifier import SpamClassifier

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
    if short and (drawn := blueprint.read(classifier, max_tokens + SPARE)):
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

    def __init__(self, drawn: Blueprint, classifier: SpamClassifier) -> None:
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
        names = rounding.names_in(self._drawn)
        with _running(to_onnx_files(self._drawn, watch=names)) as run:
            reaches = rounding.reaches(names, (run(names, one_row(ids)) for ids in calibrating(rows, seed)))
        found = rounding.rounding(self._drawn, reaches)
        return to_onnx_files(found.blueprint, found.grids)


@contextmanager
def _running(files: Files) -> Iterator[Run]:
    """Open a graph in ONNX Runtime, and return what gives its named outputs."""
    with scratch.folder() as place:
        yield session(artefact.write(files, place) / ONNX, default_threads()).run
