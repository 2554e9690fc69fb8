"""Send traffic, show the server's verdicts, and fail if a message has none."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from spamctl.cli.options import Flags
from spamctl.cli.process import working_folder
from spamctl.cli.remote import Words
from spamctl.cli.run import Config, Debug, Resume, RunId, Start, run_verb
from spamctl.config.traffic import TrafficOptions
from spamctl.errors import SpamctlError

if TYPE_CHECKING:
    from spamctl.schema.codec import JsonObject
    from spamctl.schema.traffic import Preview, TrafficResult


def traffic(
    flags: Flags,
    *,
    words: Words,
    config: Config = None,
    resume: Resume = False,
    run_id: RunId = None,
    debug: Debug = False,
) -> int:
    """Send traffic, or go on with a run that was cut short."""
    from rich.console import Console

    from spamctl.reports.traffic import missing, show

    start = Start(config, run_id if run_id is not None else "" if resume else None, debug, words)
    if start.origin is None:
        _refuse_early(flags, start)
    result = _fetched(run_verb(TrafficOptions, flags, start)[1])
    show(result, Console(highlight=False))
    if fault := missing(result):
        raise SpamctlError(fault)
    return 0


def _fetched(told: JsonObject) -> TrafficResult | Preview:
    """Return the result that a run told; a preview's messages came by a file for us alone, which is removed."""
    from spamctl.schema.codec import from_json
    from spamctl.schema.traffic import Preview, TrafficResult

    if "preview" not in told:
        return from_json(TrafficResult, told)
    path = working_folder() / str(told["preview"])
    changes = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    return from_json(Preview, {"preview": changes})


def _refuse_early(flags: Flags, start: Start) -> None:
    """Check within a moment, before a flow is started, that a server is listening."""
    from spamctl.config.sources import resolve
    from spamctl.traffic.reach import require_listening

    settled = resolve(TrafficOptions, flags, config=start.config, environ=os.environ, folder=Path.cwd())
    if not settled.options.preview:
        require_listening(settled.options.target_uri)
