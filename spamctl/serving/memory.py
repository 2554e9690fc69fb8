"""Cache the logits of recent messages: a campaign sends the same one again and again."""

from __future__ import annotations

from collections import OrderedDict

from spamctl.model.tokens import TokenRow


class Memory:
    """LRU cache of logits, keyed by everything that they are computed from; used by one thread at a time.

    Texts that were cut share their tokens, and may differ in what the n-grams beyond them say: the margin counts, too.
    """

    def __init__(self, rows: int) -> None:
        """Create a cache of that many rows; 0 disables it."""
        self._rows = rows
        self._logits: OrderedDict[tuple[float, ...], float] = OrderedDict()

    def get(self, row: TokenRow) -> float | None:
        """Return the logit of a row with the same tokens and the same margin."""
        if not self._rows:
            return None
        logit = self._logits.get(key := (row.margin, *row.ids))
        if logit is not None:
            self._logits.move_to_end(key)
        return logit

    def put(self, row: TokenRow, logit: float) -> None:
        """Add a row, and evict the least recently used one."""
        if self._rows:
            self._logits[row.margin, *row.ids] = logit
            if len(self._logits) > self._rows:
                self._logits.popitem(last=False)
