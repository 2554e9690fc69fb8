"""Remember how the messages that came last were scored: a campaign sends the same one again and again."""

from __future__ import annotations

from collections import OrderedDict

from spamctl.model.tokens import TokenRow


class Memory:
    """Remember the logits of the rows that were asked for last, by their tokens; used by one thread at a time."""

    def __init__(self, rows: int) -> None:
        """Begin, with room for so many rows; none: remember nothing."""
        self._rows = rows
        self._logits: OrderedDict[tuple[int, ...], float] = OrderedDict()

    def get(self, row: TokenRow) -> float | None:
        """Return the logit of a row with the same tokens."""
        if not self._rows:
            return None
        logit = self._logits.get(key := tuple(row.ids))
        if logit is not None:
            self._logits.move_to_end(key)
        return logit

    def put(self, row: TokenRow, logit: float) -> None:
        """Remember a row, and forget the one that was asked for longest ago."""
        if self._rows:
            self._logits[tuple(row.ids)] = logit
            if len(self._logits) > self._rows:
                self._logits.popitem(last=False)
