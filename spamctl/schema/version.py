"""Define a version of a registered model, what it must reach to be registered, and the runs that it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Mode = Literal["point", "lower-bound"]


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A version of a registered model and the local folder of its package."""

    name: str
    version: str
    alias: str  # the alias that was followed, or nothing
    folder: str
    digest: str = ""  # the package's
    sealed: bool = True  # the registry knows the digest, and it is that
    remembered: bool = False  # the registry did not answer: what it said last was used


@dataclass(frozen=True, slots=True)
class Gate:
    """The accuracy threshold, the measurement, and the decision with its reason; shares lie in 0 to 1.

    `majority` is the larger class's share: what a model that gives every message the same verdict is right on.
    """

    threshold: float
    mode: Mode
    accuracy: float
    low: float
    majority: float
    passed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class MlflowRun:
    """Where a run is tracked; `tracking_uri` holds no password."""

    tracking_uri: str
    experiment: str
    run_id: str


@dataclass(frozen=True, slots=True)
class MetaflowRun:
    """The run of the flow, as Metaflow numbers it."""

    run_id: str
