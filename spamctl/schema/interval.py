"""Hold a measured value with its 95 % interval."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interval:
    """A measured value and the ends of its 95 % interval, in the value's own unit (shares lie in 0 to 1)."""

    value: float
    low: float
    high: float
