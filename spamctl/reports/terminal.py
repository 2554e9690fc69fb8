"""Lay out what a terminal shows: harmless text, facts on lines of their own, and the command to type next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from spamctl import display

_ASCII = {"\N{EN DASH}": "-", "\N{RIGHTWARDS ARROW}": "->"}


def plain(text: object, console: Console, style: Any = "") -> Text:
    """Return harmless text in characters that this terminal can show; markup in it is not read."""
    if not console.options.ascii_only:
        return Text(display.visible(text), style=style)
    written = str(text)
    for sign, letters in _ASCII.items():
        written = written.replace(sign, letters)
    return Text(display.ascii_only(written), style=style)


def grid(facts: Iterable[tuple[str, str]], console: Console, *, width: int = 0) -> Table:
    """Return facts, a name and its value a line; names take `width` columns at least."""
    table = Table.grid(padding=(0, 2), pad_edge=False)
    table.add_column(style="dim", no_wrap=True, min_width=width or None)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(f" {name}", plain(value, console))
    return table


def next_command(command: str, console: Console) -> Iterator[Text]:
    """Yield an empty line and the command to type next."""
    yield Text()
    yield Text.assemble(("Next: ", "bold"), plain(command, console, "bold cyan"))
