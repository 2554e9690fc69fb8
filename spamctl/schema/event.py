"""Define the events of a flow, and what its steps are given where they run on another machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from spamctl.schema.codec import JsonObject
from spamctl.schema.serve import Releases

# Define the events of a flow: the stage of a step, its progress, its outcome.


@dataclass(frozen=True, slots=True)
class Stage:
    """A step that begins, the `index`-th `of` all; `stage` is its short name."""

    stage: str
    title: str
    index: int
    of: int


@dataclass(frozen=True, slots=True)
class Progress:
    """Items of a task that are done, of all, in `unit`."""

    task: str
    done: float
    total: float
    unit: str


@dataclass(frozen=True, slots=True)
class Metric:
    """A measurement, after an epoch of training if it is of one."""

    name: str
    value: float
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """A fact that the user should see."""

    text: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A warning about something the user may not expect."""

    text: str


@dataclass(frozen=True, slots=True)
class Found(Releases):
    """The releases that a server is to load, before they are verified."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The reason, in one line, why a run ends, and the exit code that tells of what kind it is."""

    text: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class Failure:
    """The type and the words of an error in a step that nobody foresaw."""

    text: str
    stage: str


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a whole run of a verb, as plain JSON values with the verb among them."""

    verb: str
    told: JsonObject


Event = Stage | Progress | Metric | Note | Notice | Found | Refusal | Failure | Result


# Define what steps of a flow are given where they run on another machine.

VARIABLE = "SPAMCTL_STEP_SETUP"  # under which the launcher hands it on, as JSON
FILES = "handed_files"  # Metaflow's parameter for the files
LEFT = "left_files"  # a run's value: the files that its steps wrote for the caller, bytes by path


@dataclass(frozen=True, slots=True)
class StepSetup:
    """Variables that steps inherit and those that their job's secret must hold, files, and resources by step.

    `resources` are in Metaflow's words: gpu and cpu in pieces, memory in MB.
    """

    variables: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    files: bool = False
    resources: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
