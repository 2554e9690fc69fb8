"""Tell how far a long task is, by `yield`, so that no room knows who is watching."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True)
class Tick:
    """Say that `done` of `total` items of a task are behind us."""

    task: str
    done: int
    total: int
    unit: str = "messages"


Ticking = Generator[Tick, None, Outcome]


def ticks(done: Iterable[int], task: str, total: int, unit: str = "messages") -> Iterator[Tick]:
    """Yield a Tick for each count in `done`."""
    for count in done:
        yield Tick(task, count, total, unit)
