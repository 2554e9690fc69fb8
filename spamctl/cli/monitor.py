"""Monitor once, or at an interval: show the result, post it to a URL, and return the exit code."""

from __future__ import annotations

import json
import os
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from spamctl.cli.options import Flags
from spamctl.cli.process import reporting_stop, working_folder
from spamctl.cli.remote import Words
from spamctl.cli.run import Config, Debug, Start, run_verb
from spamctl.config.monitor import MonitorOptions
from spamctl.errors import GateRefusedError, SpamctlError, UnavailableError, UsageError
from spamctl.schema.codec import JsonObject, finite

if TYPE_CHECKING:
    from rich.console import Console

    from spamctl.schema.monitor import MonitorResult

NO = {"failed": {"failed"}, "warning": {"failed", "warning"}}


def monitor(flags: Flags, *, words: Words, config: Config = None, debug: Debug = False) -> int:
    """Monitor; with --watch until Ctrl-C (raised on) or SIGTERM (exit 0)."""
    from spamctl.config.sources import resolve

    options = resolve(MonitorOptions, flags, config=config, environ=os.environ, folder=Path.cwd()).options
    start = Start(config, None, debug, words)
    return _once(flags, start) if options.watch == "none" else _watch(options.watch, flags, start)


def _once(flags: Flags, start: Start) -> int:
    """Run the flow, show what it found, and post it; raise GateRefusedError if the answer is no."""
    from rich.console import Console

    from spamctl.reports.monitor import show

    settled, told = run_verb(MonitorOptions, flags, start)
    options = settled.options
    result = fetched(told)
    show(result, Console(highlight=False))
    fault = "" if options.webhook == "none" else post(options.webhook, told)
    if result.verdict in NO[options.fail_on]:
        if fault:
            _warn(fault)
        raise GateRefusedError(_reason(result))
    if fault:
        raise UnavailableError(fault)
    return 0


def _watch(interval: str, flags: Flags, start: Start) -> int:
    """Look again and again, at even intervals; a look that fails is told in one line, and the next one comes.

    What the first look refuses as wrongly asked ends it, since it would be refused each time.
    """
    from rich.console import Console

    from spamctl.cli.process import Terminated, terminable
    from spamctl.config.options import duration

    console = Console(stderr=True, highlight=False)
    seconds, looks = duration(interval).total_seconds(), 0
    try:
        with (
            reporting_stop(lambda: f"Monitoring runs completed: {looks}; their reports are kept."),
            terminable(),
        ):
            while True:
                due = time.monotonic() + seconds
                try:
                    _once(flags, start)
                except UsageError as refusal:
                    if not looks:
                        raise
                    _tell(refusal, console)
                except SpamctlError as refusal:
                    _tell(refusal, console)
                looks += 1
                _wait(due, console)
    except Terminated:
        return 0


def _tell(refusal: SpamctlError, console: Console) -> None:
    """Print in one line what went wrong, or why the answer is no."""
    from spamctl.display import visible

    style = "bold red" if isinstance(refusal, GateRefusedError) else "bold yellow"
    for fault in str(refusal).splitlines():
        console.print(f"spamctl: {visible(fault)}", style=style, markup=False, soft_wrap=True)


def _wait(due: float, console: Console) -> None:
    """Print when the next run is, and wait for it."""
    left = max(0.0, due - time.monotonic())
    at = datetime.fromtimestamp(time.time() + left).astimezone()
    console.print(f"Next run: {at:%H:%M:%S}  (Ctrl-C stops it)", style="dim", soft_wrap=True)
    while (left := due - time.monotonic()) > 0:
        time.sleep(min(left, 1.0))


def _reason(result: MonitorResult) -> str:
    """Give the reason of the verdict in one line."""
    wrong = [check.sentence for check in result.checks if check.status == result.verdict]
    return f"monitoring: {result.verdict}" + (f": {wrong[0].rstrip('.')}" if wrong else "")


def _warn(text: str) -> None:
    """Print a warning that must not be overlooked."""
    from rich.console import Console

    Console(stderr=True, highlight=False).print(f"! {text}", style="bold yellow", markup=False, soft_wrap=True)


def fetched(told: JsonObject) -> MonitorResult:
    """Return the result that a run told, with its causes, which hold text of messages and came by a file.

    That file is for us alone, and is removed.
    """
    from spamctl.schema.codec import from_json
    from spamctl.schema.monitor import MonitorResult

    path = working_folder() / str(told["causes"])
    causes = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    return from_json(MonitorResult, told | {"causes": causes})


# Post the result of a monitoring to a URL, with limits, and without any text of a message.

TRIES = 3
PATIENCE_S = 5.0
PAUSE_S = 0.5  # doubled after each try

_WITH_TEXT = ("causes", "spamctl")
_WORTH_ANOTHER_TRY = {408, 425, 429}


def post(address: str, result: JsonObject) -> str:
    """Post the result as JSON; return why it failed in words that do not give the address away, or nothing."""
    import httpx

    fault = ""
    body = finite({name: value for name, value in result.items() if name not in _WITH_TEXT})
    for turn in range(TRIES):
        if turn:
            time.sleep(PAUSE_S * 2 ** (turn - 1))
        try:
            answer = httpx.post(address, json=body, timeout=PATIENCE_S, follow_redirects=False)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            fault = f"it does not answer ({type(error).__name__})"
            continue
        if answer.is_success:
            return ""
        fault = f"it answers {answer.status_code}"
        if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR and answer.status_code not in _WORTH_ANOTHER_TRY:
            break
    return f"the webhook was not notified: {fault}; check --webhook and its receiver"
