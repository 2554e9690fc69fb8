"""Divide rows among the processes of one training, and add up what each has found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed

# A training in one process has no group: then every row is ours, and there is nothing to add up.


def count() -> int:
    """Count the processes of this training."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def own(rows: Iterable[int]) -> list[int]:
    """Return those of some row numbers that this process computes, in their order.

    A row is always the same process's: no other has its hidden states.
    """
    return [row for row in rows if row % count() == rank()]


def add_up(values: Tensor) -> Tensor:
    """Add each process's values to those of the others, in place, and return them."""
    if count() > 1:
        distributed.all_reduce(values)
    return values


def add_up_array(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Add each process's values to those of the others, in place, and return them."""
    if count() > 1:
        device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        values[:] = add_up(torch.from_numpy(values).to(device)).cpu().numpy()
    return values


def add_gradients(weights: Iterable[Tensor], loss: float) -> float:
    """Add each process's gradients to those of the others, in place, and return the sum of their losses."""
    if count() == 1:
        return loss
    summed = torch.tensor(loss)
    for weight in weights:
        if weight.grad is None:  # none of the batch's rows is ours
            weight.grad = torch.zeros_like(weight)
        distributed.all_reduce(weight.grad)
        summed = summed.to(weight.device)
    return float(add_up(summed))


def share(weights: Sequence[Tensor]) -> None:
    """Give every process the weights of the first."""
    if count() > 1:
        with torch.no_grad():
            for weight in weights:
                distributed.broadcast(weight, 0)
