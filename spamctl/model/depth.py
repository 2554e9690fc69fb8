"""Choose how many blocks of a base model to keep, on training rows alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from spamctl.errors import DataError
from spamctl.model.features import pooled_by_block
from spamctl.model.probe import DepthChoice, choose_depth, score_blocks
from spamctl.model.tick import Tick, Ticking, ticks
from spamctl.model.trunk import Trunk
from spamctl.schema.train import BlockScore

SAMPLE = 400  # training rows: enough to rank blocks, and a forward pass through all of them costs seconds
SAMPLE_OF_KINDS = 900  # where families of kinds are held out whole: a fold must hold many of them
SAMPLE_TOKENS = 64
# On unseen kinds a probe asks for 19 of 30 blocks, twice the time of a message. Together with n-grams, blocks beyond
# the tenth add .007 of ROC AUC: that is not worth it, so with kinds the search ends here, and runs no block beyond.
CEILING_SHARE = 0.4


def find_depth(
    trunk: Trunk,
    rows: Sequence[Sequence[int]],
    is_spam: Sequence[bool],
    *,
    dtype: torch.dtype,
    seed: int,
    groups: Sequence[str] = (),
) -> Ticking[DepthChoice]:
    """Score each block that may be kept on a sample of training rows of token ids, and choose one; yield progress.

    Rows of one of `groups` (rows,) share a fold. Where these are families of kinds, each is held out whole: the depth
    that is best on more of the same kinds is too shallow for kinds that a filter has yet to see.
    """
    sample = draw_sample(is_spam, SAMPLE_OF_KINDS if groups else SAMPLE, seed)
    short = [rows[row][:SAMPLE_TOKENS] for row in sample]
    last = max(1, round(trunk.depth * CEILING_SHARE)) if groups else trunk.depth
    pooled = np.empty((last, len(sample), 2 * trunk.width), np.float32)
    yield from ticks(pooled_by_block(trunk, short, pooled, dtype=dtype), "every block, a sample", len(sample))
    scores: list[BlockScore] = []
    sampled = [groups[row] for row in sample] if groups else []
    for score in score_blocks(pooled, np.array([is_spam[row] for row in sample]), seed, sampled):
        scores.append(score)
        yield Tick("probe each block", len(scores), last, "blocks")
    return choose_depth(scores, len(sample), trunk.depth)


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
