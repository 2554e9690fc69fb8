"""Show what a recalibration changed: recall and false-positive rate before and after, and where the threshold moved."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.table import Table

from spamctl.reports import html as pages
from spamctl.reports import scores, train
from spamctl.reports.html import Column, Markup
from spamctl.reports.scores import number, percent
from spamctl.reports.terminal import grid, next_command, plain
from spamctl.reports.train import mlflow_run, reach, verdict
from spamctl.schema.train import RecalibrateResult

_STYLES = {"champion": "bold green", "challenger": "bold yellow", "refused": "bold red"}
_CARDS = {"champion": "verdict good", "challenger": "verdict fair", "refused": "verdict bad"}
_OF = {"recent": "recent messages", "test": "the frozen test part"}
_HEADS = ("score", "before", "95 % interval", "after", "95 % interval")


def show(result: RecalibrateResult, console: Console) -> None:
    """Print the result of a recalibration, for 80 columns or more."""
    outcome, sentence = verdict(result)
    console.print()
    console.print(plain(sentence, console, _STYLES[outcome]))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    for place, head in enumerate(_HEADS):
        table.add_column(head, justify="right" if place else "left", no_wrap=True)
    for row in before_and_after(result):
        table.add_row(*(plain(cell, console, "bold" if not any(row[1:]) else "") for cell in row))
    console.print(table)
    console.print(grid(facts(result), console))
    for line in next_command("spamctl cards recalibrate", console):
        console.print(line)


def page(result: RecalibrateResult) -> str:
    """Return the card of a recalibration, for Metaflow's `html` card."""
    return pages.document(verdict(result)[1], _parts(result))


def before_and_after(result: RecalibrateResult) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield the cells of the table: recall and false-positive rate on each part, under a line that names the part."""
    for part, rows, score, new, of_new, old, of_old, _ in train.comparison_rows(result.measured.parts):
        if part:
            yield f"{part}, {rows}", "", "", "", ""
        if score != "accuracy":
            yield f" {score}", old, of_old, new, of_new


def facts(result: RecalibrateResult) -> Iterator[tuple[str, str]]:
    """Yield each fact of a recalibration as its name and its words."""
    yield "threshold", threshold(result)
    point = result.operating_point
    budget, upper = percent(point.max_false_positive_rate), percent(point.false_positive_rate_upper)
    called = f"{point.false_positives:,} of the good answers that it was chosen on are called spam"
    yield "budget", f"{budget} of good messages; {called} (at most {upper})"
    if ranked := ", ".join(_ranking(result)):
        yield "ROC AUC", f"{ranked}: how spam ranks stays as it was; where it is low, spamctl train --feedback helps"
    if out := reach(result.reach):
        yield "reach", out
    if lines := result.suites.lines:
        failing = sum(bool(line.fault) for line in lines)
        yield "suites", f"{failing:,} of {len(lines):,} lines fail (spamctl cards recalibrate shows them)"
    yield "answers", f"{train.feedback_summary(result.feedback)}, from {result.feedback.store}"
    yield "weights", f"those of version {result.from_version}, byte for byte"
    if run := mlflow_run(result.mlflow):
        yield "MLflow run", run
    yield "Metaflow run", result.metaflow.run_id
    for note in result.notes:
        yield "note", note


def threshold(result: RecalibrateResult) -> str:
    """Describe the old and the new threshold; both are probabilities, each of its own calibration."""
    return (
        f"{number(result.before.threshold)} \N{RIGHTWARDS ARROW} {number(result.after.threshold)}, "
        f"which is {number(result.after_on_old_scale)} on the scale of before"
    )


def _ranking(result: RecalibrateResult) -> Iterator[str]:
    """Yield how well the version ranks spam above the rest, by part: no threshold and no calibration changes that."""
    for part, found in result.measured.parts.items():
        if found.roc_auc is not None:
            yield f"{number(found.roc_auc)} on {_OF[part]}"


def _parts(result: RecalibrateResult) -> Iterator[Markup]:
    """Yield the parts of the card, from top to bottom."""
    outcome, sentence = verdict(result)
    yield pages.element("h1", sentence, _CARDS[outcome])
    yield pages.element("h2", f"Version {result.from_version} before, and with the new calibration and threshold")
    yield pages.table(
        [Column(head, "number" if place else "") for place, head in enumerate(_HEADS)], before_and_after(result)
    )
    yield pages.element("p", "The new calibration and threshold were fitted to none of these messages.", "quiet")
    if rows := list(scores.suite_rows(result.suites)):
        yield pages.element("h2", "Suites")
        yield pages.table(
            [Column(head, "number" if place else "") for place, head in enumerate(scores.SUITE_HEADS)], rows
        )
    yield pages.element("h2", "Facts")
    yield pages.table((Column("fact"), Column("value")), facts(result))
