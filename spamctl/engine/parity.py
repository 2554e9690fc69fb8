"""Check on the packaged model that padding, batch size and row order change no verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from spamctl.engine.engine import Engine, Logits
from spamctl.engine.tokens import TokenRow
from spamctl.schema.evaluation import Parity

BATCH = 4  # rows of all lengths together: three of four are padded, in larger batches nearly all that is computed is
OTHER_PAD = 1  # the engine pads with 0: whoever reads a pad reads something else here
PADDED_ROWS = 16  # padding to the whole window is dear: a sample of rows, spread over all lengths, is enough


def single_rows(engine: Engine, rows: Sequence[TokenRow]) -> Iterator[float]:
    """Yield the logit of each row scored alone: the reference."""
    for index in range(len(rows)):
        yield float(engine.logits(rows[index : index + 1])[0])


def check(engine: Engine, rows: Sequence[TokenRow], alone: Logits, seed: int) -> Parity:
    """Compare the logits of rows scored `alone` (rows,) with every other way to score them.

    The ways: rows of similar length together, as a server does; batches of 4 in random order, padded to their longest
    with another token; a sample padded to the whole window with it.
    """
    shuffled = np.random.default_rng(seed).permutation(len(rows))
    random = [shuffled[start : start + BATCH].tolist() for start in range(0, len(rows), BATCH)]
    by_length = np.argsort([len(row.ids) for row in rows], kind="stable")
    sample = by_length[np.linspace(0, len(rows) - 1, min(PADDED_ROWS, len(rows)), dtype=int)]
    window = engine.manifest.max_tokens
    padded = alone.copy()
    singles = [[place] for place in range(len(sample))]
    padded[sample] = engine.logits([rows[row] for row in sample], batches=singles, pad=window, fill=OTHER_PAD)
    reference = engine.probabilities(alone)
    ways = [engine.logits(rows), engine.logits(rows, batches=random, fill=OTHER_PAD), padded]
    others = [engine.probabilities(logits) for logits in ways]
    changed = np.any([(other >= engine.threshold) != (reference >= engine.threshold) for other in others], axis=0)
    return Parity(len(rows), float(max(np.abs(other - reference).max() for other in others)), int(changed.sum()))
