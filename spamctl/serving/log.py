"""Log events to an operator, who may have stopped reading, at a limited rate."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TextIO

Tell = Callable[[str], object]

EVERY_S = 10.0
MOST_KINDS = 50
MOST_SHOWN = 120
OTHERS = "other log records left out"


def unfailing(tell: Tell) -> Tell:
    """Return `tell` as one that never fails: no full disk and no pipe that nobody reads may stop what serves.

    Rich ends the whole program when a pipe breaks, hence SystemExit.
    """

    def told(text: str) -> None:
        with contextlib.suppress(OSError, ValueError, SystemExit):
            tell(text)

    return told


class EventCounters:
    """Counters of events that clients can cause at will, each reported at a limited rate."""

    def __init__(self, every_s: float = EVERY_S, clock: Callable[[], float] = time.monotonic) -> None:
        """Report a kind at most every `every_s` seconds."""
        self._every_s, self._clock = every_s, clock
        self._counts: Counter[str] = Counter()
        self._told: dict[str, float] = {}  # when each kind was told of

    def count(self, kind: str) -> None:
        """Count one more of a kind, whose name says what it is in the plural."""
        self._counts[kind] += 1

    def lines(self) -> Iterator[str]:
        """Yield a line for each kind that has not been told of for long, and begin its count anew."""
        now = self._clock()
        for kind, number in list(self._counts.items()):
            told = self._told.get(kind)
            if told is None or now - told >= self._every_s:
                del self._counts[kind]
                self._told[kind] = now
                yield f"{kind}: {number:,}" + (f" in {now - told:.0f} s" if told is not None else "")
        for kind, told in list(self._told.items()):
            if now - told > self._every_s and kind not in self._counts:
                del self._told[kind]


class RateLimitedLog(logging.StreamHandler[TextIO]):
    """Log handler that writes the first record of a kind to standard error, and counts repeats within seconds.

    A kind is the place in the code that logs; a record names a finer one by `extra={"kind": ...}`.
    """

    def __init__(self, occasions: EventCounters, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.setLevel(logging.WARNING)
        self._occasions, self._clock = occasions, clock
        self._written: dict[tuple[str, str], tuple[float, str]] = {}  # when, and how it began

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or count it."""
        now, kind = self._clock(), (record.name, str(getattr(record, "kind", record.msg)))
        self._written = {kind: first for kind, first in self._written.items() if now - first[0] < EVERY_S}
        if kind in self._written:
            self._occasions.count(f"more log records like: {self._written[kind][1]}")
        elif len(self._written) >= MOST_KINDS:
            self._occasions.count(OTHERS)
        else:
            self._written[kind] = now, self.format(record).partition("\n")[0][:MOST_SHOWN]
            super().emit(record)


@contextlib.contextmanager
def rate_limited_log(occasions: EventCounters) -> Iterator[None]:
    """Log through `SparingLog` while the block lasts."""
    handler, root = RateLimitedLog(occasions), logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
