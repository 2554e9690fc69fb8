"""Score messages with the packaged model: the very code that is measured, and that serves."""

# B rows, T tokens; only numpy, openvino and tokenizers are needed here, no torch

from __future__ import annotations

import contextlib
import copy
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spamctl.errors import ArtefactError
from spamctl.message import NOT_SPAM, SPAM, Verdict
from spamctl.model import artefact
from spamctl.model.artefact import Manifest
from spamctl.model.calibration import Calibration
from spamctl.model.telemetry import silence_openvino
from spamctl.model.tokens import MessageTokenizer, TokenRow

if TYPE_CHECKING:
    from openvino import InferRequest, Model

MODEL, TOKENIZER = "model.xml", "tokenizer.json"
TOKENS_PER_BATCH = 512
MOST_STREAMS = 4  # each holds what one batch needs, some 60 MiB
# Sums over tokens are made in vector lanes, 16 in AVX-512. In rows of whole lanes every token keeps its lane, whatever
# the padding; else sums differ in their last bit, int8 rounds some apart, and a probability moves by up to .004.
LANES = 16
GOLDEN_TOLERANCE = 0.02  # of probability, on another processor; the verdict must be the same

Logits = NDArray[np.float64]
Batches = Sequence[Sequence[int]]


class Engine:
    """Hold a verified package, compiled for this processor; safe to call from several threads.

    They take turns, and every thread of the processor works at one batch. With `open_streams` several batches are
    scored at a time, each by its share of the threads: they need not wait for each other after each of some hundred
    operations. A message that is alone is still scored by all of them. No score depends on any of this.
    """

    def __init__(self, folder: Path, *, threads: int = 0) -> None:
        """Verify and compile the package in `folder`; raise ArtefactError if it is damaged.

        `threads` bounds the processor threads; 0 takes OMP_NUM_THREADS, or every core.
        """
        silence_openvino()
        self.manifest: Manifest = artefact.verify(folder)
        self.tokenizer = MessageTokenizer.from_file(
            folder / TOKENIZER, max_tokens=self.manifest.max_tokens, empty_id=self.manifest.empty_id
        )
        self._calibration = Calibration(self.manifest.slope, self.manifest.intercept)
        self._turn, self._counting = threading.Lock(), threading.Lock()
        cores = os.cpu_count() or 1
        threads = threads or int(os.environ.get("OMP_NUM_THREADS") or cores)
        self.most_streams = min(threads, MOST_STREAMS)
        self._name, self._model = folder.name, self._graph(folder / MODEL)
        self._settings = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": self.manifest.precision,
            "ENABLE_CPU_PINNING": threads >= cores,  # fewer threads of many processes would all share the first cores
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",  # its scales would depend on the other rows of the batch
        }
        (self._request,) = self._compiled(1, {"PERFORMANCE_HINT": "LATENCY"})
        self._streams: SimpleQueue[InferRequest] | None = None
        self._at_work = 0

    def open_streams(self) -> None:
        """Score up to `most_streams` batches at a time from now on; raise as making the engine and `replay_golden` do.

        The thread that calls it must be the one that lets the engine go. Others may score meanwhile.
        """
        streams: SimpleQueue[InferRequest] = SimpleQueue()
        for request in self._compiled(self.most_streams, {"NUM_STREAMS": self.most_streams}):
            streams.put(request)
        trial = copy.copy(self)  # nobody else is answered by streams before they have answered as they should
        trial._streams = streams  # noqa: SLF001
        trial.replay_golden()
        self._streams = streams

    def _compiled(self, requests: int, more: dict[str, object]) -> list[InferRequest]:
        """Compile the graph, and return what scores so many batches at a time."""
        import openvino

        try:
            model = openvino.Core().compile_model(self._model, "CPU", self._settings | more)
            return [model.create_infer_request() for _ in range(requests)]
        except RuntimeError as error:
            raise ArtefactError(f"{self._name}: OpenVINO cannot compile {MODEL}: {_first_line(error)}") from error

    def _graph(self, path: Path) -> Path | Model:
        """Return what to compile; a subclass may ask the graph for more."""
        return path

    @property
    def threshold(self) -> float:
        """Return the probability from which a message is called spam."""
        return self.manifest.threshold

    def tokenize(self, texts: Sequence[str]) -> list[TokenRow]:
        """Return the token ids of each text, cut to the window."""
        return self.tokenizer.encode(texts)

    def logits(
        self, rows: Sequence[TokenRow], *, batches: Batches | None = None, pad: int = 0, fill: int = 0
    ) -> Logits:
        """Return raw logits (rows,), in the order of `rows`.

        `batches` says which rows go together (default: rows of similar length); `pad` pads each batch to at least so
        many tokens, with the token `fill`. None of them changes a score: they are for `model.parity`, which proves it.
        """
        logits = np.empty(len(rows), dtype=np.float64)
        for index, inputs in filled(rows, batches, pad, fill):
            with self._lent(len(index)) as request:
                output = request.infer(inputs)
                logits[index] = output[0]  # (B,)
        return logits

    @contextlib.contextmanager
    def _lent(self, rows: int) -> Iterator[InferRequest]:
        """Lend what scores a batch of so many rows: all threads where it is a message that is alone, else a stream."""
        with self._counting:
            streams = None if rows == 1 and not self._at_work else self._streams
            self._at_work += 1
        try:
            if streams is None:
                with self._turn:
                    yield self._request
            else:
                request = streams.get()
                try:
                    yield request
                finally:
                    streams.put(request)
        finally:
            with self._counting:
                self._at_work -= 1

    def probabilities(self, logits: Logits) -> Logits:
        """Return calibrated probabilities of spam in [0, 1] for raw logits."""
        return self._calibration.apply(logits)

    def classify(self, texts: Sequence[str]) -> list[Verdict]:
        """Return one verdict a text, in order."""
        rows = self.tokenize(texts)
        return self.verdicts(rows, self.logits(rows))

    def verdicts(self, rows: Sequence[TokenRow], logits: Logits) -> list[Verdict]:
        """Return one verdict a row for its raw logit, in order."""
        probabilities = self.probabilities(logits).tolist()
        return [
            Verdict(SPAM if probability >= self.threshold else NOT_SPAM, probability, row.truncated)
            for probability, row in zip(probabilities, rows, strict=True)
        ]

    def replay_golden(self) -> float:
        """Score the golden messages again and return the largest change of a probability.

        Raises ArtefactError if a verdict differs from the one at packaging: this processor rounds too differently.
        """
        golden = self.manifest.golden
        now = self.classify([row.text for row in golden])
        deltas = [abs(verdict.probability - row.probability) for verdict, row in zip(now, golden, strict=True)]
        for verdict, row in zip(now, golden, strict=True):
            then = SPAM if row.probability >= self.threshold else NOT_SPAM
            if verdict.classification != then:
                raise ArtefactError(
                    "a golden message gets another verdict here than when the model was packaged; train here"
                )
        if max(deltas, default=0.0) > GOLDEN_TOLERANCE:
            raise ArtefactError(
                f"golden messages score up to {max(deltas):.3f} away from their packaged scores; train here"
            )
        return max(deltas, default=0.0)


def filled(
    rows: Sequence[TokenRow], batches: Batches | None = None, pad: int = 0, fill: int = 0
) -> Iterator[tuple[list[int], dict[str, NDArray[np.int64]]]]:
    """Yield the row numbers of each batch and what the graph is given for it."""
    lengths = np.array([len(row.ids) for row in rows], dtype=np.int64)
    for batch in batches if batches is not None else by_length(lengths):
        index = list(batch)
        ids = np.full((len(index), in_lanes(max(pad, int(lengths[index].max())))), fill, dtype=np.int64)  # (B, T)
        for place, row in enumerate(index):
            ids[place, : lengths[row]] = rows[row].ids
        yield index, {"input_ids": ids, "lengths": lengths[index]}


def in_lanes(tokens: int) -> int:
    """Round a number of tokens up to whole vector lanes."""
    return -(-tokens // LANES) * LANES


def by_length(lengths: NDArray[np.int64], tokens: int = TOKENS_PER_BATCH) -> list[list[int]]:
    """Return row numbers in batches of one padded length, each of at most `tokens` tokens with padding."""
    batches: list[list[int]] = []
    room = width = 0
    for row in np.argsort(-lengths, kind="stable").tolist():
        if in_lanes(int(lengths[row])) != width or room < width:
            width, room = in_lanes(int(lengths[row])), max(tokens, in_lanes(int(lengths[row])))
            batches.append([])
        batches[-1].append(row)
        room -= width
    return batches


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
