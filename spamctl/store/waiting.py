"""Track one request's rows until it is answered, exactly once: stored in time, or not known to be."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field

from spamctl.store.rows import Earlier
from spamctl.store.sink import Group


@dataclass(slots=True, eq=False)
class Waiting:
    """A pending request; `settled` changes once, under capture's lock, and whoever changes it answers."""

    group: Group
    deadline: float  # by time.monotonic()
    earlier: Earlier = field(default_factory=dict)  # is told what was there already
    future: Future[bool] = field(default_factory=Future)
    settled: bool = False
    alone: bool = False  # in a transaction of its own: something in the group it was in is refused

    @property
    def rows(self) -> int:
        """Count the rows, of both tables."""
        return len(self.group.rows) + len(self.group.shadows)

    @property
    def characters(self) -> int:
        """Count the characters of the messages."""
        return sum(len(row.text) for row in self.group.rows)
