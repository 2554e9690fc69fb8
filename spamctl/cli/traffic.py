"""Send traffic, show the server's verdicts, and fail if a message has none."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from spamctl.cli.options import Flags
from spamctl.cli.process import working_folder
from spamctl.cli.run import Config, Debug, Resume, RunId, Start, run_verb
from spamctl.config.traffic import TrafficOptions
from spamctl.errors import SpamctlError


def traffic(
    flags: Flags, *, config: Config = None, resume: Resume = False, run_id: RunId = None, debug: Debug = False
) -> int:
    """Send traffic, or go on with a run that was cut short."""
    from rich.console import Console

    from spamctl.reports.traffic import missing, show

    start = Start(config, run_id if run_id is not None else "" if resume else None, debug)
    if start.origin is None:
        _refuse_early(flags, start)
    _, result = run_verb(TrafficOptions, flags, start)
    if "preview" in result:
        result["preview"] = _fetched(working_folder() / result["preview"])
    show(result, Console(highlight=False))
    if fault := missing(result):
        raise SpamctlError(fault)
    return 0


def _fetched(path: Path) -> Any:
    """Return what a run left in a file for us alone, and remove the file."""
    left = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    return left


def _refuse_early(flags: Flags, start: Start) -> None:
    """Check within a moment, before a flow is started, that a server is listening."""
    from spamctl.config.sources import resolve
    from spamctl.traffic.client import require_listening

    settled = resolve(TrafficOptions, flags, config=start.config, environ=os.environ, folder=Path.cwd())
    if not settled.options.preview:
        require_listening(settled.options.target_uri)
