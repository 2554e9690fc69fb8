"""Implement attention as a graph of fixed operations, for export alone: training keeps Transformers' own."""

# B rows, H heads, K heads of keys and values, T tokens, S width of a head

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

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
