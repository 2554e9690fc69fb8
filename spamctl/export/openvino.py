"""Export a trained classifier to OpenVINO, in float32 or int8, and measure how far they differ."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spamctl import folders
from spamctl.engine.calibration import sigmoid
from spamctl.engine.manifest import Files
from spamctl.engine.runtime import XML, Inputs, silence_openvino
from spamctl.errors import DataError
from spamctl.schema.train import Distance
from spamctl.training.model import SpamClassifier

if TYPE_CHECKING:
    import openvino
    from torch import nn

# Implement attention as a graph of fixed operations, for export alone: training keeps Transformers' own.

# B rows, H heads, K heads of keys and values, T tokens, S width of a head


EAGER, FOLDED = "eager", "spamctl-folded"


def register() -> None:
    """Register `folded` with Transformers by name; a model that uses it makes no mask of its own."""
    from transformers import AttentionInterface

    AttentionInterface.register(FOLDED, folded)


def folded(
    _module: nn.Module, query: Tensor, key: Tensor, value: Tensor, _mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Return causal attention (B, T, H, S) of queries (B, H, T, S) to keys and values (B, K, T, S).

    The H / K heads that share keys (Ainslie et al. 2023) become H / K times as many queries of one head, so that no key
    is copied for each. The one mask is the causal one. Of what a model tells its attention, `scaling`, `sliding_window`
    and `softcap` are heeded: whoever exports compares graph and model, and does without this where they differ.
    """
    scaling, window, cap = (options.get(name) for name in ("scaling", "sliding_window", "softcap"))
    (rows, heads, tokens, width), shared = query.shape, key.shape[1]
    queries = query.reshape(rows, shared, -1, width) * (width**-0.5 if scaling is None else scaling)  # (B, K, HT/K, S)
    scores = torch.matmul(queries, key.transpose(2, 3))  # (B, K, HT/K, T)
    if cap:
        scores = cap * torch.tanh(scores / cap)
    weights = torch.softmax(scores + _mask_of(tokens, heads // shared, window), dim=-1)
    together = torch.matmul(weights, value).reshape(rows, heads, tokens, width)
    return together.transpose(1, 2).contiguous(), None


def _mask_of(tokens: int, times: int, window: int | None) -> Tensor:
    """Return 0 where a token may look and the lowest number elsewhere (times T, T)."""
    places = torch.arange(tokens)
    back = places[:, None] - places[None, :]  # (T, T)
    seen = back >= 0 if window is None else (back >= 0) & (back < window)
    mask = torch.where(seen, 0.0, torch.finfo(torch.float32).min)
    return mask[None].expand(times, tokens, tokens).reshape(-1, tokens)


# B rows, T tokens


CALIBRATION_ROWS = 128
LONG_ROW = 256  # tokens, in which a window of attention shows
SMOOTH_QUANT_ALPHA = 0.85  # (Xiao et al. 2023) the best of .5, .7 and .85 in ROC-AUC and speed
INT8, INT8_WEIGHTS, FLOAT32 = "int8", "int8-weights", "float32"

logger = logging.getLogger(__name__)


def to_openvino(classifier: SpamClassifier) -> openvino.Model:
    """Export a classifier's whole graph: token ids (B, T) and lengths (B,) to logits (B,).

    It is traced with the attention that is fastest, then with the model's own, and goes through ONNX, which takes five
    times as long, where no trace scores as PyTorch does. Raises DataError if nothing is possible.
    """
    silence_openvino()
    return traced(classifier, FOLDED) or traced(classifier, EAGER) or through_onnx(classifier)


def traced(classifier: SpamClassifier, attention: str) -> openvino.Model | None:
    """Export what PyTorch does with one example; None if that fails, or scores rows of other lengths otherwise."""
    import openvino

    make_ready(classifier)
    model = classifier.trunk.model
    try:
        with quiet(), torch.no_grad(), mock.patch.object(torch, "diff", _diff):
            model.set_attn_implementation(attention)
            graph = openvino.convert_model(classifier, example_input=_example())
        model.set_attn_implementation(EAGER)
        for port, name in ((graph.input(0), "input_ids"), (graph.input(1), "lengths"), (graph.output(0), "logits")):
            port.tensor.set_names({name})
            port.node.set_friendly_name(name)
        return graph if scores_alike(_compiled(graph), classifier) else None
    except Exception as fault:  # whatever this model holds that cannot be traced
        logger.debug("%s cannot be traced with %s attention: %s", type(model).__name__, attention, fault)
        return None


def through_onnx(classifier: SpamClassifier) -> openvino.Model:
    """Export what PyTorch proves to do with rows of any length; raise DataError if it cannot."""
    import openvino

    with folders.temporary_folder() as place:
        path = place / "model.onnx"
        to_onnx(classifier, path)
        return openvino.Core().read_model(path)


def to_onnx(classifier: SpamClassifier, path: Path) -> None:
    """Write a classifier's whole graph, for rows of any number and length; raise DataError if that is not possible."""
    make_ready(classifier)
    rows, tokens = torch.export.Dim("rows"), torch.export.Dim("tokens")
    with quiet():
        program = torch.onnx.export(
            classifier, _example(), dynamo=True, input_names=["input_ids", "lengths"], output_names=["logits"],
            dynamic_shapes=({0: rows, 1: tokens}, {0: rows}),
        )  # fmt: skip
        if program is None:
            raise DataError("this base model cannot be exported to ONNX; choose another --base-model")
        program.save(path)


def make_ready(classifier: SpamClassifier) -> None:
    """Prepare a classifier for export: all blocks, no dropout, and only operations that exporters know."""
    classifier.eval().cpu()
    classifier.trunk.window(0, classifier.trunk.depth)
    register()
    classifier.trunk.model.set_attn_implementation(EAGER)


def _example() -> tuple[Tensor, Tensor]:
    return torch.ones(2, 12, dtype=torch.long), torch.tensor([12, 7])


def _diff(values: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None) -> Tensor:
    """Replace torch.diff, which Transformers uses to find packed rows, by operations that OpenVINO supports."""
    whole = values if prepend is None else torch.cat([prepend, values], dim)
    less = whole.narrow(dim, 1, whole.shape[dim] - 1) - whole.narrow(dim, 0, whole.shape[dim] - 1)
    return less if n == 1 else _diff(less, n - 1, dim)


def _compiled(graph: openvino.Model) -> Callable[[Inputs], NDArray[np.float32]]:
    import openvino

    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda inputs: compiled(inputs)[0]


def scores_alike(
    score: Callable[[Inputs], NDArray[np.float32]], classifier: SpamClassifier, longest: int = LONG_ROW
) -> bool:
    """Compare a graph with what it was made of, on rows of other numbers and lengths than those of the example."""
    config, opening = classifier.trunk.config, torch.tensor(classifier.trunk.opening, dtype=torch.long)
    window = min(longest, getattr(config, "max_position_embeddings", longest)) - len(opening)
    for rows, tokens in ((1, 1), (3, 29), (1, window)):
        lengths = torch.arange(tokens, tokens - rows, -1) + len(opening)
        ids = (torch.arange(rows * tokens).reshape(rows, tokens) + 1) % config.vocab_size
        ids = torch.cat([opening.expand(rows, -1), ids], dim=1)
        with torch.inference_mode():
            expected = classifier(ids, lengths).numpy()
        if not np.allclose(
            score({"input_ids": ids.numpy(), "lengths": lengths.numpy()}), expected, rtol=1e-3, atol=1e-3
        ):
            return False
    return True


def calibrating(rows: Sequence[Sequence[int]], seed: int) -> list[Sequence[int]]:
    """Return a sample of the training rows, by which int8 is calibrated."""
    chosen = np.random.default_rng(seed).permutation(len(rows))[:CALIBRATION_ROWS]
    return [rows[row] for row in chosen]


def quantise(model: openvino.Model, rows: Sequence[Sequence[int]]) -> openvino.Model:
    """Return a static int8 copy of a graph, calibrated on rows of token ids.

    Scales are fixed at calibration, so a score does not depend on the other rows of its batch. What attention
    multiplies stays float: it is a hundredth of the work, and rounding it is dear in accuracy.
    """
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, AdvancedSmoothQuantParameters

    alphas = AdvancedSmoothQuantParameters(matmul=SMOOTH_QUANT_ALPHA)
    with quiet():
        smaller = nncf.quantize(
            model.clone(),
            nncf.Dataset(rows, one_row),
            subset_size=len(rows),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=nncf.IgnoredScope(types=["ScaledDotProductAttention"], validate=False),
            advanced_parameters=AdvancedQuantizationParameters(smooth_quant_alphas=alphas),
        )
    return look_up_first(smaller)


def compress_weights(model: openvino.Model) -> openvino.Model:
    """Return a copy of a graph whose weights are int8 and whose arithmetic stays float."""
    import nncf

    with quiet():
        return nncf.compress_weights(model.clone(), mode=nncf.CompressWeightsMode.INT8_SYM)


def look_up_first(model: openvino.Model) -> openvino.Model:
    """Scale the rows of a table that are looked up, and not the whole table first; return the graph, changed.

    The numbers are the same. But what can be computed beforehand is: each process that compiled the graph held the
    embedding of all tokens in float32, four times as large as in the file that they share.
    """
    from openvino import opset13

    for gather in model.get_ordered_ops():
        if gather.get_type_name() != "Gather" or (table := _rounded_table(gather)) is None:
            continue
        rounded, scale = table
        rows, axis = gather.input_value(1), gather.input_value(2)
        found = opset13.convert(opset13.gather(rounded, rows, axis), np.float32)
        scaled = opset13.multiply(found, opset13.gather(scale, rows, axis))
        scaled.set_friendly_name(gather.get_friendly_name())
        for target in gather.output(0).get_target_inputs():
            target.replace_source_output(scaled.output(0))
    return model


def _rounded_table(gather: openvino.Node) -> tuple[openvino.Output, openvino.Output] | None:
    """Return the int8 table (V, D) whose rows a node takes, and the scale of each row (V, 1), if it does that."""
    product, axis = gather.input_value(0).get_node(), gather.input_value(2).get_node()
    parts = [value.get_node() for value in product.input_values()] if product.get_type_name() == "Multiply" else []
    if [part.get_type_name() for part in parts] != ["Convert", "Constant"]:
        return None
    rounded, scale = parts[0].input_value(0), parts[1].output(0)
    per_row = list(scale.get_shape()) == [rounded.get_partial_shape()[0].get_length(), 1]
    constants = [rounded.get_node().get_type_name(), axis.get_type_name()] == ["Constant", "Constant"]
    return (rounded, scale) if per_row and constants and not axis.data.any() else None


def to_files(model: openvino.Model) -> Files:
    """Return a graph as the bytes of an .xml and a .bin file."""
    import openvino

    with folders.temporary_folder() as place:
        path = place / XML
        openvino.save_model(model, path, compress_to_fp16=False)
        return {part.name: part.read_bytes() for part in (path, path.with_suffix(".bin"))}


def distance(
    is_spam: NDArray[np.bool_], exact: NDArray[np.float64], other: NDArray[np.float64], budget: float
) -> Distance:
    """Measure an engine's validation logits (rows,) against float32's.

    Verdicts are those that would be served: of each engine, from the logit on that flags a share of good messages no
    larger than `budget`.
    """
    from sklearn.metrics import roc_auc_score

    fall = float(roc_auc_score(is_spam, exact) - roc_auc_score(is_spam, other))
    verdicts = [logits > np.quantile(logits[~is_spam], 1 - budget, method="higher") for logits in (exact, other)]
    changed = float((verdicts[0] != verdicts[1]).mean())
    return Distance(fall, changed, float(np.abs(sigmoid(exact) - sigmoid(other)).max()))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporters' output (bars, tables, deprecations) off the flow's output.

    The root logger is given back as it was: where it cannot convert a model, OpenVINO leaves it at ERROR, and filtered.
    """
    root, before = logging.root, logging.root.manager.disable
    level, filters, handlers = root.level, [*root.filters], [*root.handlers]
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        root.setLevel(level)
        root.filters[:], root.handlers[:] = filters, handlers


def one_row(ids: Sequence[int]) -> Inputs:
    """Return what a graph is given for one message."""
    return {"input_ids": np.array([ids], dtype=np.int64), "lengths": np.array([len(ids)], dtype=np.int64)}
