"""Score messages of a file, a folder or standard input, show the verdicts, and fail if a message could not be read."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from spamctl.cli.environment import STATE, working_folder
from spamctl.cli.flags import Flags
from spamctl.cli.launch import Config, Debug, Start, run_verb
from spamctl.config.score import ScoreOptions
from spamctl.errors import SpamctlError, UsageError

STDIN = "-"

Messages = Annotated[str, typer.Argument(metavar="FILE", help="File or folder of messages; - reads standard input.")]


def score(flags: Flags, *, file: Messages = "", config: Config = None, debug: Debug = False) -> int:
    """Score, show, and say in the exit code whether every message could be read."""
    from rich.console import Console

    from spamctl.config.resolve import resolve
    from spamctl.reports.scored import missing, show

    if file and flags["messages"] is not None:
        raise UsageError(f"--messages {flags['messages']}: {file} is given, too; name the messages once")
    typed = {**flags, "messages": file or flags["messages"]}
    options = resolve(ScoreOptions, typed, config=config, environ=os.environ, folder=Path.cwd()).options
    with _input(options) as place:
        _, result = run_verb(ScoreOptions, typed | {"messages": place}, Start(config, None, debug))
    result |= _fetched(working_folder() / result["left"])
    show(result, Console(highlight=False))
    if fault := missing(result):
        raise SpamctlError(fault)
    return 0


@contextlib.contextmanager
def _input(options: ScoreOptions) -> Iterator[str]:
    """Yield the path of the messages; standard input is kept in a file of its own while the block runs."""
    if options.messages != STDIN:
        if not Path(options.messages).exists():
            raise UsageError(f"{options.messages}: does not exist: name a file, a folder, or - for standard input")
        yield options.messages
        return
    if sys.stdin.isatty():
        raise UsageError("nothing to score: name a file or a folder, or send messages to standard input")
    from spamctl.cli.family import terminable
    from spamctl.cli.standard_input import spool

    with terminable():
        path = spool(working_folder() / STATE, options.stdin_format, options.text_column)
        try:
            yield os.path.relpath(path)
        finally:
            path.unlink(missing_ok=True)


def _fetched(path: Path) -> Any:
    """Return what a run left in a file for us alone, and remove the file."""
    left = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    return left
