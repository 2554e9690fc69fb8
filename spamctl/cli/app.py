"""Run the command `spamctl`: dispatch to the verbs, and turn every refusal into one line and an exit code."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from typer.main import get_command

import spamctl
from spamctl import __version__
from spamctl.cli.admin import cards, forget, recalibrate, rollback, trace, ui
from spamctl.cli.demo import demo
from spamctl.cli.deploy import deploy
from spamctl.cli.label import label
from spamctl.cli.monitor import monitor
from spamctl.cli.options import Flags, VerbGroup, add_verb, usage_fault
from spamctl.cli.process import report_stop
from spamctl.cli.run import train
from spamctl.cli.score import score
from spamctl.cli.serve import serve
from spamctl.cli.traffic import traffic
from spamctl.config.admin import (
    CardsOptions,
    DemoOptions,
    ForgetOptions,
    HelpOptions,
    RollbackOptions,
    TraceOptions,
    UiOptions,
)
from spamctl.config.deploy import DeployOptions
from spamctl.config.label import LabelOptions
from spamctl.config.monitor import MonitorOptions
from spamctl.config.options import unknown
from spamctl.config.score import ScoreOptions
from spamctl.config.serve import ServeOptions
from spamctl.config.traffic import TrafficOptions
from spamctl.config.train import RecalibrateOptions, TrainOptions
from spamctl.errors import SpamctlError, UsageError

# Print the topics of `spamctl help`: short texts about what concerns more than one verb.

TOPICS = {
    **{path.stem: path for path in sorted((Path(__file__).parent / "texts").glob("*.txt"))},
    "changes": Path(spamctl.__file__).parent / "CHANGELOG.md",
}

Topic = Annotated[
    str, typer.Argument(metavar="[TOPIC]", help="A topic, or a verb.", autocompletion=lambda: list(TOPICS))
]


def text(topic: str) -> str:
    """Return a topic as it is printed."""
    return TOPICS[topic].read_text(encoding="utf-8")


def titles() -> dict[str, str]:
    """Return the first line of every topic."""
    return {topic: text(topic).partition("\n")[0].lstrip("# ") for topic in TOPICS}


def show_help(_flags: Flags, *, context: typer.Context, topic: Topic = "") -> int:
    """Print a topic, the help page of a verb, or the list of topics."""
    group = context.parent.command if context.parent else context.command
    verbs = list(getattr(group, "commands", ()))
    if topic in TOPICS:
        typer.echo(text(topic), nl=False)
    elif topic in verbs:
        command = group.get_command(context, topic)  # type: ignore[attr-defined]
        typer.echo(command.get_help(command.context_class(command, info_name=topic, parent=context.parent)))
    elif topic:
        names = [*TOPICS, *verbs]
        raise UsageError(f"{topic}: {unknown(topic, names, what='topic', otherwise='there are ' + ', '.join(TOPICS))}")
    else:
        width = max(map(len, TOPICS))
        for name, line in titles().items():
            typer.echo(f"{name:<{width}}  {line}")
    return 0


INTERRUPTED = 130
UNWRITTEN = {errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT}  # what a full disk under standard output answers

app = typer.Typer(
    cls=VerbGroup,
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
add_verb(app, DeployOptions, deploy)
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
        report_stop(stop, lambda: "")
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
    from spamctl.display import visible

    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    name = "spamctl:" if plain else typer.style("spamctl:", fg="red", bold=True)
    with contextlib.suppress(OSError):  # nobody reads that either
        for fault in text.splitlines():
            typer.echo(f"{name} {visible(fault)}", err=True)  # which drops colours where no terminal reads them
    return exit_code
