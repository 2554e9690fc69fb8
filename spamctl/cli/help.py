"""Lay out the help pages: panels on a terminal, plain text anywhere else."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from rich.box import ROUNDED
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from spamctl import __version__
from spamctl.config.options import Option, number
from spamctl.config.verbs import OTHER_VARIABLES, VERBS

WIDEST = 110
Row = tuple[Text, Text]


def front_page(ctx: Any) -> str:
    """Lay out `spamctl --help`: the verbs and what each does."""
    verbs = [(name, ctx.command.get_command(ctx, name)) for name in ctx.command.list_commands(ctx)]
    rows = [(Text(name, "bold cyan"), Text(verb.help)) for name, verb in verbs]
    return _page(
        Text.assemble(("spamctl", "bold"), f" {__version__}  {ctx.command.help}"),
        _usage(ctx, "VERB [OPTIONS]"),
        _section("Verbs", rows),
        _section("Options", [_row(parameter, None) for parameter in _listed(ctx)]),
        _section("Variables", [(Text(name, "bold cyan"), Text(purpose)) for name, purpose in OTHER_VARIABLES.items()]),
        _foot(
            "spamctl VERB --help shows the options of a verb, spamctl help lists topics.",
            "Start with spamctl train: it needs no data, no GPU and no account.",
        ),
    )


def verb_page(ctx: Any, *, advanced: bool = False) -> str:
    """Lay out a verb's help: a panel per group of options, each with its allowed values, default and variable.

    The page of `--help` leaves out the advanced options and says so in its last line; `--help-all` adds their panels.
    """
    options = VERBS[ctx.command.name]
    declared = {option.name: option for option in options.declared()}
    panels: dict[str, list[Row]] = {}
    for parameter in sorted(_listed(ctx), key=lambda it: it.name in declared and declared[it.name].advanced):
        option = declared.get(parameter.name)
        if advanced or option is None or not option.advanced:
            panels.setdefault(_group(parameter, option), []).append(_row(parameter, option))
    panels["This run"] = panels.pop("This run")
    left_out = [] if advanced else [option for option in declared.values() if option.advanced]
    more = f"{len(left_out)} advanced options are not shown: {ctx.command_path} --help-all lists every option."
    return _page(
        Text(ctx.command.help),
        _usage(ctx, " ".join(sorted(ctx.command.collect_usage_pieces(ctx), key=lambda piece: piece == "[OPTIONS]"))),
        *(_section(name, rows) for name, rows in panels.items()),
        _foot(
            "Flags override variables (of the shell or of a .env file here), which override keys in --config.",
            f"Example: {options.example}",
            *([more] if left_out else []),
        ),
    )


def _group(parameter: Any, option: Option | None) -> str:
    if option:
        return f"{option.group} (advanced)" if option.advanced else option.group
    return "This run" if parameter.param_type_name == "option" else "Argument"


def _listed(ctx: Any) -> Iterator[Any]:
    return (parameter for parameter in ctx.command.get_params(ctx) if not getattr(parameter, "hidden", False))


def _foot(*lines: str) -> RenderableType:
    return Padding(Text("\n".join(lines), "dim"), (0, 0, 0, 1))


def _usage(ctx: Any, rest: str) -> Text:
    return Text.assemble(("Usage: ", "yellow"), (f"{ctx.command_path} {rest}", "bold"))


def _row(parameter: Any, option: Option | None) -> Row:
    names = sorted(parameter.opts, key=len) if parameter.param_type_name == "option" else [parameter.metavar]
    purpose = Text(parameter.help or "")
    if option:
        purpose.append("\n").append(_small_print(option), "dim")
    return Text(", ".join([*names, *parameter.secondary_opts]), "bold cyan"), purpose


def _small_print(option: Option) -> str:
    """Describe the allowed values, the default, and the variable of an option."""
    default = number(option.default) if isinstance(option.default, float) else str(option.default).lower()
    return "; ".join(filter(None, [option.allowed, f"default {default}", option.variable]))


def _section(title: str, rows: Iterable[Row]) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    for row in rows:
        table.add_row(*row)
    if _is_drawn():
        return Panel(table, title=Text(title, "bold"), title_align="left", box=ROUNDED, border_style="dim")
    return Group(Text(f"{title}:"), Padding(table, (0, 0, 1, 2)))


def _page(*parts: RenderableType) -> str:
    """Lay the parts out at the width of the terminal; escape codes only where they are read as colours."""
    paper = io.StringIO()
    width = min(shutil.get_terminal_size().columns, WIDEST)
    console = Console(file=paper, width=width, force_terminal=_is_drawn(), highlight=False, markup=False, emoji=False)
    head, usage, *rest = parts
    console.print(Padding(head, (1, 1, 0, 1)), Padding(usage, (1, 1)), sep="", end="")
    console.print(*rest, sep="\n")
    return "\n".join(line.rstrip() for line in paper.getvalue().splitlines()) + "\n"


def _is_drawn() -> bool:
    """Return whether boxes and colours would be seen as such."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and "utf" in (sys.stdout.encoding or "").lower()
