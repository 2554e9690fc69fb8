"""Write a classifier as a graph of ONNX Runtime's fused operations, from the settings of its blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from spamctl.engine.manifest import Files
from spamctl.engine.runtime import FEATURES, LOGITS, ONNX

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto
    from torch import Tensor

    from spamctl.training.model import SpamClassifier, Trunk

# Extract the weights and settings of a classifier whose blocks are built as Llama's or GPT-2's are.

# D width of the model, H heads, K heads of keys and values, S width of a head, I inputs, O outputs, P places, E tokens
# before every message


Array = NDArray[np.float32]

LLAMAS = {"llama", "mistral", "qwen2"}  # whose blocks differ in nothing that is not read here
SILU, GELU, GELU_TANH = "silu", "gelu", "gelu of tanh"
_ACTIVATIONS = {
    "silu": SILU,
    "gelu": GELU,
    "gelu_new": GELU_TANH,
    "gelu_pytorch_tanh": GELU_TANH,
    "gelu_fast": GELU_TANH,
}


@dataclass(frozen=True, slots=True)
class Linear:
    """Weights (I, O) and bias (O,) of a linear layer."""

    weights: Array
    bias: Array | None


@dataclass(frozen=True, slots=True)
class Norm:
    """Gain (D,) and bias (D,) of a normalization layer; root-mean-square norms have no bias."""

    gain: Array
    bias: Array | None
    epsilon: float


@dataclass(frozen=True, slots=True)
class Block:
    """One transformer block: norm, attention, norm, and an MLP of two or (with a gate) three linear layers."""

    attention_norm: Norm
    queries_keys_values: Linear  # (D, (H + 2K) S)
    attended: Linear  # (H S, D)
    mlp_norm: Norm
    gate: Linear | None
    up: Linear
    down: Linear
    opening: Array | None = None  # (E, (H + 2K) S), queries, keys and values of the tokens before every message


@dataclass(frozen=True, slots=True)
class Attention:
    """Attention settings of all blocks; `window` 0: global, no `cosines` and `sines` (P, S / 2): no rotary."""

    heads: int
    shared: int
    scale: float
    window: int
    cosines: Array | None
    sines: Array | None


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """A whole classifier: tables of tokens (V, D) and positions (P, D), blocks, the last norm, the head (2D, 1).

    The head reads the means of all tokens behind the first `opening`, and of the last `closing`.
    """

    tokens: Array
    places: Array | None
    attention: Attention
    activation: str
    blocks: tuple[Block, ...]
    norm: Norm
    head: Linear
    hidden: Linear | None = None  # of the head, (2D, U): the head is then (U, 1)
    closing: int = 1
    opening: int = 0  # E


def read_spec(classifier: SpamClassifier, places: int) -> GraphSpec | None:
    """Return what a classifier is made of, for rows of up to `places` tokens; None if its blocks are of another kind.

    Whoever uses it compares scores: a model may hold more than its kind lets one expect.
    """
    kind, config = classifier.trunk.config.model_type, classifier.trunk.config
    if kind not in LLAMAS | {"gpt2"}:
        return None
    activation = _ACTIVATIONS.get(config.hidden_act if kind in LLAMAS else config.activation_function)
    if activation is None:
        return None
    read_as = _llama if kind in LLAMAS else _gpt2
    with torch.no_grad():
        tokens, table, attention, blocks = read_as(classifier.trunk.model, classifier.trunk.blocks, config, places)
        head = Linear(_array(classifier.head.weight.T), _array(classifier.head.bias))
        inner = classifier.hidden
        hidden = None if inner is None else Linear(_array(inner.weight.T), _array(inner.bias))
        norm, trunk = _norm(classifier.trunk.final_norm), classifier.trunk
        blocks = _with_opening(blocks, trunk) if trunk.opening else blocks
        opening, closing = len(trunk.opening), trunk.closing
        return GraphSpec(tokens, table, attention, activation, blocks, norm, head, hidden, closing, opening)


_Parts = tuple[Array, Array | None, Attention, tuple[Block, ...]]


def _llama(model: Any, blocks: tuple[Any, ...], config: Any, places: int) -> _Parts:
    cosines, sines = model.rotary_emb(torch.zeros(1), torch.arange(places)[None])  # (1, P, S)
    size = cosines.shape[-1] // 2
    first = blocks[0].self_attn
    seen = getattr(config, "sliding_window", None)
    window = max(getattr(block.self_attn, "sliding_window", seen) or 0 for block in blocks)
    attention = Attention(
        config.num_attention_heads, config.num_key_value_heads, float(first.scaling), window,
        _array(cosines[0, :, :size]), _array(sines[0, :, :size]),
    )  # fmt: skip
    return _array(model.embed_tokens.weight), None, attention, tuple(_llama_block(block) for block in blocks)


def _llama_block(block: Any) -> Block:
    attention, mlp = block.self_attn, block.mlp
    parts = [_linear(part) for part in (attention.q_proj, attention.k_proj, attention.v_proj)]
    together = Linear(
        np.concatenate([part.weights for part in parts], axis=1),
        None if parts[0].bias is None else np.concatenate([part.bias for part in parts if part.bias is not None]),
    )
    return Block(
        _norm(block.input_layernorm), together, _linear(attention.o_proj), _norm(block.post_attention_layernorm),
        _linear(mlp.gate_proj), _linear(mlp.up_proj), _linear(mlp.down_proj),
    )  # fmt: skip


def _gpt2(model: Any, blocks: tuple[Any, ...], config: Any, places: int) -> _Parts:
    table = np.zeros((places, config.n_embd), np.float32)  # what pads a row beyond the last place is never read
    known = _array(model.wpe.weight)[:places]
    table[: len(known)] = known
    size = config.n_embd // config.n_head
    scale = size**-0.5 if config.scale_attn_weights else 1.0
    attention = Attention(config.n_head, config.n_head, scale, 0, None, None)
    return _array(model.wte.weight), table, attention, tuple(_gpt2_block(block) for block in blocks)


def _gpt2_block(block: Any) -> Block:
    return Block(
        _norm(block.ln_1), _convolution(block.attn.c_attn), _convolution(block.attn.c_proj),
        _norm(block.ln_2), None, _convolution(block.mlp.c_fc), _convolution(block.mlp.c_proj),
    )  # fmt: skip


def _with_opening(blocks: tuple[Block, ...], trunk: Trunk) -> tuple[Block, ...]:
    """Add to each block what its attention sees of the tokens before every message: no other token changes that."""
    seen: list[Tensor] = []
    handles = [block.register_forward_pre_hook(lambda _block, args: seen.append(args[0])) for block in trunk.blocks]
    try:
        trunk(torch.tensor([trunk.opening]))
    finally:
        for handle in handles:
            handle.remove()
    found = []
    for block, entering in zip(blocks, seen, strict=True):
        linear = block.queries_keys_values
        made = _normed(_array(entering[0]), block.attention_norm) @ linear.weights
        found.append(replace(block, opening=made if linear.bias is None else made + linear.bias))
    return tuple(found)


def _normed(values: Array, norm: Norm) -> Array:
    """Return values (E, D) as a norm leaves them; without a bias it is that of the root mean square."""
    centred = values if norm.bias is None else values - values.mean(-1, keepdims=True)
    scaled = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + norm.epsilon) * norm.gain
    return np.asarray(scaled if norm.bias is None else scaled + norm.bias, np.float32)


def _linear(layer: Any) -> Linear:
    return Linear(_array(layer.weight.T), None if layer.bias is None else _array(layer.bias))


def _convolution(layer: Any) -> Linear:
    """Read GPT-2's Conv1D, whose weights are (I, O) already."""
    return Linear(_array(layer.weight), _array(layer.bias))


def _norm(layer: Any) -> Norm:
    bias = getattr(layer, "bias", None)
    epsilon = getattr(layer, "variance_epsilon", None) or layer.eps
    return Norm(_array(layer.weight), None if bias is None else _array(bias), float(epsilon))


def _array(weights: Tensor) -> Array:
    return np.ascontiguousarray(weights.detach().float().cpu().numpy())


# B rows, T tokens, D width of the model, H heads, K heads of keys and values, S width of a head


CONTRIB = "com.microsoft"  # the domain of ONNX Runtime's own operations
OPSET, IR_VERSION = 20, 10
WEIGHTS = "model.bin"  # processes that read a model share what they read of this file
LARGE = 1024  # bytes; smaller constants stay in the graph
PAGE = 4096  # bytes, at multiples of which a file can be mapped
LEAST = 1e-12  # of a scale


@dataclass(frozen=True, slots=True)
class Grid:
    """Scale and zero point by which the input of a linear layer is quantized to 0..255.

    `by_token`: each token's values are divided by the largest of them first.
    """

    scale: float
    zero: int
    by_token: bool = False


@dataclass(frozen=True, slots=True)
class Names:
    """Names of the inputs of a block's linear layers: attention, its output, and the two ends of the MLP."""

    attending: str
    attended: str
    rising: str
    falling: str


def names_of(block: int) -> Names:
    """Return the names in the block of a number."""
    return Names(*(f"{part}_{block}" for part in ("attending", "attended", "rising", "falling")))


def to_onnx_files(blueprint: GraphSpec, grids: Mapping[str, Grid] | None = None, watch: Sequence[str] = ()) -> Files:
    """Return a graph from token ids (B, T) and lengths (B,) to logits (B,) and features (B, 2D), and its weights.

    With `grids`, one for each name in `Names`, products are made in int8 and the table of tokens is kept so; else all
    is float32. What is named in `watch` becomes an output (B, T - E, channels) too.
    """
    writer = _Writer(grids)
    writer.classifier(blueprint)
    return writer.files([LOGITS, FEATURES, *watch])


class _Writer:
    """Collector of a graph's nodes and constants."""

    def __init__(self, grids: Mapping[str, Grid] | None) -> None:
        self._grids = grids
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, TensorProto] = {}
        self._weights = bytearray()

    def files(self, outputs: Sequence[str]) -> Files:
        """Return the graph and the file of its weights."""
        from onnx import TensorProto, helper

        ids, lengths = (
            helper.make_tensor_value_info(name, TensorProto.INT64, shape)
            for name, shape in (("input_ids", ["B", "T"]), ("lengths", ["B"]))
        )
        results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self._nodes, "classifier", [ids, lengths], results, [*self._constants.values()])
        kinds = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
        model = helper.make_model(graph, opset_imports=kinds, ir_version=IR_VERSION, producer_name="spamctl")
        return {ONNX: model.SerializeToString(deterministic=True), WEIGHTS: bytes(self._weights)}

    def classifier(self, blueprint: GraphSpec) -> None:
        """Write the whole graph: embedding, block after block, pooling, head."""
        blocks = blueprint.blocks
        self._prepare(blueprint)
        hidden = self._looked_up(blueprint)  # (B, T - E, D)
        first = blocks[0].attention_norm
        normed = self._add(_kind(first), [hidden, *self._norm(first)], names_of(0).attending, epsilon=first.epsilon)
        for number, block in enumerate(blocks):
            names, last = names_of(number), number + 1 == len(blocks)
            more = self._attended(blueprint.attention, block, names, normed)
            hidden, normed = self._summed(hidden, more, block.mlp_norm, names.rising)
            more = self._through_mlp(blueprint.activation, block, names)
            after = blueprint.norm if last else blocks[number + 1].attention_norm
            hidden, normed = self._summed(hidden, more, after, "normed" if last else names_of(number + 1).attending)
        self._pool(normed, blueprint.closing)
        read: str = FEATURES
        if (inner := blueprint.hidden) is not None:
            product = self._add("MatMul", [FEATURES, self._constant(inner.weights)])
            read = self._add("Relu", [self._add("Add", [product, self._constant(inner.bias)])])
        judged = self._add("Squeeze", [self._add("MatMul", [read, self._constant(blueprint.head.weights)]), "one"])
        self._add("Add", [judged, self._constant(blueprint.head.bias)], LOGITS)

    def _prepare(self, blueprint: GraphSpec) -> None:
        """Write what all blocks share: the number of tokens, an empty past (B, K, 0, S), the rotary tables."""
        from onnx import TensorProto

        attention = blueprint.attention
        size = len(blueprint.blocks[0].attended.weights) // attention.heads
        self._constant(np.array([1], np.int64), "one")
        self._constant(np.array([0], np.int64), "nought")
        shape = self._add("Shape", ["input_ids"])
        rows = self._add("Gather", [shape, "nought"], "rows")  # (1,)
        self._add("Gather", [shape, "one"], "width")  # (1,), in tokens
        self._add("Squeeze", [self._add("Cast", ["width"], to=TensorProto.INT32)], "tokens")
        last = self._add("Cast", [self._add("Sub", ["width", "one"])], to=TensorProto.INT32)
        self._add("Expand", [last, rows], "last_places")  # (B,): pads attend as any other token does, to no effect
        past = self._add("Concat", [rows, self._constant(np.array([attention.shared, 0, size], np.int64))], axis=0)
        self._add("ConstantOfShape", [past], "past")
        self._constant(np.array([blueprint.opening], np.int64), "opening")
        self._add("Sub", ["width", "opening"], "behind")  # (1,), tokens behind the opening
        if attention.cosines is not None:
            self._constant(attention.cosines, "cosines")
            self._constant(attention.sines, "sines")

    def _looked_up(self, blueprint: GraphSpec) -> str:
        """Write the embeddings (B, T - E, D) of tokens, plus those of their positions if there is such a table."""
        from onnx import TensorProto

        ids = self._add("Slice", ["input_ids", "opening", "width", "one"]) if blueprint.opening else "input_ids"
        if self._grids is None:
            found = self._add("Gather", [self._constant(blueprint.tokens), ids])
        else:
            table, scale = _rounded(blueprint.tokens, axis=1)
            taken = self._add("Cast", [self._add("Gather", [self._constant(table), ids])], to=TensorProto.FLOAT)
            found = self._add("Mul", [taken, self._add("Gather", [self._constant(scale), ids])])
        if blueprint.places is None:
            return found
        places = self._add(
            "Slice", [self._constant(blueprint.places[blueprint.opening :]), "nought", "behind", "nought"]
        )
        return self._add("Add", [found, places])

    def _attended(self, attention: Attention, block: Block, names: Names, normed: str) -> str:
        """Write causal attention (B, T - E, D), in which each of K heads of keys serves H / K heads of queries.

        ONNX Runtime takes keys of a past for one row alone, so the opening is attended from, too, to no use.
        """
        together = self._product(block.queries_keys_values, normed)
        turns = ["cosines", "sines"] if attention.cosines is not None else []
        found = names.attended
        if block.opening is not None:
            shape = self._add("Concat", ["rows", self._constant(np.array(block.opening.shape, np.int64))], axis=0)
            opening = self._add("Expand", [self._constant(block.opening), shape])
            together, found = self._add("Concat", [opening, together], axis=1), f"all_{names.attended}"
        self._add(
            "GroupQueryAttention", [together, "", "", "past", "past", "last_places", "tokens", *turns],
            found, f"keys_{names.attended}", f"values_{names.attended}", domain=CONTRIB,
            num_heads=attention.heads, kv_num_heads=attention.shared, do_rotary=int(bool(turns)),
            scale=attention.scale, local_window_size=attention.window or -1,
        )  # fmt: skip
        if block.opening is not None:
            self._add("Slice", [found, "opening", "width", "one"], names.attended)
        return self._product(block.attended, names.attended)

    def _through_mlp(self, activation: str, block: Block, names: Names) -> str:
        up = self._product(block.up, names.rising)
        if block.gate is None:
            self._activated(activation, up, names.falling)
        else:
            gate = self._activated(activation, self._product(block.gate, names.rising))
            self._add("Mul", [gate, up], names.falling)
        return self._product(block.down, names.falling)

    def _activated(self, activation: str, value: str, name: str = "") -> str:
        if activation == SILU:
            return self._add("QuickGelu", [value], name, domain=CONTRIB, alpha=1.0)
        return self._add("Gelu" if activation == GELU else "FastGelu", [value], name, domain=CONTRIB)

    def _summed(self, hidden: str, more: str, norm: Norm, name: str) -> tuple[str, str]:
        """Write a residual sum of hidden states (B, T, D), and its norm under a name."""
        inputs = [hidden, more, *self._norm(norm)]
        self._add(f"Skip{_kind(norm)}", inputs, name, "", "", f"sum_{name}", domain=CONTRIB, epsilon=norm.epsilon)
        return f"sum_{name}", name

    def _product(self, linear: Linear, value: str) -> str:
        """Write a linear layer with weights (I, O); in int8, layers of one input share its quantization."""
        if self._grids is None:
            product = self._add("MatMul", [value, self._constant(linear.weights)])
            return product if linear.bias is None else self._add("Add", [product, self._constant(linear.bias)])
        scale, zero, whole = f"{value}_scale", f"{value}_zero", f"{value}_whole"
        if scale not in self._constants:
            grid = self._grids[value]
            self._constant(np.array(grid.scale, np.float32), scale)
            self._constant(np.array(grid.zero, np.uint8), zero)
            rounded = self._add("Div", [value, self._peak(value)]) if grid.by_token else value
            self._add("QuantizeLinear", [rounded, scale, zero], whole)
        weights, scales = (self._constant(part) for part in _rounded(linear.weights, axis=0))
        if not self._grids[value].by_token:
            bias = [] if linear.bias is None else ["", self._constant(linear.bias)]
            return self._add("MatMulIntegerToFloat", [whole, weights, scale, scales, zero, *bias], domain=CONTRIB)
        product = self._add("MatMulIntegerToFloat", [whole, weights, scale, scales, zero], domain=CONTRIB)
        product = self._add("Mul", [product, f"{value}_peak"])
        return product if linear.bias is None else self._add("Add", [product, self._constant(linear.bias)])

    def _peak(self, value: str) -> str:
        """Write how far each token's values (B, T, channels) are from 0 at most (B, T, 1)."""
        axis = self._constant(np.array([-1], np.int64))
        peak = self._add("ReduceMax", [self._add("Abs", [value]), axis])
        return self._add("Max", [peak, self._constant(np.array(LEAST, np.float32))], f"{value}_peak")

    def _pool(self, normed: str, closing: int) -> None:
        """Write [mean of all tokens ; mean of the last `closing`] (B, 2D), of those behind the opening."""
        from onnx import TensorProto

        ends = self._add("Unsqueeze", [self._add("Sub", ["lengths", "opening"]), "one"])  # (B, 1)
        count = self._add("Squeeze", ["behind"])
        first, step = (self._constant(np.array(number, np.int64)) for number in (0, 1))
        places = self._add("Range", [first, count, step])  # (T,)
        real = self._add("Less", [places, ends])  # (B, T)
        few = self._constant(np.array([closing], np.int64))
        last = self._add("And", [real, self._add("GreaterOrEqual", [places, self._add("Sub", [ends, few])])])
        means = []
        for part, tokens in ((real, ends), (last, self._add("Min", [ends, few]))):
            row = self._add("Unsqueeze", [self._add("Cast", [part], to=TensorProto.FLOAT), "one"])  # (B, 1, T)
            total = self._add("Squeeze", [self._add("MatMul", [row, normed]), "one"])  # (B, D)
            means.append(self._add("Div", [total, self._add("Cast", [tokens], to=TensorProto.FLOAT)]))
        self._add("Concat", means, FEATURES, axis=1)

    def _norm(self, norm: Norm) -> list[str]:
        return [self._constant(part) for part in (norm.gain, norm.bias) if part is not None]

    def _add(self, kind: str, inputs: Sequence[str], name: str = "", *others: str, domain: str = "", **how: Any) -> str:
        """Add a node and return the name of its first output."""
        from onnx import helper

        name = name or f"value_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name, *others], name=name, domain=domain, **how))
        return name

    def _constant(self, value: NDArray[Any] | None, name: str = "") -> str:
        """Add a constant, a large one to the file of weights, and return its name."""
        from onnx import TensorProto, numpy_helper

        value, name = np.asarray(value), name or f"constant_{len(self._constants)}"
        tensor = numpy_helper.from_array(value, name)
        if value.nbytes >= LARGE:
            self._weights.extend(bytes(-len(self._weights) % PAGE))
            where = {"location": WEIGHTS, "offset": len(self._weights), "length": value.nbytes}
            self._weights.extend(tensor.raw_data)
            tensor = TensorProto(name=name, data_type=tensor.data_type, dims=value.shape)
            tensor.data_location = TensorProto.EXTERNAL
            for key, said in where.items():
                tensor.external_data.add(key=key, value=str(said))
        self._constants[name] = tensor
        return name


def _kind(norm: Norm) -> str:
    """Return the operation of a norm; that of the root mean square is called simplified."""
    return "SimplifiedLayerNormalization" if norm.bias is None else "LayerNormalization"


def _rounded(weights: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Quantize weights to -127..127, each column (axis 0) or row (axis 1) by its own scale, and return the scales.

    The scales are (columns,) or (rows, 1).
    """
    scale = np.maximum(np.abs(weights).max(axis, keepdims=True), LEAST) / 127
    whole = np.rint(weights / scale).astype(np.int8)
    return whole, (scale[0] if axis == 0 else scale).astype(np.float32)
