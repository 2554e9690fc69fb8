"""Extract the weights and settings of a classifier whose blocks are built as Llama's or GPT-2's are."""

# D width of the model, H heads, K heads of keys and values, S width of a head, I inputs, O outputs, P places

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    from spamctl.model.classifier import SpamClassifier

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
class Blueprint:
    """A whole classifier: tables of tokens (V, D) and positions (P, D), blocks, the last norm, the head (2D, 1)."""

    tokens: Array
    places: Array | None
    attention: Attention
    activation: str
    blocks: tuple[Block, ...]
    norm: Norm
    head: Linear
    hidden: Linear | None = None  # of the head, (2D, U): the head is then (U, 1)


def read(classifier: SpamClassifier, places: int) -> Blueprint | None:
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
        norm = _norm(classifier.trunk.final_norm)
        return Blueprint(tokens, table, attention, activation, blocks, norm, head, hidden)


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
