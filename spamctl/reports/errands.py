"""Say in the terminal what an errand did: the step back, what was forgotten, or where an answer comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from spamctl.reports import escape


def show(verb: str, told: Mapping[str, Any], console: Console) -> None:
    """Print the answer of an errand."""
    if verb == "trace":
        _chain(told, console)
        return
    for line in (rolled_back if verb == "rollback" else forgotten)(told):
        console.print(_text(line, console), soft_wrap=True)


def rolled_back(told: Mapping[str, Any]) -> Iterator[str]:
    """Yield what leads now."""
    before = f", version {told['before']} before" if told["before"] else ""
    yield f"{told['name']}: version {told['after']} is champion{before}; a running server follows within seconds"


def forgotten(told: Mapping[str, Any]) -> Iterator[str]:
    """Yield what was removed, and what may be left elsewhere."""
    if told["already"]:
        yield f"forgotten before, on {told['date']}: {told['store']} holds no such row"
        return
    more = f" and {told['related']:,} labels, truths and shadow verdicts of it" if told["related"] else ""
    yield f"forgotten: the row{more}, in {told['store']}; no later training learns it, or a near duplicate of it"
    if told["copies"]:
        rows = "1 other row holds" if told["copies"] == 1 else f"{told['copies']:,} other rows hold"
        yield f"{rows} the very same text and is still there: forget each by its uuid"
    yield "a version that has learnt it, and what its run keeps, stay as they are: train anew to replace it"


def _chain(told: Mapping[str, Any], console: Console) -> None:
    """Print an answer's chain, a link a line."""
    grid = Table.grid(padding=(0, 2), pad_edge=False)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in told["chain"].items():
        grid.add_row(name, _text(value, console))
    if told["text"] is not None:
        grid.add_row("text", _text(told["text"], console))
    console.print(grid)


def _text(text: str, console: Console) -> Text:
    """Return harmless text in characters that this terminal can show."""
    return Text(escape.ascii_only(text) if console.options.ascii_only else escape.visible(text))
