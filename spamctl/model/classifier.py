"""Put a classification head on a trunk, and select the trainable weights."""

# B rows, T tokens, D width of the model

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spamctl.model.head import DROPOUT
from spamctl.model.trunk import Trunk, exchange, pool

Tune = Literal["head", "last-block", "lora", "full"]


class SpamClassifier(nn.Module):
    """Trunk with a linear or hidden-layer head over [mean of all tokens ; last token] of its normed output."""

    def __init__(self, trunk: Trunk, units: int = 0) -> None:
        """Put a head on `trunk`, with a hidden layer of that many units; 0 for none."""
        super().__init__()
        self.trunk = trunk
        self.hidden = nn.Linear(2 * trunk.width, units) if units else None
        self.head = nn.Linear(units or 2 * trunk.width, 1)
        self.dropout = nn.Dropout(DROPOUT if units else 0.0)

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Return logits of spam (B,) for token ids (B, T) or hidden states (B, T, D), and lengths (B,)."""
        return self.judge(self.trunk(inputs), lengths)

    def judge(self, hidden_states: Tensor, lengths: Tensor) -> Tensor:
        """Return logits of spam (B,) for the trunk's output (B, T, D), and lengths (B,)."""
        pooled = pool(hidden_states, lengths)  # (B, 2D)
        if self.hidden is not None:
            pooled = self.dropout(torch.relu(self.hidden(self.dropout(pooled))))  # (B, U)
        return self.head(pooled).squeeze(-1)  # type: ignore[no-any-return]  # (B,)

    def start_hidden(self, weights: dict[str, Tensor]) -> None:
        """Initialise a head with a hidden layer from the fit of `model.head`."""
        assert self.hidden is not None  # noqa: S101  (whoever fitted it knew)
        with torch.no_grad():
            for layer, name in ((self.hidden, "hidden"), (self.head, "out")):
                layer.weight.copy_(weights[f"{name}.weight"])
                layer.bias.copy_(weights[f"{name}.bias"])

    def start_head(self, weights: NDArray[np.float32], bias: float) -> None:
        """Initialise the head from a linear probe's weights (2D,) and bias."""
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(weights)[None, :])
            self.head.bias.fill_(bias)

    def prepare(self, tune: Tune, *, lora_rank: int = 8) -> int:
        """Unfreeze the weights that `tune` names, freeze the rest, and return how many blocks can be run once."""
        self.requires_grad_(requires_grad=tune == "full")
        self.head.requires_grad_()
        if self.hidden is not None:
            self.hidden.requires_grad_()
        frozen = {"head": self.trunk.depth, "last-block": self.trunk.depth - 1}.get(tune, 0)
        for block in self.trunk.blocks[frozen:] if tune == "last-block" else ():
            block.requires_grad_()
        if tune == "lora":
            self._add_lora(lora_rank)
        if tune != "head":
            self.trunk.final_norm.requires_grad_()
        self.trunk.window(frozen, self.trunk.depth)
        return frozen

    def _add_lora(self, rank: int) -> None:
        from peft import LoraConfig, inject_adapter_in_model

        linear = {name: module for name, module in self.trunk.model.named_modules() if _is_linear(module)}
        transposed = not any(isinstance(module, nn.Linear) for module in linear.values())
        config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=list(linear), fan_in_fan_out=transposed)
        inject_adapter_in_model(config, self.trunk.model)

    def merge_lora(self) -> None:
        """Fold every adapter into the weight that it adapts."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        def merged(layer: Any) -> nn.Module:
            layer.merge()
            return cast("nn.Module", layer.get_base_layer())

        exchange(self.trunk.model, BaseTunerLayer, merged)

    def learnt(self) -> dict[str, Tensor]:
        """Return the weights that learn, by name."""
        return {name: weight for name, weight in self.named_parameters() if weight.requires_grad}

    def restore(self, weights: dict[str, Tensor]) -> None:
        """Load trained weights; raise KeyError if one does not belong to this model."""
        own = dict(self.named_parameters())
        with torch.no_grad():
            for name, weight in weights.items():
                own[name].copy_(weight)


def _is_linear(module: nn.Module) -> bool:
    """Return whether a module multiplies by a weight matrix (GPT-2 has a Conv1D of its own)."""
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def labels_tensor(labels: Sequence[bool], rows: Sequence[int], device: torch.device | str) -> Tensor:
    """Return the labels of `rows` as floats (B,)."""
    return torch.tensor([float(labels[row]) for row in rows], device=device)
