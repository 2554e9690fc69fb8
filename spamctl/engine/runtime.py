"""Compile a package's graph in the runtime it was exported for, and score batches with it."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from spamctl.cores import cores
from spamctl.errors import ArtefactError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from openvino import Model, Output

# Disable OpenVINO's telemetry: importing it sends an event to a web service, from a forked process.

REPORTER = "openvino_telemetry"


def silence_openvino() -> None:
    """Make OpenVINO and NNCF use the stub that they have for a missing telemetry package.

    Call it before either is imported. The fork alone is a danger: it is made in a thread, beside threads that hold
    locks, and has hung or broken a server that was to end.
    """
    if REPORTER not in sys.modules:
        cast("dict[str, Any]", sys.modules)[REPORTER] = None  # what Python takes for "cannot be imported"


# B rows, T tokens, D width of what the head reads


ONNX, XML = "model.onnx", "model.xml"
PROCESSORS = Path("/proc/cpuinfo")
LOGITS, FEATURES = "logits", "features"  # (B,) and (B, D)

Inputs = dict[str, NDArray[np.int64]]  # input_ids (B, T), lengths (B,)
Infer = Callable[[Inputs], list[NDArray[np.float32]]]  # to logits (B,), then features (B, D) where they are wanted


@dataclass(frozen=True, slots=True)
class Terms:
    """How a graph is run: number of threads, precision, and outputs."""

    threads: int
    precision: str
    features: bool


class Runtime(Protocol):
    """A loaded graph that is ready to be compiled."""

    lanes: int  # rows padded to a multiple of so many tokens score the same, bit for bit, whatever is beside them

    def alone(self) -> Infer:
        """Compile for one batch at a time, at which every thread works; raise ArtefactError if that is impossible."""

    def streams(self, count: int) -> list[Infer]:
        """Compile for `count` batches at a time; raise as `alone` does."""


def default_threads() -> int:
    """Return how many threads work where nothing is said: OMP_NUM_THREADS, or one for each core that may be used."""
    outermost = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # "4,2": of nested loops
    return int(outermost) if outermost.isdecimal() and int(outermost) else cores()


def runtime_of(folder: Path, terms: Terms) -> Runtime:
    """Return what runs the graph of a package folder; raise ArtefactError if it cannot be read."""
    if (folder / ONNX).exists():
        return OnnxRuntime(folder / ONNX, terms)
    return OpenVino(folder / XML, terms)


class OnnxRuntime:
    """ONNX Runtime's session for a graph that `model.onnx_graph` wrote.

    One session of one thread scores any number of batches at a time. Two threads that share one batch meet after each
    of a hundred operations, and spin until they do: sleeping there would take as long as the operations.
    """

    lanes = 4  # two would do: a product of one single token alone is summed in another order

    def __init__(self, path: Path, terms: Terms) -> None:
        self._path, self._terms = path, terms
        self._outputs = [LOGITS, FEATURES] if terms.features else [LOGITS]

    def alone(self) -> Infer:
        """Compile for one batch at a time."""
        return self._infer(self._terms.threads)

    def streams(self, count: int) -> list[Infer]:
        """Compile for `count` batches at a time."""
        return [self._infer(1)] * count

    def _infer(self, threads: int) -> Infer:
        opened = session(self._path, threads)
        return lambda inputs: opened.run(self._outputs, inputs)


def session(path: Path, threads: int) -> InferenceSession:
    """Open a graph in ONNX Runtime; raise ArtefactError if that is impossible."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4  # fatal; whatever else it says is raised, too
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")  # with the last operation of a batch
    options.add_session_config_entry("session.x64quantprecision", "0" if multiplies_int8() else "1")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of a class of its own for each fault, and with the whole path in its text
        fault = type(error).__name__
        raise ArtefactError(f"{path.parent.name}: ONNX Runtime cannot run {path.name} ({fault})") from error


def multiplies_int8() -> bool:
    """Return whether the processor has int8 instructions whose products never overflow (VNNI, AMX).

    Without them ONNX Runtime must take a way that is half as fast, with the same results.
    """
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        return True
    try:
        return "vnni" in PROCESSORS.read_text()
    except OSError:
        return False


class OpenVino:
    """OpenVINO's compiled model of a graph exported from PyTorch."""

    # Sums over tokens are made in vector lanes, 16 in AVX-512. In rows of whole lanes every token keeps its lane,
    # whatever the padding; else sums differ in their last bit, int8 rounds some apart, and a probability moves by .004.
    lanes = 16

    def __init__(self, path: Path, terms: Terms) -> None:
        silence_openvino()
        self._name = path.parent.name
        self._model = with_features(path) if terms.features else path
        self._settings = {
            "INFERENCE_NUM_THREADS": terms.threads,
            "INFERENCE_PRECISION_HINT": terms.precision,
            "ENABLE_CPU_PINNING": terms.threads >= (os.cpu_count() or 1),  # else processes would share few of many
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",  # its scales would depend on the other rows of the batch
        }

    def alone(self) -> Infer:
        """Compile for one batch at a time."""
        (infer,) = self._compiled(1, {"PERFORMANCE_HINT": "LATENCY"})
        return infer

    def streams(self, count: int) -> list[Infer]:
        """Compile for `count` batches at a time."""
        return self._compiled(count, {"NUM_STREAMS": count})

    def _compiled(self, requests: int, more: dict[str, Any]) -> list[Infer]:
        import openvino

        try:
            model = openvino.Core().compile_model(self._model, "CPU", self._settings | more)
            return [_inferring(model.create_infer_request()) for _ in range(requests)]
        except RuntimeError as error:
            raise ArtefactError(f"{self._name}: OpenVINO cannot compile {XML}: {_first_line(error)}") from error


def _inferring(request: Any) -> Infer:
    def infer(inputs: Inputs) -> list[NDArray[np.float32]]:
        outputs = request.infer(inputs)
        return [outputs[index].copy() for index in range(len(outputs))]  # else the next batch writes over them

    return infer


def with_features(path: Path) -> Model:
    """Read a graph and add an output where the head takes its input, before that is rounded to int8."""
    import openvino

    model = openvino.Core().read_model(path)
    model.add_outputs([_head_input(model)])
    return model


def _head_input(model: Model) -> Output:
    """Find the input of a graph's head, before it is scaled and quantized to int8.

    The head is the last matrix product, or the last two where it has a hidden layer: those that read a row for each
    message. Raises ArtefactError if there is none.
    """
    products = [node for node in model.get_ordered_ops() if node.get_type_name() == "MatMul"]
    if not products:
        raise ArtefactError("the package has no head whose input could be read; train with this spamctl")
    inputs = [_unrounded(product.input_value(0)) for product in products[-2:]]
    rows = [found for found in inputs if found.get_partial_shape().rank.get_length() == 2]
    if not rows:
        raise ArtefactError("the head of the package reads no row for each message; train with this spamctl")
    return rows[0]


def _unrounded(found: Output) -> Output:
    """Return what an output was before it was scaled and rounded for int8."""
    while found.get_node().get_type_name() in {"FakeQuantize", "Convert"} or _is_scaling(found):
        found = found.get_node().input_value(0)
    return found


def _is_scaling(output: Output) -> bool:
    """Return whether an output is another one times a constant, as SmoothQuant inserts before a linear layer."""
    node = output.get_node()
    return bool(node.get_type_name() == "Multiply" and node.input_value(1).get_node().get_type_name() == "Constant")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
