"""Show in the terminal a server's verdicts on traffic, or a preview of messages before and after drift."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spamctl.reports import escape
from spamctl.reports.sent import counts, facts, following, headline, judged_rows, missing
from spamctl.schema.traffic import Change, Preview, TrafficResult

_HEADS = ("messages", "n", "spam", "accuracy", "95 % interval", "recall", "FPR")
_SHOWN = (0, 1, 2, 3, 4, 5, 7)  # of the nine cells of a row; 80 columns hold one interval


def show(result: TrafficResult | Preview, console: Console) -> None:
    """Print the result of a run, for 80 columns or more, with or without colour, in a terminal or a pipe."""
    for line in _preview(result.preview, console) if isinstance(result, Preview) else _lines(result, console):
        console.print(line, highlight=False, soft_wrap=isinstance(line, Text))


def _lines(result: TrafficResult, console: Console) -> Iterator[Text | Table | str]:
    """Yield what is printed, from top to bottom."""
    failed = bool(missing(result))
    marks = ("OK", "NO") if console.options.ascii_only else ("✔", "✘")
    yield ""
    yield _text(f"{marks[failed]} {headline(result)}", console, "bold red" if failed else "bold green")
    yield ""
    yield _grid(counts(result), console)
    if result.judged:
        yield _table(judged_rows(result), console)
    yield _grid(facts(result), console)
    yield ""
    yield Text.assemble(("Next: ", "bold"), _text(following(result), console, "bold cyan"))


def _preview(changes: Sequence[Change], console: Console) -> Iterator[Text | str]:
    """Yield each message before and after, hidden characters as escapes, and what was not done."""
    for number, change in enumerate(changes, start=1):
        before, after = change.before, change.after
        same = before.text == after.text
        yield ""
        yield _text(f"{number}. {after.drift_type}, dose {after.dose:g}: {after.label}", console, "bold")
        yield Text.assemble(("  before  ", "dim"), _text(before.text, console))
        yield Text.assemble(("  after   ", "dim"), _text("(the same)" if same else after.text, console))
    yield ""
    yield _text("Nothing was sent. Leave out --preview to send.", console)


def _table(rows: Iterable[Sequence[str]], console: Console) -> Table:
    """Return accuracy, recall and false-positive rate, all in all and by group."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    for index, head in enumerate(_HEADS):
        dim = "dim" if "%" in head else ""
        table.add_column(head, justify="right" if index else "left", style=dim, no_wrap=bool(index), overflow="fold")
    for row in rows:
        table.add_row(*(_text(row[place], console) for place in _SHOWN))
    return table


def _grid(rows: Iterable[tuple[str, str]], console: Console) -> Table:
    """Return a name and its value a line."""
    grid = Table.grid(padding=(0, 2), pad_edge=False)
    grid.add_column(style="dim", no_wrap=True, min_width=12)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(f" {name}", _text(value, console))
    return grid


def _text(text: object, console: Console, style: str = "") -> Text:
    """Return harmless text in characters that this terminal can show; markup in it is not read."""
    return Text(escape.ascii_only(text) if console.options.ascii_only else escape.visible(text), style=style)
