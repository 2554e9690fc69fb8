"""Show what a recalibration changed: recall and false-positive rate before and after, and where the threshold moved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spamctl.redact import without_password
from spamctl.reports import escape, feedback, kinds
from spamctl.reports import page as pages
from spamctl.reports.facts import reach, verdict
from spamctl.reports.page import Column, Markup
from spamctl.reports.scores import number, percent

_STYLES = {"champion": "bold green", "challenger": "bold yellow", "refused": "bold red"}
_CARDS = {"champion": "verdict good", "challenger": "verdict fair", "refused": "verdict bad"}
_OF = {"recent": "recent messages", "test": "the frozen test part"}
_HEADS = ("score", "before", "95 % interval", "after", "95 % interval")


def show(result: Mapping[str, Any], console: Console) -> None:
    """Print the result of a recalibration, for 80 columns or more."""
    outcome, sentence = verdict(result)
    console.print()
    console.print(_text(sentence, console, _STYLES[outcome]))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    for place, head in enumerate(_HEADS):
        table.add_column(head, justify="right" if place else "left", no_wrap=True)
    for row in before_and_after(result):
        table.add_row(*(_text(cell, console, "bold" if not any(row[1:]) else "") for cell in row))
    console.print(table)
    grid = Table.grid(padding=(0, 2), pad_edge=False)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts(result):
        grid.add_row(f" {name}", _text(value, console))
    console.print(grid)
    console.print()
    console.print(Text.assemble(("Next: ", "bold"), _text("spamctl cards recalibrate", console, "bold cyan")))


def page(result: Mapping[str, Any]) -> str:
    """Return the card of a recalibration, for Metaflow's `html` card."""
    return pages.document(verdict(result)[1], _parts(result))


def before_and_after(result: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield the cells of the table: recall and false-positive rate on each part, under a line that names the part."""
    for part, rows, score, new, of_new, old, of_old, _ in feedback.comparison_rows(result["measured"]):
        if part:
            yield f"{part}, {rows}", "", "", "", ""
        if score != "accuracy":
            yield f" {score}", old, of_old, new, of_new


def facts(result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each fact of a recalibration as its name and its words."""
    yield "threshold", threshold(result)
    point = result["operating_point"]
    budget, upper = percent(point["max_false_positive_rate"]), percent(point["false_positive_rate_upper"])
    called = f"{point['false_positives']:,} of the good answers that it was chosen on are called spam"
    yield "budget", f"{budget} of good messages; {called} (at most {upper})"
    if ranked := ", ".join(_ranking(result)):
        yield "ROC AUC", f"{ranked}: how spam ranks stays as it was; where it is low, spamctl train --feedback helps"
    if result["reach"]:
        yield "reach", reach(result)
    if lines := result["suites"].get("lines"):
        failing = sum(bool(line["fault"]) for line in lines)
        yield "suites", f"{failing:,} of {len(lines):,} lines fail (spamctl cards recalibrate shows them)"
    yield "answers", f"{feedback.summary(result['feedback'])}, from {result['feedback']['store']}"
    yield "weights", f"those of version {result['from_version']}, byte for byte"
    if run := result.get("mlflow"):
        where = without_password(run["tracking_uri"])
        yield "MLflow run", f"{run['run_id']} in experiment {run['experiment']}, {where}"
    yield "Metaflow run", str(result["metaflow"]["run_id"])
    for note in result["notes"]:
        yield "note", note


def threshold(result: Mapping[str, Any]) -> str:
    """Describe the old and the new threshold; both are probabilities, each of its own calibration."""
    before, after = result["before"], result["after"]
    return (
        f"{number(before['threshold'])} \N{RIGHTWARDS ARROW} {number(after['threshold'])}, "
        f"which is {number(result['after_on_old_scale'])} on the scale of before"
    )


def _ranking(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield how well the version ranks spam above the rest, by part: no threshold and no calibration changes that."""
    for part, found in result["measured"]["parts"].items():
        if found["roc_auc"] is not None:
            yield f"{number(found['roc_auc'])} on {_OF[part]}"


def _parts(result: Mapping[str, Any]) -> Iterator[Markup]:
    """Yield the parts of the card, from top to bottom."""
    outcome, sentence = verdict(result)
    yield pages.element("h1", sentence, _CARDS[outcome])
    yield pages.element("h2", f"Version {result['from_version']} before, and with the new calibration and threshold")
    yield pages.table(
        [Column(head, "number" if place else "") for place, head in enumerate(_HEADS)], before_and_after(result)
    )
    yield pages.element("p", "The new calibration and threshold were fitted to none of these messages.", "quiet")
    if rows := list(kinds.suite_rows(result["suites"])):
        yield pages.element("h2", "Suites")
        yield pages.table(
            [Column(head, "number" if place else "") for place, head in enumerate(kinds.SUITE_HEADS)], rows
        )
    yield pages.element("h2", "Facts")
    yield pages.table((Column("fact"), Column("value")), facts(result))


def _text(text: object, console: Console, style: str = "") -> Text:
    """Return harmless text in characters that this terminal can show; markup in it is not read."""
    plain = str(text).replace("\N{EN DASH}", "-").replace("\N{RIGHTWARDS ARROW}", "->")
    return Text(escape.ascii_only(plain) if console.options.ascii_only else escape.visible(text), style=style)
