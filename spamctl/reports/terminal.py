"""Show the result of a run in the terminal: a verdict, a table of scores, the facts behind it, the next command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spamctl.reports import escape, feedback, kinds
from spamctl.reports.facts import facts, fallback, verdict
from spamctl.reports.scores import MEASURES, Score, baseline_wins, comparison, interval, number, winner

_STYLES = {"champion": "bold green", "challenger": "bold yellow", "refused": "bold red"}
_MARKS = {"champion": "✔", "challenger": "✔", "refused": "✘"}
_MARKS_ASCII = {"champion": "OK", "challenger": "OK", "refused": "NO"}


def show(result: Mapping[str, Any], console: Console) -> None:
    """Print the result of training, for 80 columns or more, with or without colour, in a terminal or a pipe."""
    for line in _lines(result, console):
        console.print(line, highlight=False, soft_wrap=False)


def _lines(result: Mapping[str, Any], console: Console) -> Iterator[Text | Table | str]:
    """Yield what is printed, from top to bottom."""
    outcome, sentence = verdict(result)
    marks = _MARKS_ASCII if console.options.ascii_only else _MARKS
    yield ""
    yield _text(f"{marks[outcome]} {sentence}", console, _STYLES[outcome])
    if loud := fallback(result):
        yield _text(f"! {loud}", console, "bold yellow")
    yield from _by_kind(result, console)
    if "scores" in result:
        yield from _evaluation(result, console)
    if compared := result.get("comparison"):
        yield _beside(compared, console)
    yield _facts(result, console)
    yield ""
    yield Text.assemble(("Next: ", "bold"), _text(result["next"], console, "bold cyan"))


def _by_kind(result: Mapping[str, Any], console: Console) -> Iterator[Text | Table | str]:
    """Yield what a user gets: good messages kept and spam caught by kind, on unseen kinds, and in the suites."""
    tables = (
        (kinds.HEADS, kinds.kind_rows(result.get("kinds", {}), ("dataset", "medium"))),
        (kinds.HEADS, kinds.kind_rows({"model": result.get("held_out_kinds", ())}, ("held out", "medium"))),
        (kinds.UNSEEN_HEADS, kinds.unseen_rows(result.get("unseen", ()))),
        (kinds.SUITE_HEADS, kinds.suite_rows(result.get("suites", {}))),
        (kinds.INVARIANCE_HEADS, kinds.invariance_rows(result.get("suites", {}))),
    )
    for heads, rows in tables:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
        for place, head in enumerate(heads):
            table.add_column(head, justify="left" if place == 0 else "right")
        for row in rows:
            table.add_row(*(_text(cell, console, "bold red" if cell == "FAILS" else "") for cell in row))
        if table.row_count:
            yield table


def _evaluation(result: Mapping[str, Any], console: Console) -> Iterator[Text | Table | str]:
    """Yield the table of scores and what the baseline says about them."""
    scores, baseline = result["scores"], result.get("baseline", {})
    yield _table(scores, baseline, console)
    if baseline_wins(scores, baseline):
        yield _text("! The linear baseline is more accurate than this model.", console, "bold red")
    if sentence := comparison(scores, baseline):
        yield _text(f" * marks the better score. {sentence}", console, "dim")
    yield ""


def _table(scores: Mapping[str, Score], baseline: Mapping[str, Score], console: Console) -> Table:
    """Return the scores beside the baseline's; the better one is bold and starred."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("test score", no_wrap=True)
    for title in ("this model", "baseline"):
        table.add_column(title, justify="right", no_wrap=True)
        table.add_column("95 % interval", style="dim", no_wrap=True)
    for measure in MEASURES:
        ours, theirs = scores.get(measure.key), baseline.get(measure.key)
        if ours is None:
            continue
        better = winner(measure, ours, theirs) if theirs else "neither"
        cells = [*_cells(ours, best=better == "model"), *(_cells(theirs, best=better == "baseline") if theirs else ())]
        table.add_row(measure.name, *(_text(cell, console, cell.style) for cell in cells))
    return table


def _beside(comparison: Mapping[str, Any], console: Console) -> Table:
    """Return the new version beside the champion, on the frozen test part and on what is new."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("score", no_wrap=True)
    for title in ("new version", f"version {comparison['champion']}"):
        table.add_column(_text(title, console), justify="right", no_wrap=True)
        table.add_column("95 % interval", style="dim", no_wrap=True)
    for part, rows, score, new, of_new, old, of_old, better in feedback.comparison_rows(comparison):
        if part:
            table.add_row(_text(f"{part}, {rows}", console, "bold"))
        new_cell = _text(f"* {new}", console, "bold") if better == "new" else _text(new, console)
        old_cell = _text(f"* {old}", console, "bold") if better == "old" else _text(old, console)
        table.add_row(_text(f" {score}", console), new_cell, _text(of_new, console), old_cell, _text(of_old, console))
    return table


def _cells(score: Score, *, best: bool) -> tuple[Text, Text]:
    """Return a score and its interval; the mark of the better one does not need colour."""
    value = Text(f"{'* ' if best else ''}{number(score['value'])}", style="bold" if best else "")
    return value, Text(interval(score))


def _facts(result: Mapping[str, Any], console: Console) -> Table:
    """Return the facts behind the scores, a name and its value a line."""
    grid = Table.grid(padding=(0, 2), pad_edge=False)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts(result):
        grid.add_row(f" {name}", _text(value, console))
    return grid


def _text(text: object, console: Console, style: Any = "") -> Text:
    """Return harmless text in characters that this terminal can show; markup in it is not read."""
    shown = (
        escape.ascii_only(str(text).replace("\N{EN DASH}", "-")) if console.options.ascii_only else escape.visible(text)
    )
    return Text(shown, style=style)
