"""Run a window of a causal language model's blocks, from token ids or from hidden states."""

# B rows, T tokens, D width of the model

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from spamctl.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


ADVICE = "use a decoder-only language model"


class Trunk(nn.Module):
    """Base model whose blocks can be run over a window [first, last).

    Rows are padded on the right and attention is causal, so a real token never sees a pad: no attention mask is needed,
    and padding cannot change a verdict. Hidden states enter at the door of the first block of the window; whatever the
    model does before its first block (position embeddings, scaling) has then no second effect.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        if model.config.is_encoder_decoder:
            raise DataError(f"{type(model).__name__} has an encoder; {ADVICE}")
        self.model = model.eval()
        self.config: Any = model.config.get_text_config()
        self.config.use_cache = False
        self._home, self._stack_name = _find_stack(model, int(self.config.num_hidden_layers))
        self._norm_name = _find_final_norm(self._home)
        self._norm: nn.Module = getattr(self._home, self._norm_name)
        self._blocks: tuple[nn.Module, ...] = tuple(getattr(self._home, self._stack_name))
        self._layer_types: list[str] | None = vars(self.config).get("layer_types")
        self.window(0, self.depth)

    @property
    def depth(self) -> int:
        """Count the blocks that are kept."""
        return len(self._blocks)

    @property
    def width(self) -> int:
        """Return D, the size of a hidden state."""
        return int(self.config.hidden_size)

    @property
    def blocks(self) -> tuple[nn.Module, ...]:
        """Return every kept block, in order, whatever the window shows."""
        return self._blocks

    @property
    def final_norm(self) -> nn.Module:
        """Return the norm behind the last block."""
        return self._norm

    @torch.no_grad()
    def check(self) -> None:
        """Verify on three tokens that the model runs, is causal and can be split in two, or raise DataError."""
        name, ids = type(self.model).__name__, torch.tensor([[1, 2, 3], [1, 2, 4]])
        whole = self(ids)  # (2, 3, D)
        if not whole.isfinite().all():
            raise DataError(f"the weights of this {name} give no numbers; fetch or save the model again")
        noise = 1e-3 * float(whole.abs().max())  # some models have hidden states in the hundreds
        if not torch.allclose(whole[0, :2], whole[1, :2], atol=noise):
            raise DataError(f"{name} looks ahead, so that padding would change its verdicts; {ADVICE}")
        self.window(0, self.depth // 2, norm=False)
        half = self(ids)  # (2, 3, D)
        self.window(self.depth // 2, self.depth)
        if not torch.allclose(self(half), whole, atol=noise):
            raise DataError(f"{name} does not run block by block and end in a norm; use another base model")
        self.window(0, self.depth)

    def cut(self, depth: int) -> None:
        """Drop the blocks above `depth`; raise DataError if the model has fewer."""
        if not 1 <= depth <= self.depth:
            raise DataError(
                f"--depth {depth}: this model has {self.depth} blocks; give 1 to {self.depth}, auto or full"
            )
        self._blocks = self._blocks[:depth]
        self.window(0, depth)

    def window(self, first: int, last: int, *, norm: bool = True) -> None:
        """Restrict `forward` to blocks [first, last), and the final norm behind them if `norm`."""
        setattr(self._home, self._stack_name, nn.ModuleList(self._blocks[first:last]))
        setattr(self._home, self._norm_name, self._norm if norm else nn.Identity())
        self.config.num_hidden_layers = last - first
        if self._layer_types is not None:
            self.config.layer_types = self._layer_types[first:last]
        self._empty = first == last

    def forward(self, inputs: Tensor) -> Tensor:
        """Return hidden states (B, T, D) for token ids (B, T) or for hidden states (B, T, D)."""
        if not inputs.is_floating_point():
            return self.model(input_ids=inputs).last_hidden_state  # type: ignore[no-any-return]  # (B, T, D)
        if self._empty:
            return getattr(self._home, self._norm_name)(inputs)  # type: ignore[no-any-return]  # (B, T, D)
        with self._entering(inputs):
            return self.model(inputs_embeds=inputs).last_hidden_state  # type: ignore[no-any-return]  # (B, T, D)

    @contextmanager
    def _entering(self, hidden_states: Tensor) -> Iterator[None]:
        """Pass `hidden_states` to the first block of the window in place of the model's own."""
        door = getattr(self._home, self._stack_name)[0]
        handle = door.register_forward_pre_hook(lambda _module, args: (hidden_states, *args[1:]))
        try:
            yield
        finally:
            handle.remove()

    @contextmanager
    def watching(self) -> Iterator[list[Tensor]]:
        """Collect the hidden states (B, T, D) that leave each kept block during a forward pass."""
        seen: list[Tensor] = []

        def keep(_module: nn.Module, _args: object, output: Any) -> None:
            seen.append(output[0] if isinstance(output, tuple) else output)

        handles = [block.register_forward_hook(keep) for block in self._blocks]
        try:
            yield seen
        finally:
            for handle in handles:
                handle.remove()


def exchange(model: nn.Module, kind: type | tuple[type, ...], by: Callable[[Any], nn.Module]) -> None:
    """Replace each module of a kind, wherever it is in the model, by what `by` returns for it."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, kind):
                setattr(parent, name, by(child))


def _find_stack(model: nn.Module, depth: int) -> tuple[nn.Module, str]:
    """Find the module that holds the decoder blocks, and the name it gives them."""
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.ModuleList) and len(child) == depth:
                return module, name
    raise DataError(f"{type(model).__name__} has no stack of {depth} decoder blocks; {ADVICE}")


def _find_final_norm(home: nn.Module) -> str:
    """Find the name of the norm that follows the blocks."""
    norms = [name for name, child in home.named_children() if "norm" in type(child).__name__.lower()]
    if not norms:
        raise DataError(f"{type(home).__name__} has no final norm behind its blocks; use another base model")
    return norms[-1]  # a norm of the embeddings, where there is one, comes first


def pool(hidden_states: Tensor, lengths: Tensor) -> Tensor:
    """Return [mean of all tokens ; last token] (B, 2D) of hidden states (B, T, D) and lengths (B,) in tokens."""
    positions = torch.arange(hidden_states.shape[1], device=hidden_states.device)
    real = (positions[None, :] < lengths[:, None]).to(hidden_states.dtype)  # (B, T)
    mean = (hidden_states * real[:, :, None]).sum(dim=1) / lengths[:, None].to(hidden_states.dtype)  # (B, D)
    is_last = (positions[None, :] == lengths[:, None] - 1).to(hidden_states.dtype)  # (B, T)
    last = (hidden_states * is_last[:, :, None]).sum(dim=1)  # (B, D)
    return torch.cat([mean, last], dim=1)  # (B, 2D)
