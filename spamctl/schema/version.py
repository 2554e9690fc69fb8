"""Define a version of a registered model and what it comes from, and the results of rollback, forget and trace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

# Define a version of a registered model, what it must reach to be registered, and the runs that it comes from.

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


# Define the results of the short verbs rollback, forget and trace.


@dataclass(frozen=True, slots=True)
class RollbackResult:
    """A model's name, and the version that was champion before (empty: none) and is now."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class ForgetResult:
    """Counts of a removal: rows, what belonged to them, rows removed before, and rows left with the very same text.

    `unknown` are the wishes, from 1 on, that no row answers; `date` is when a single row was removed. `wish` names the
    age or the file of wishes, which is `listed` if it holds messages itself. `places` counts what was cleaned by place,
    `left` says what could not be reached.
    """

    rows: int
    related: int
    already: int
    unknown: tuple[int, ...]
    copies: int
    store: str
    date: str
    kind: Literal["uuid", "older_than", "matching"]
    wish: str
    listed: bool
    places: Mapping[str, int]
    left: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TraceResult:
    """An answer's chain back to the code, link by link, and its text if that was asked for; the text is hostile."""

    chain: Mapping[str, str]
    text: str | None
