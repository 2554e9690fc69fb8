"""Define what steps of a flow are given where they run on another machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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
