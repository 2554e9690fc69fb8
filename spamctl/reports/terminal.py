"""Show the result of a run in the terminal: a verdict, a table of scores, the facts behind it, the next command."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spamctl.reports import feedback, kinds
from spamctl.reports.console import grid, next_command, plain
from spamctl.reports.facts import facts, fallback, verdict
from spamctl.reports.scores import MEASURES, baseline_wins, comparison, interval, number, winner
from spamctl.schema.comparison import Comparison
from spamctl.schema.evaluation import GroupScores
from spamctl.schema.rates import Interval, Rates
from spamctl.schema.train import TrainResult

_STYLES = {"champion": "bold green", "challenger": "bold yellow", "refused": "bold red"}
_MARKS = {"champion": "✔", "challenger": "✔", "refused": "✘"}
_MARKS_ASCII = {"champion": "OK", "challenger": "OK", "refused": "NO"}


def show(result: TrainResult, console: Console) -> None:
    """Print the result of training, for 80 columns or more, with or without colour, in a terminal or a pipe."""
    for line in _lines(result, console):
        console.print(line, highlight=False, soft_wrap=False)


def _lines(result: TrainResult, console: Console) -> Iterator[Text | Table | str]:
    """Yield what is printed, from top to bottom."""
    outcome, sentence = verdict(result)
    marks = _MARKS_ASCII if console.options.ascii_only else _MARKS
    yield ""
    yield plain(f"{marks[outcome]} {sentence}", console, _STYLES[outcome])
    if loud := fallback(result):
        yield plain(f"! {loud}", console, "bold yellow")
    yield from _by_kind(result, console)
    if result.scores:
        yield from _evaluation(result.scores, result.baseline, console)
    if result.comparison.parts:
        yield _beside(result.comparison, console)
    yield grid(facts(result), console)
    yield from next_command(result.next, console)


def _by_kind(result: TrainResult, console: Console) -> Iterator[Text | Table | str]:
    """Yield what a user gets: good messages kept and spam caught by kind, on unseen kinds, and in the suites."""
    tables = (
        (kinds.HEADS, kinds.kind_rows(result.kinds, ("dataset", "medium"))),
        (kinds.HEADS, kinds.kind_rows(GroupScores(result.held_out_kinds), ("held out", "medium"))),
        (kinds.UNSEEN_HEADS, kinds.unseen_rows(result.unseen)),
        (kinds.SUITE_HEADS, kinds.suite_rows(result.suites)),
        (kinds.INVARIANCE_HEADS, kinds.invariance_rows(result.suites)),
    )
    for heads, rows in tables:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
        for place, head in enumerate(heads):
            table.add_column(head, justify="left" if place == 0 else "right")
        for row in rows:
            table.add_row(*(plain(cell, console, "bold red" if cell == "FAILS" else "") for cell in row))
        if table.row_count:
            yield table


def _evaluation(scores: Rates, baseline: Rates | None, console: Console) -> Iterator[Text | Table | str]:
    """Yield the table of scores and what the baseline says about them."""
    yield _table(scores, baseline, console)
    if baseline_wins(scores, baseline):
        yield plain("! The linear baseline is more accurate than this model.", console, "bold red")
    if sentence := comparison(scores, baseline):
        yield plain(f" * marks the better score. {sentence}", console, "dim")
    yield ""


def _table(scores: Rates, baseline: Rates | None, console: Console) -> Table:
    """Return the scores beside the baseline's; the better one is bold and starred."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("test score", no_wrap=True)
    for title in ("this model", "baseline"):
        table.add_column(title, justify="right", no_wrap=True)
        table.add_column("95 % interval", style="dim", no_wrap=True)
    for measure in MEASURES:
        ours, theirs = measure.of(scores), measure.of(baseline) if baseline else None
        better = winner(measure, ours, theirs) if theirs else "neither"
        cells = [*_cells(ours, best=better == "model"), *(_cells(theirs, best=better == "baseline") if theirs else ())]
        table.add_row(measure.name, *(plain(cell, console, cell.style) for cell in cells))
    return table


def _beside(comparison: Comparison, console: Console) -> Table:
    """Return the new version beside the champion, on the frozen test part and on what is new."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("score", no_wrap=True)
    for title in ("new version", f"version {comparison.champion}"):
        table.add_column(plain(title, console), justify="right", no_wrap=True)
        table.add_column("95 % interval", style="dim", no_wrap=True)
    for part, rows, score, new, of_new, old, of_old, better in feedback.comparison_rows(comparison.parts):
        if part:
            table.add_row(plain(f"{part}, {rows}", console, "bold"))
        new_cell = plain(f"* {new}", console, "bold") if better == "new" else plain(new, console)
        old_cell = plain(f"* {old}", console, "bold") if better == "old" else plain(old, console)
        table.add_row(plain(f" {score}", console), new_cell, plain(of_new, console), old_cell, plain(of_old, console))
    return table


def _cells(score: Interval, *, best: bool) -> tuple[Text, Text]:
    """Return a score and its interval; the mark of the better one does not need colour."""
    value = Text(f"{'* ' if best else ''}{number(score.value)}", style="bold" if best else "")
    return value, Text(interval(score))
