"""Open the engines that are compared: PyTorch, ONNX Runtime, and the packaged engine in each of its numbers."""

# B rows of a batch, T tokens

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor

from spamctl.engine import manifest as artefact
from spamctl.engine.engine import TOKENIZER, Batches, Engine, Logits
from spamctl.engine.manifest import Files, Manifest
from spamctl.engine.tokens import MessageTokenizer, TokenRow
from spamctl.export.openvino import calibrating, compress_weights, quantise, quiet, to_files, to_onnx, to_openvino
from spamctl.export.package import NOT_YET, exporter
from spamctl.training.features import pad_ids
from spamctl.training.model import SpamClassifier

MEGABYTE = 1e6
Score = Callable[[Sequence[TokenRow], Batches], Logits]


@dataclass(frozen=True, slots=True)
class Contender:
    """Hold an engine that is ready to score rows in given batches, and how large its weights are."""

    name: str
    megabytes: float
    score: Score


def open_engines(
    classifier: SpamClassifier, tokenizer: MessageTokenizer, train: Sequence[Sequence[int]], threads: int
) -> Iterator[Contender]:
    """Yield one engine after the other; float32 in PyTorch comes first. `train` calibrates static int8."""
    for name, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16)):
        yield pytorch(f"PyTorch {name}", classifier, dtype)
    with tempfile.TemporaryDirectory(prefix="spamctl-bench-") as scratch:
        exact, small = Path(scratch, "exact.onnx"), Path(scratch, "int8.onnx")
        to_onnx(copy.deepcopy(classifier), exact)
        yield onnx_runtime("ONNX Runtime float32", exact, threads)
        with quiet():
            quantize_dynamic(exact, small, weight_type=QuantType.QInt8)
        yield onnx_runtime("ONNX Runtime dynamic int8", small, threads)
    graph = to_openvino(copy.deepcopy(classifier))
    whole, light = to_files(graph), to_files(compress_weights(graph))
    small = to_files(quantise(graph, calibrating(train, seed=0)))
    yield packaged("OpenVINO float32", whole, "f32", tokenizer, threads)
    yield packaged("OpenVINO bf16", whole, "bf16", tokenizer, threads)
    yield packaged("OpenVINO int8 weights", light, "f32", tokenizer, threads)
    yield packaged("OpenVINO int8 weights, bf16", light, "bf16", tokenizer, threads)
    yield packaged("OpenVINO static int8", small, "f32", tokenizer, threads)
    ours = exporter(copy.deepcopy(classifier), train, tokenizer.max_tokens)
    yield packaged("our graph, float32", ours.float32(), "f32", tokenizer, threads)
    yield packaged("our graph, static int8", ours.int8(train, seed=0), "f32", tokenizer, threads)


def pytorch(name: str, classifier: SpamClassifier, dtype: torch.dtype) -> Contender:
    """Open PyTorch itself, every weight in `dtype`."""
    model = copy.deepcopy(classifier).to(dtype).eval()

    def infer(ids: Tensor, lengths: Tensor) -> Logits:
        with torch.inference_mode():
            return model(ids, lengths).double().numpy()  # type: ignore[no-any-return]

    size = sum(weight.numel() * weight.itemsize for weight in model.parameters())
    return Contender(name, size / MEGABYTE, in_batches(infer))


def onnx_runtime(name: str, path: Path, threads: int) -> Contender:
    """Open a graph in ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def infer(ids: Tensor, lengths: Tensor) -> Logits:
        (logits,) = session.run(None, {"input_ids": ids.numpy(), "lengths": lengths.numpy()})
        return logits  # type: ignore[no-any-return]

    return Contender(name, path.stat().st_size / MEGABYTE, in_batches(infer))


def packaged(name: str, graph: Files, precision: str, tokenizer: MessageTokenizer, threads: int) -> Contender:
    """Open a graph as `spamctl serve` does: sealed in a package, verified, compiled."""
    files = graph | {TOKENIZER: tokenizer.to_json().encode()}
    kind, window = "int8" if "int8" in name else "float32", tokenizer.max_tokens
    manifest = Manifest(kind, precision, window, tokenizer.empty_id, 1.0, 0.0, 0.5, NOT_YET, {})
    with tempfile.TemporaryDirectory(prefix="spamctl-bench-") as scratch:
        engine = Engine(artefact.write(artefact.seal(files, manifest), Path(scratch)), threads=threads)
    size = sum(len(content) for file, content in files.items() if file != TOKENIZER)
    return Contender(name, size / MEGABYTE, lambda rows, batches: engine.logits(rows, batches=batches))


def in_batches(infer: Callable[[Tensor, Tensor], Logits]) -> Score:
    """Return a scorer of rows out of one that takes token ids (B, T) and lengths (B,)."""

    def score(rows: Sequence[TokenRow], batches: Batches) -> Logits:
        logits = np.empty(len(rows))
        for batch in map(list, batches):
            logits[batch] = infer(*pad_ids([rows[row].ids for row in batch]))
        return logits

    return score
