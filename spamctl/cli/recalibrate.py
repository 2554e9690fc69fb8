"""Fit a version's calibration and threshold anew, show before and after, and answer with the exit code."""

from __future__ import annotations

from spamctl.cli.flags import Flags
from spamctl.cli.launch import Config, Debug, Start, run_verb
from spamctl.config.recalibrate import RecalibrateOptions
from spamctl.errors import GateRefusedError
from spamctl.schema.codec import from_json
from spamctl.schema.recalibrate import RecalibrateResult


def recalibrate(flags: Flags, *, config: Config = None, debug: Debug = False) -> int:
    """Recalibrate, and say whether the new version leads; it is refused where it does not, as after a training."""
    from rich.console import Console

    from spamctl.reports.recalibration import show

    _, told = run_verb(RecalibrateOptions, flags, Start(config, None, debug))
    result = from_json(RecalibrateResult, told)
    show(result, Console(highlight=False))
    if result.alias != "champion":
        raise GateRefusedError(result.reason)
    return 0
