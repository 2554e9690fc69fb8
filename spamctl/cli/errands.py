"""Run rollback, forget and trace in a process of their own, and show the answer."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spamctl.cli.environment import child_environment, working_folder
from spamctl.cli.flags import Flags
from spamctl.cli.stopping import telling
from spamctl.config.errands import ForgetOptions, RollbackOptions, TraceOptions
from spamctl.config.options import Options
from spamctl.errors import SpamctlError, UsageError

if TYPE_CHECKING:
    from spamctl.schema.errands import ErrandAnswer

# What an errand leaves that is stopped: each writes once, at its end.
LEFT = {
    "rollback": "The champion was replaced completely or not at all: spamctl ui shows which version it is.",
    "forget": "spamctl trace shows whether the row still exists; run spamctl forget again to finish.",
    "trace": "Nothing was changed.",
}

Uuid = Annotated[str, typer.Argument(metavar="UUID", help="The uuid of the answer.")]

MaybeUuid = Annotated[str, typer.Argument(metavar="[UUID]", help="The uuid of the answer.")]


def rollback(flags: Flags) -> int:
    """Make an earlier version champion."""
    return _run(RollbackOptions, flags)


def forget(flags: Flags, *, uuid: MaybeUuid = "") -> int:
    """Remove a row, or many, for good; exit 1 if something of them could not be reached, or was not found."""
    from spamctl.config.resolve import resolve

    chosen = resolve(ForgetOptions, flags, config=None, environ=os.environ, folder=Path.cwd()).options
    named = (chosen.older_than, chosen.matching) != ("never", "none")  # by a flag, or by a variable
    if uuid and named:
        raise UsageError("a uuid, --older-than and --matching name different rows; give one of them")
    if not uuid and not named:
        raise UsageError("forget: nothing is named: give a uuid, --older-than 90d or --matching FILE")
    return _run(ForgetOptions, flags, uuid=uuid)


def trace(flags: Flags, *, uuid: Uuid) -> int:
    """Follow an answer back."""
    return _run(TraceOptions, flags, uuid=uuid)


def _run(options: type[Options], flags: Flags, **argument: str) -> int:
    """Run the errand in a child process, and show its answer."""
    from rich.console import Console

    from spamctl.cli.family import Family
    from spamctl.config.resolve import resolve
    from spamctl.reports.errands import show
    from spamctl.schema.codec import from_json
    from spamctl.schema.errands import ErrandAnswer

    settled = resolve(options, flags, config=None, environ=os.environ, folder=Path.cwd())
    folder = working_folder()
    command = [sys.executable, "-m", "spamctl.flows.errands"]
    answer: ErrandAnswer | None = None
    last = ""
    with (
        telling(lambda: LEFT[options.verb]),
        Family(
            command, environment=child_environment(settled.variables, folder), folder=folder, listens=True
        ) as family,
    ):
        family.say(json.dumps({**settled.options.items(), **argument, "verb": options.verb}))
        for last in family.lines():
            answer = from_json(ErrandAnswer, json.loads(last)["errand"]) if last.startswith('{"errand"') else answer
    if answer is None:
        raise SpamctlError(f"{options.verb} ended without an answer: {last}")
    if answer.refusal is not None:
        raise (UsageError if answer.exit_code == UsageError.exit_code else SpamctlError)(answer.refusal)
    show(answer, Console(highlight=False))
    return 1 if answer.forget and (answer.forget.left or answer.forget.unknown) else 0
