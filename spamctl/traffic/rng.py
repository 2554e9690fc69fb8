"""Draw random values that are the same on every machine and every Python."""

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class SeededRandom:
    """Random stream that a key alone decides.

    Of Python's generator only the seeding by a whole number and `random()` are promised to stay as they are, so every
    other draw is made of these two; `hash` would give another stream in each process.
    """

    def __init__(self, *key: str | int) -> None:
        name = "\x1f".join(map(str, key)).encode("utf-8", "surrogatepass")
        self._lot = random.Random(int.from_bytes(hashlib.sha256(name).digest(), "big")).random

    def lot(self) -> float:
        """Return a number in [0, 1)."""
        return self._lot()

    def below(self, count: int) -> int:
        """Return a whole number from 0 to `count` - 1."""
        return int(self._lot() * count)

    def between(self, low: int, high: int) -> int:
        """Return a whole number from `low` to `high`, both included."""
        return low + self.below(high - low + 1)

    def pick(self, options: Sequence[T]) -> T:
        """Return one of the options."""
        return options[self.below(len(options))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """Return the items in another order (Fisher and Yates)."""
        order = list(items)
        for place in range(len(order) - 1, 0, -1):
            other = self.below(place + 1)
            order[place], order[other] = order[other], order[place]
        return order


def whole(share: float, count: int) -> int:
    """Return how many of `count` a share is, half rounded up."""
    return int(share * count + 0.5)
