"""Write what every result in a terminal shares: harmless text, the grid of facts, and the next command."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from spamctl.reports import escape

_ASCII = {"\N{EN DASH}": "-", "\N{RIGHTWARDS ARROW}": "->"}


def plain(text: object, console: Console, style: Any = "") -> Text:
    """Return harmless text in characters that this terminal can show; markup in it is not read."""
    if not console.options.ascii_only:
        return Text(escape.visible(text), style=style)
    written = str(text)
    for sign, letters in _ASCII.items():
        written = written.replace(sign, letters)
    return Text(escape.ascii_only(written), style=style)


def grid(facts: Iterable[tuple[str, str]], console: Console) -> Table:
    """Return facts, a name and its value a line."""
    table = Table.grid(padding=(0, 2), pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(f" {name}", plain(value, console))
    return table


def next_command(command: str, console: Console) -> Iterator[Text]:
    """Yield an empty line and the command to type next."""
    yield Text()
    yield Text.assemble(("Next: ", "bold"), plain(command, console, "bold cyan"))
