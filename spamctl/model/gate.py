"""Let a model into the registry only if its test accuracy reaches the threshold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Mode = Literal["point", "lower-bound"]


@dataclass(frozen=True, slots=True)
class Gate:
    """Hold what was asked, what was measured, and the answer with its reason."""

    threshold: float
    mode: Mode
    accuracy: float
    low: float
    passed: bool
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """Return the gate as plain JSON."""
        return asdict(self)


def judge(accuracy: Mapping[str, float], threshold: float, mode: Mode) -> Gate:
    """Compare an accuracy (value, low, high) with a threshold: the value, or the interval's lower end."""
    measured, name = (
        (accuracy["value"], "test accuracy")
        if mode == "point"
        else (accuracy["low"], "the lower bound of test accuracy")
    )
    passed = measured >= threshold
    reason = "" if passed else f"{name} {measured:.6g} is below --accuracy-threshold {threshold:.6g}"
    return Gate(threshold, mode, accuracy["value"], accuracy["low"], passed, reason)
