"""Show in the terminal what a monitoring found: the verdict, the checks, the alarms, and how good the model is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spamctl.reports import escape
from spamctl.reports.monitored import (
    SIDES,
    advised,
    breakdowns,
    cells_of,
    facts,
    following,
    headline,
    labels,
    loud,
    ordered,
    quality_rows,
    terms,
)
from spamctl.reports.monitored import trust as trusted
from spamctl.schema.monitor import Check, MonitorResult, Outcome

_STYLES = {"ok": "bold green", "warning": "bold yellow", "failed": "bold red", "not done": "dim"}
_MARKS = {"ok": "✔", "warning": "!", "failed": "✘", "not done": "-"}
_MARKS_ASCII = {"ok": "OK", "warning": "!!", "failed": "NO", "not done": "--"}
_TESTS = ("test", "reference", "current", "thresholds", "")
_QUALITY = ("quality", "measured", "95 % interval", "estimated", "95 % interval")
_GROUPS = ("rows", "accuracy", "recall", "FPR")
_MOST_WORDS = 8
_MOST_GROUPS = 6
_WIDEST_WORD = 32


def show(result: MonitorResult, console: Console) -> None:
    """Print the finding, for 80 columns or more, with or without colour, in a terminal or a pipe."""
    for line in _lines(result, console):
        console.print(line, highlight=False, soft_wrap=False)
    told = Text.assemble(("Next: ", "bold"), _text(following(result), console, "bold cyan"))
    console.print(told, highlight=False, soft_wrap=True)  # a command that can be copied is not broken


def _lines(result: MonitorResult, console: Console) -> Iterator[Text | Table | str]:
    """Yield what is printed, from top to bottom."""
    verdict = result.verdict
    yield ""
    yield _text(f"{_mark(verdict, console)} {headline(result)}", console, _STYLES[verdict])
    for warning in loud(result):
        yield _text(f"! {warning}", console, "bold yellow")
    yield ""
    yield _checks(result.checks, console)
    if result.tests:
        yield _tests(ordered(result.tests), console)
    yield from _quality(result, console)
    yield from _causes(result, console)
    yield _grid(facts(result), console)
    yield ""
    yield _text("The whole report: spamctl cards monitor", console, "dim")


def _checks(checks: Iterable[Check], console: Console) -> Table:
    """Return each check with its mark, its sentence, and what to do if it is not ok."""
    grid = Table.grid(padding=(0, 1), pad_edge=False)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for check, advice in advised(checks):
        style = _STYLES[check.status]
        mark = _text(f" {_mark(check.status, console)}", console, style)
        grid.add_row(mark, _short(check.name, console), _text(check.sentence, console))
        if advice:
            grid.add_row("", "", _text(f"-> {advice}", console, "cyan"))
    return grid


def _tests(tests: Iterable[Outcome], console: Console) -> Table:
    """Return each test: the two values, and how many times its threshold the statistic is."""
    table = _table(_TESTS)
    for test in tests:
        rings = _text("ALARM" if test.alarm else "", console, "bold red")
        name, *figures = cells_of(test)[:4]
        cells = [_short(name, console), *(_text(cell, console) for cell in figures)]
        table.add_row(*cells, rings, style="bold" if test.alarm else "")
    return table


def _quality(result: MonitorResult, console: Console) -> Iterator[Text | Table | str]:
    """Yield what was measured on labels beside what is expected without, and by version, source and family."""
    if rows := list(quality_rows(result)):
        table = _table(_QUALITY)
        for row in rows:
            table.add_row(*(_text(cell, console) for cell in row))
        yield table
    facts_of_quality = [("labels", labels(result)), ("estimate", trusted(result))]
    yield _grid(facts_of_quality, console)
    for by, groups in breakdowns(result.quality_by):
        if len(groups) > 1:
            table = _table((f"by {by}", *_GROUPS))
            for name, *cells in groups[:_MOST_GROUPS]:
                table.add_row(_short(name, console), *(_text(cell, console) for cell in cells))
            yield table
    yield ""


def _causes(result: MonitorResult, console: Console) -> Iterator[Text | Table | str]:
    """Yield the words that moved most, those of spam and those of the rest apart."""
    words = [
        (name, ", ".join(_clipped(term) for term, *_ in terms(result, side)[:_MOST_WORDS]))
        for side, name in SIDES.items()
    ]
    if any(told for _, told in words):
        yield _text("Largest changes (words and phrases)", console, "bold")
        yield _grid([(name, told or "nothing") for name, told in words], console)
        yield ""


def _table(heads: Sequence[str]) -> Table:
    """Return an empty table of a name and right-aligned figures."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    for place, head in enumerate(heads):
        style = "dim" if "%" in head else ""
        table.add_column(head, justify="right" if place else "left", style=style, no_wrap=True)
    return table


def _grid(rows: Iterable[tuple[str, str]], console: Console) -> Table:
    """Return a name and its value a line."""
    grid = Table.grid(padding=(0, 2), pad_edge=False)
    grid.add_column(style="dim", no_wrap=True, min_width=13)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(f" {name}", _text(value, console))
    return grid


def _mark(status: str, console: Console) -> str:
    """Return the mark of a status, in characters that the terminal has."""
    return (_MARKS_ASCII if console.options.ascii_only else _MARKS)[status]


def _clipped(text: object) -> str:
    """Return a name that cannot push the rest of its line away."""
    shown = escape.visible(text)
    return shown if len(shown) <= _WIDEST_WORD else f"{shown[: _WIDEST_WORD - 3]}..."


def _short(text: object, console: Console) -> Text:
    """Return a clipped name for a cell that does not wrap."""
    return _text(_clipped(text), console)


def _text(text: object, console: Console, style: str = "") -> Text:
    """Return harmless text in characters that this terminal can show; markup in it is not read."""
    return Text(escape.ascii_only(text) if console.options.ascii_only else escape.visible(text), style=style)
