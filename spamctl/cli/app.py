"""Run the command `spamctl`: dispatch to the verbs, and turn every refusal into one line and an exit code."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.main import get_command

from spamctl import __version__
from spamctl.cli.demo import demo
from spamctl.cli.errands import forget, rollback, trace
from spamctl.cli.flags import Group, add_verb, usage_fault
from spamctl.cli.label import label
from spamctl.cli.launch import train
from spamctl.cli.monitor import monitor
from spamctl.cli.recalibrate import recalibrate
from spamctl.cli.score import score
from spamctl.cli.serve import serve
from spamctl.cli.stopping import tell
from spamctl.cli.topics import show_help
from spamctl.cli.traffic import traffic
from spamctl.cli.viewers import cards, ui
from spamctl.config.demo import DemoOptions
from spamctl.config.errands import ForgetOptions, RollbackOptions, TraceOptions
from spamctl.config.label import LabelOptions
from spamctl.config.monitor import MonitorOptions
from spamctl.config.recalibrate import RecalibrateOptions
from spamctl.config.score import ScoreOptions
from spamctl.config.serve import ServeOptions
from spamctl.config.traffic import TrafficOptions
from spamctl.config.train import TrainOptions
from spamctl.config.viewers import CardsOptions, HelpOptions, UiOptions
from spamctl.errors import SpamctlError, UsageError

INTERRUPTED = 130
UNWRITTEN = {errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT}  # what a full disk under standard output answers

app = typer.Typer(
    cls=Group,
    invoke_without_command=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
add_verb(app, TrainOptions, train)
add_verb(app, ServeOptions, serve)
add_verb(app, TrafficOptions, traffic)
add_verb(app, LabelOptions, label)
add_verb(app, MonitorOptions, monitor)
add_verb(app, RecalibrateOptions, recalibrate)
add_verb(app, ScoreOptions, score)
add_verb(app, RollbackOptions, rollback)
add_verb(app, ForgetOptions, forget)
add_verb(app, TraceOptions, trace)
add_verb(app, DemoOptions, demo)
add_verb(app, CardsOptions, cards)
add_verb(app, UiOptions, ui)
add_verb(app, HelpOptions, show_help)


def _tell_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"spamctl {__version__}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_tell_version)]


@app.callback(help="Train, serve and monitor your own spam filter.")
def front(context: typer.Context, *, version: Version = False) -> None:  # noqa: ARG001  (its callback answers)
    """Show the verbs if none was asked for."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(UsageError.exit_code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line, `sys.argv` if none is given, and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that reads ASCII alone gets escapes, and no failure
            stream.reconfigure(errors="backslashreplace")
    try:
        exit_code = get_command(app).main(arguments, prog_name="spamctl", standalone_mode=False) or 0
        sys.stdout.flush()
    except SpamctlError as refusal:
        return _refuse(str(refusal), refusal.exit_code)
    except typer.TyperException as error:
        return _refuse(usage_fault(error), error.exit_code)
    except KeyboardInterrupt as stop:
        tell(stop, lambda: "")
        return INTERRUPTED
    except BrokenPipeError:
        _write_no_more()  # nobody reads
        return 1
    except OSError as error:
        if error.errno not in UNWRITTEN or error.filename is not None:
            raise
        _write_no_more()
        told = f"the output cannot be written: {error.strerror}; the work is done, but its report is incomplete"
        return _refuse(told, 1)
    return exit_code


def _write_no_more() -> None:
    """Redirect standard output to the null device, so that the flush at exit does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refuse(text: str, exit_code: int) -> int:
    """Print what is wrong on standard error, one fault a line."""
    from spamctl.reports.escape import visible

    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    name = "spamctl:" if plain else typer.style("spamctl:", fg="red", bold=True)
    with contextlib.suppress(OSError):  # nobody reads that either
        for fault in text.splitlines():
            typer.echo(f"{name} {visible(fault)}", err=True)  # which drops colours where no terminal reads them
    return exit_code
