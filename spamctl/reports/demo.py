"""Report a demonstration act by act, in the terminal and on one page with every card."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from spamctl.reports import terminal
from spamctl.reports.figures import BLUE, GREY, ORANGE, canvas, name_axes, png
from spamctl.reports.html import Column, Markup, beside, document, element, link, pictures, table
from spamctl.schema.monitor import MonitorResult, Quality
from spamctl.schema.rates import Interval

_COLUMNS = (Column("act", "number"), Column("what"), Column("typed", "typed"), Column("result"))
_RATES: dict[str, Callable[[Quality], Interval | None]] = {
    "accuracy": lambda quality: quality.accuracy,
    "recall": lambda quality: quality.recall,
    "false-positive rate": lambda quality: quality.false_positive_rate,
}


@dataclass(frozen=True, slots=True)
class Act:
    """One act: its title, the equivalent command, its result in words, seconds, and what a monitoring found."""

    title: str
    command: str
    figure: str
    seconds: float
    monitored: MonitorResult | None = None


def announce(number: int, title: str, command: str, console: Console) -> None:
    """Print which act begins, and the equivalent command."""
    console.print()
    console.print(terminal.plain(f"━━ {number}. {title}", console, "bold"))
    console.print(terminal.plain(f"   $ {command}", console, "dim"), soft_wrap=True)


def show(acts: Sequence[Act], seconds: float, page: str, console: Console) -> None:
    """Print the whole story as a table, and where its page is."""
    grid = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    for head in ("act", "what", "result", "seconds"):
        grid.add_column(head, justify="right" if head in {"act", "seconds"} else "left", overflow="fold")
    for number, act in enumerate(acts, start=1):
        cells = (str(number), act.title, act.figure, f"{act.seconds:.0f}")
        grid.add_row(*(terminal.plain(cell, console) for cell in cells))
    console.print()
    console.print(grid)
    console.print(terminal.plain(sentence(acts), console, "bold green" if is_good(acts) else "bold yellow"))
    console.print(terminal.plain(f" {seconds:.0f} s in all; nothing is left running", console, "dim"))
    for line in terminal.next_command(f"open {page}", console):
        console.print(line, soft_wrap=True)


def sentence(acts: Sequence[Act]) -> str:
    """Summarise the demonstration in one sentence of figures."""
    told = {name: [_rate(result, name) for _, result in _watches(acts)] for name in _RATES}
    before, after, again = (f"{value:.3f}" for value in told.pop("accuracy"))
    more = ", ".join(f"{name} {_path(values)}" for name, values in told.items())
    return f"Accuracy: {before} before drift, {after} under drift, {again} after retraining ({more})"


def is_good(acts: Sequence[Act]) -> bool:
    """Return whether retraining made no rate worse than under drift."""
    kept = []
    for name in _RATES:
        _, after, again = (_rate(result, name) for _, result in _watches(acts))
        if after is not None and again is not None:
            kept.append(again <= after if name == "false-positive rate" else again >= after)
    return all(kept)


def _path(values: Iterable[float | None]) -> str:
    """Write a rate at each watch; one that no row told is unknown."""
    return " → ".join("n/a" if value is None else f"{value:.3f}" for value in values)


def page(acts: Sequence[Act], cards: Sequence[Path]) -> str:
    """Return the page of the story; `cards` are the pages to link, below the folder `reports`."""
    return document("The life of a spam filter", _parts(acts, cards))


def _parts(acts: Sequence[Act], cards: Sequence[Path]) -> Iterator[Markup]:
    yield element("h1", sentence(acts), "verdict good" if is_good(acts) else "verdict fair")
    yield pictures({"the_story": _plot(acts)})
    yield element("h2", "What was done")
    rows = ((number, act.title, act.command, act.figure) for number, act in enumerate(acts, start=1))
    yield table(_COLUMNS, rows)
    yield element("h2", "Monitoring reports")
    for title, result in _watches(acts):
        yield element("p", title, "quiet")
        columns = (Column("check"), Column("status"), Column("finding"))
        yield table(columns, ((check.name, check.status, check.sentence) for check in result.checks))
    yield element("h2", "All cards")
    places = filter(beside, (path.relative_to("reports").as_posix() for path in cards))  # others' files may lie there
    yield table((Column("page"),), ((link(place.removesuffix(".html"), place),) for place in places))


def _watches(acts: Sequence[Act]) -> list[tuple[str, MonitorResult]]:
    """Return the title and the result of each act that monitored."""
    return [(act.title, act.monitored) for act in acts if act.monitored]


def _rate(result: MonitorResult, name: str) -> float | None:
    found = _RATES[name](result.quality) if result.quality else None
    return found.value if found else None


def _plot(acts: Sequence[Act]) -> bytes:
    """Draw accuracy with its interval, and the drift score, at each watch."""
    watches = _watches(acts)
    accuracies = [result.quality.accuracy for _, result in watches if result.quality and result.quality.accuracy]
    drift = [result.drift_score or 0.0 for _, result in watches]
    return story_plot([title.removeprefix("Monitor: ") for title, _ in watches], accuracies, drift)


# Plot accuracy and drift by round of the demonstration.


def story_plot(names: Sequence[str], accuracies: Sequence[Interval], drift: Sequence[float]) -> bytes:
    """Return a PNG of two panels: accuracy with its 95 % interval, and the drift score beside its alarm line."""
    places = range(len(names))
    values = [accuracy.value for accuracy in accuracies]
    lows = [max(0.0, accuracy.value - accuracy.low) for accuracy in accuracies]
    highs = [max(0.0, accuracy.high - accuracy.value) for accuracy in accuracies]
    figure, (left, right) = canvas(
        "Accuracy of the filter, and drift of its messages",
        "Bars are 95 % intervals; the dashed line is the alarm.",
        panels=2,
    )
    left.errorbar(places, values, yerr=[lows, highs], fmt="o-", color=BLUE, capsize=4, markersize=6)
    right.bar(places, drift, color=[ORANGE if score >= 1 else BLUE for score in drift], width=0.5)
    right.axhline(1.0, color=GREY, linestyle="--", linewidth=1)
    for axes, what in ((left, "accuracy"), (right, "drift score")):
        axes.set_xticks(places, [name.replace(" ", "\n", 1) for name in names], fontsize=8)
        axes.set_xlim(-0.5, len(names) - 0.5)
        name_axes(axes, x="", y=what)
    return png(figure)
