"""Report the progress of a long task by `yield`, so that no room knows who displays it."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True)
class ProgressUpdate:
    """Progress of a task: `done` of `total` items."""

    task: str
    done: int
    total: int
    unit: str = "messages"


ProgressGenerator = Generator[ProgressUpdate, None, Outcome]


def ticks(done: Iterable[int], task: str, total: int, unit: str = "messages") -> Iterator[ProgressUpdate]:
    """Yield a Tick for each count in `done`."""
    for count in done:
        yield ProgressUpdate(task, count, total, unit)
