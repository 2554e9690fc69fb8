"""Cache the hidden states of frozen blocks, and choose how many blocks to keep."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from spamctl.errors import DataError
from spamctl.progress import ProgressGenerator, ProgressUpdate, ticks
from spamctl.schema.train import BlockScore
from spamctl.training import workers
from spamctl.training.model import Trunk
from spamctl.training.probe import DepthChoice, choose_depth, score_blocks

# B rows, T tokens, D width of the model


TOKENS_PER_BATCH = 2048
MEMORY_LIMIT = 1 << 30  # bytes of hidden states beyond which they live in a file
WHOLE_TOKENS = 8  # training batches are padded to a multiple: each new shape costs some 40 ms of making kernels


def length_batches(lengths: Sequence[int], tokens: int = TOKENS_PER_BATCH) -> Iterator[list[int]]:
    """Yield row numbers in batches of similar length, longest first, of at most `tokens` tokens with padding.

    Of several processes, each gets its own rows.
    """
    batch: list[int] = []
    for row in sorted(workers.own(range(len(lengths))), key=lambda row: -lengths[row]):
        if batch and lengths[batch[0]] * (len(batch) + 1) > tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def pad_ids(rows: Sequence[Sequence[int]], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Return token ids (B, T) padded on the right with 0, and lengths (B,)."""
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.zeros(len(rows), int(lengths.max()), dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
    return ids.to(device), lengths.to(device)


def supports_bfloat16(device: torch.device) -> bool:
    """Return whether the device has bfloat16 instructions rather than an emulation of them."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001  (there is no public question)


def frozen_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the type of the frozen pass for `precision` auto, bf16 or float32."""
    if precision == "bf16" or (precision == "auto" and supports_bfloat16(device)):
        return torch.bfloat16
    return torch.float32


class HiddenStates:
    """Hidden states of every token of every row, in memory or in a memory-mapped file."""

    def __init__(self, lengths: Sequence[int], width: int, dtype: torch.dtype) -> None:
        self.lengths = torch.tensor(lengths)
        self._starts = torch.cat([torch.zeros(1, dtype=torch.long), self.lengths.cumsum(0)])
        shape = (int(self._starts[-1]), width)
        if shape[0] * width * dtype.itemsize <= MEMORY_LIMIT:
            self._states = torch.empty(shape, dtype=dtype)
        else:
            kind = {2: np.uint16, 4: np.float32}[dtype.itemsize]
            with tempfile.TemporaryFile(
                prefix="spamctl-"
            ) as file:  # has no name: it goes with the process, however that ends
                self._states = torch.from_numpy(np.memmap(file, dtype=kind, mode="w+", shape=shape)).view(dtype)

    def put(self, rows: Sequence[int], hidden_states: Tensor) -> None:
        """Store hidden states (B, T, D) of `rows`, without their padding."""
        for row, states in zip(rows, hidden_states, strict=True):
            length = int(self.lengths[row])
            self._states[self._starts[row] : self._starts[row] + length] = states[:length].to(self._states)

    def batch(self, rows: Sequence[int], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Return hidden states (B, T, D) in float32, padded on the right with zeros, and lengths (B,).

        T is the longest row's length up to a multiple of 8, but no more than that of the longest row of all.
        """
        lengths = self.lengths[list(rows)]
        longest = -(-int(lengths.max()) // WHOLE_TOKENS) * WHOLE_TOKENS
        states = torch.zeros(len(rows), min(longest, int(self.lengths.max())), self._states.shape[1])
        for index, row in enumerate(rows):
            states[index, : lengths[index]] = self._states[
                self._starts[row] : self._starts[row] + lengths[index]
            ].float()
        return states.to(device), lengths.to(device)


class TokenIds:
    """Token ids of every row, for training that changes every block."""

    def __init__(self, rows: Sequence[Sequence[int]]) -> None:
        self._rows = rows
        self.lengths = torch.tensor([len(row) for row in rows])

    def batch(self, rows: Sequence[int], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Return token ids (B, T), padded on the right, and lengths (B,)."""
        return pad_ids([self._rows[row] for row in rows], device)


@contextlib.contextmanager
def frozen(trunk: Trunk, dtype: torch.dtype) -> Iterator[torch.device]:
    """Run without gradients in `dtype`; give back the device of the trunk."""
    device = next(trunk.parameters()).device
    autocast = torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)
    with torch.inference_mode(), autocast:
        yield device


def frozen_pass(
    trunk: Trunk, rows: Sequence[Sequence[int]], into: HiddenStates, *, blocks: int, dtype: torch.dtype
) -> Iterator[int]:
    """Run the first `blocks` blocks over every row of token ids into `into`; yield how many rows are done."""
    trunk.window(0, blocks, norm=False)
    done = 0
    with frozen(trunk, dtype) as device:
        for batch in length_batches([len(row) for row in rows]):
            ids, _ = pad_ids([rows[row] for row in batch], device)
            into.put(batch, trunk(ids).cpu())
            done += len(batch)
            yield min(done * workers.count(), len(rows))
    trunk.window(0, trunk.depth)


def pooled_pass(trunk: Trunk, rows: Sequence[Sequence[int]], into: np.ndarray, *, dtype: torch.dtype) -> Iterator[int]:
    """Fill `into` (rows, 2D) with the pooled output of all kept blocks; yield how many rows are done."""
    trunk.window(0, trunk.depth)
    done = 0
    with frozen(trunk, dtype) as device:
        for batch in length_batches([len(row) for row in rows]):
            ids, lengths = pad_ids([rows[row] for row in batch], device)
            into[batch] = trunk.pool(trunk(ids).float(), lengths).cpu().numpy()
            done += len(batch)
            yield min(done * workers.count(), len(rows))


def pooled_by_block(
    trunk: Trunk, rows: Sequence[Sequence[int]], into: np.ndarray, *, dtype: torch.dtype
) -> Iterator[int]:
    """Fill `into` (blocks, rows, 2D) with the pooled, normed output of the first blocks; yield how many rows are done.

    No block beyond those of `into` is run.
    """
    trunk.window(0, len(into), norm=False)
    done = 0
    with frozen(trunk, dtype) as device:
        for batch in length_batches([len(row) for row in rows]):
            ids, lengths = pad_ids([rows[row] for row in batch], device)
            with trunk.watching() as seen:
                trunk(ids)
            for block, states in enumerate(seen):
                normed = trunk.final_norm(states.float())
                into[block, batch] = trunk.pool(normed, lengths).float().cpu().numpy()
            done += len(batch)
            yield done
    trunk.window(0, trunk.depth)


# Choose how many blocks of a base model to keep, on training rows alone.

SAMPLE = 400  # training rows: enough to rank blocks, and a forward pass through all of them costs seconds
SAMPLE_OF_KINDS = 900  # where families of kinds are held out whole: a fold must hold many of them
SAMPLE_TOKENS, SAMPLE_TAIL = 64, 24  # of a row, and of its end
# On unseen kinds a probe asks for 19 of 30 blocks, twice the time of a message. Together with n-grams, blocks beyond
# the eighth add .001 to .006 of ROC AUC, each for an eighth of the time: with kinds the search ends here.
CEILING_SHARE = 0.27


def find_depth(
    trunk: Trunk,
    rows: Sequence[Sequence[int]],
    is_spam: Sequence[bool],
    *,
    dtype: torch.dtype,
    seed: int,
    groups: Sequence[str] = (),
) -> ProgressGenerator[DepthChoice]:
    """Score each block that may be kept on a sample of training rows of token ids, and choose one; yield progress.

    Rows of one of `groups` (rows,) share a fold. Where these are families of kinds, each is held out whole: the depth
    that is best on more of the same kinds is too shallow for kinds that a filter has yet to see.
    """
    sample = draw_sample(is_spam, SAMPLE_OF_KINDS if groups else SAMPLE, seed)
    short = [_both_ends(rows[row]) for row in sample]
    last = max(1, round(trunk.depth * CEILING_SHARE)) if groups else trunk.depth
    pooled = np.empty((last, len(sample), 2 * trunk.width), np.float32)
    yield from ticks(pooled_by_block(trunk, short, pooled, dtype=dtype), "every block, a sample", len(sample))
    scores: list[BlockScore] = []
    sampled = [groups[row] for row in sample] if groups else []
    for score in score_blocks(pooled, np.array([is_spam[row] for row in sample]), seed, sampled):
        scores.append(score)
        yield ProgressUpdate("probe each block", len(scores), last, "blocks")
    return choose_depth(scores, len(sample), trunk.depth)


def _both_ends(ids: Sequence[int]) -> Sequence[int]:
    """Return at most SAMPLE_TOKENS tokens, the last of them from the end: there a prompt asks its question."""
    if len(ids) <= SAMPLE_TOKENS:
        return ids
    return [*ids[: SAMPLE_TOKENS - SAMPLE_TAIL], *ids[len(ids) - SAMPLE_TAIL :]]


def draw_sample(is_spam: Sequence[bool], size: int, seed: int) -> list[int]:
    """Return at most `size` row numbers at random, in the natural proportion of spam."""
    truth, random = np.array(is_spam), np.random.default_rng(seed)
    share = min(1.0, size / len(truth))
    chosen = [
        random.permutation(rows)[: max(10, round(share * len(rows)))]
        for rows in (truth.nonzero()[0], (~truth).nonzero()[0])
    ]
    return sorted(int(row) for row in np.concatenate(chosen))


def fixed_depth(asked: str, blocks: int) -> int:
    """Return the depth that `--depth` full or a number asks for; raise DataError if the model has fewer blocks."""
    depth = blocks if asked == "full" else int(asked)
    if depth > blocks:
        raise DataError(f"--depth {depth}: this base model has {blocks} blocks; give 1 to {blocks}, auto or full")
    return depth
