"""Compute SmoothQuant scales: int8 quantization of activations after moving their outliers into the weights."""

# N rows, C channels, I inputs, O outputs, H heads, K heads of keys and values, S width of a head

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np

from spamctl.export.onnx import Array, Attention, Block, GraphSpec, Grid, Linear, Names, Norm, names_of

ALPHA = 0.85  # (Xiao et al. 2023, SmoothQuant) the least change of logits among 0, .5, .7, .85 and .95
QUANTILE = 0.99  # of the rows; what the rest exceed is cut off
LEAST = 1e-5

# Between the two halves of an MLP a few tokens hold values twenty times as large as usual: rounded on one scale for
# all, the others lose most. A token's own scale depends on no other token, so not on the batch.
BY_TOKEN = Grid(1 / 127, 128, by_token=True)

Grids = dict[str, Grid]


@dataclass(frozen=True, slots=True)
class ChannelRange:
    """Lowest and highest value of each channel in each row (N, C)."""

    low: Array
    high: Array

    def peaks(self) -> Array:
        """Return how far each channel is from 0 at most (C,)."""
        return np.asarray(np.maximum(np.maximum(-self.low, self.high).max(0), LEAST))

    def grid(self, factors: Array) -> Grid:
        """Return how all channels are rounded, each divided by its factor (C,) before."""
        low = min(0.0, float(np.quantile((self.low / factors).min(1), 1 - QUANTILE)))
        high = max(0.0, float(np.quantile((self.high / factors).max(1), QUANTILE)))
        scale = max((high - low) / 255, LEAST / 255)
        return Grid(scale, round(-low / scale))


@dataclass(frozen=True, slots=True)
class Rounding:
    """A blueprint with smoothed weights, and the quantization of each linear layer's input."""

    blueprint: GraphSpec
    grids: Mapping[str, Grid]


def names_in(blueprint: GraphSpec) -> list[str]:
    """Return the name of each value that enters a product."""
    return [name for number in range(len(blueprint.blocks)) for name in astuple(names_of(number))]


def reaches(names: Sequence[str], rows: Iterable[Sequence[Array]]) -> dict[str, ChannelRange]:
    """Return the reach of each named value; a row gives the values (1, T, C) of one message, in the order of names."""
    extremes = [[(value[0].min(0), value[0].max(0)) for value in values] for values in rows]
    pairs = zip(*extremes, strict=True)
    return {
        name: ChannelRange(*map(np.array, zip(*pair, strict=True))) for name, pair in zip(names, pairs, strict=True)
    }


def rounding(blueprint: GraphSpec, reach: Mapping[str, ChannelRange]) -> Rounding:
    """Divide the inputs of each linear layer by a factor per channel, multiply the weights by it, and fix the scales.

    A factor is taken into what made the value: a norm, the products that made the attended values, the ungated half of
    an MLP. What an activation alone has made is left as it is.
    """
    pairs = [
        _smoothed(block, names_of(number), reach, blueprint.attention) for number, block in enumerate(blueprint.blocks)
    ]
    grids = {name: grid for _, of_block in pairs for name, grid in of_block.items()}
    return Rounding(replace(blueprint, blocks=tuple(block for block, _ in pairs)), grids)


def _smoothed(
    block: Block, names: Names, reach: Mapping[str, ChannelRange], attention: Attention
) -> tuple[Block, Grids]:
    """Return a block that computes the same from values that are easier to round, and how these are."""
    peaks = {name: reach[name].peaks() for name in astuple(names)}
    together = (attention.shared, attention.heads // attention.shared, -1)  # K, H / K, S
    made = _factors(peaks[names.attended].reshape(together).max(1), _peaks(block.attended).reshape(together).max(1))
    factors = {
        names.attending: _factors(peaks[names.attending], _peaks(block.queries_keys_values)),
        names.attended: np.repeat(made[:, None], together[1], axis=1).reshape(-1),  # (H S,)
        names.rising: _factors(peaks[names.rising], _peaks(*filter(None, (block.gate, block.up)))),
        names.falling: np.ones(len(block.down.weights), np.float32)
        if block.gate is None
        else _factors(peaks[names.falling], _peaks(block.down)),
    }
    first, second, third, fourth = factors.values()
    into = _more(block.queries_keys_values, first)
    keep = np.ones(into.weights.shape[1] - made.size, np.float32)  # queries and keys
    fewer = np.concatenate([keep, made.reshape(-1)])
    smooth = Block(
        _less_normed(block.attention_norm, first),
        _less(into, fewer),
        _more(block.attended, second),
        _less_normed(block.mlp_norm, third),
        None if block.gate is None else _more(block.gate, third),
        _less(_more(block.up, third), fourth),
        _more(block.down, fourth),
        None if block.opening is None else block.opening / fewer,
    )
    grids = {name: reach[name].grid(part) for name, part in factors.items()}
    return smooth, grids | {names.falling: BY_TOKEN}


def _peaks(*linears: Linear) -> Array:
    """Return the largest weight that meets each input (I,)."""
    return np.asarray(np.max([np.abs(linear.weights).max(1) for linear in linears], axis=0))


def _factors(peaks: Array, weights: Array) -> Array:
    """Return the factor of each channel, by its own peak and that of the weights that it meets."""
    return np.maximum(peaks**ALPHA / np.maximum(weights, LEAST) ** (1 - ALPHA), LEAST).astype(np.float32)


def _less_normed(norm: Norm, factors: Array) -> Norm:
    return Norm(norm.gain / factors, None if norm.bias is None else norm.bias / factors, norm.epsilon)


def _more(linear: Linear, factors: Array) -> Linear:
    """Multiply the weights of each input."""
    return Linear(linear.weights * factors[:, None], linear.bias)


def _less(linear: Linear, factors: Array) -> Linear:
    """Divide the weights and the bias of each output."""
    return Linear(linear.weights / factors, None if linear.bias is None else linear.bias / factors)
