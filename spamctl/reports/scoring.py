"""Show scored messages in the terminal, and sum them up on a card; a single message is explained in five lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spamctl.reports import html as pages
from spamctl.reports import terminal
from spamctl.reports.html import Column, Markup
from spamctl.reports.scores import interval, number, percent
from spamctl.schema.message import NOT_SPAM, SPAM
from spamctl.schema.score import Explained, ScoreResult

_NONE = "none"
_TARGETS = ("output", "maildir", "captured")
_EXCERPT = 120  # characters of a message in the table
_HEADS = ("score", "value", "95 % interval", "messages")
_MEDIUM_HEADS = ("medium", SPAM, NOT_SPAM, "out of reach", "unreadable")
_STYLES = {SPAM: "bold red", NOT_SPAM: "bold green"}


def show(result: ScoreResult, console: Console) -> None:
    """Print the result, for 80 columns or more, with or without colour, in a terminal or a pipe.

    `result` also holds what was left apart from the log: the messages `shown`, and what is `explained`.
    """
    if explained := result.explained:
        _show_single(result, explained, console)
    else:
        _show_many(result, console)


def missing(result: ScoreResult) -> str:
    """Return the line that says which messages could not be read; nothing if all could."""
    lacking = result.counts.get("unreadable", 0)
    if not lacking:
        return ""
    return f"{lacking:,} of {_messages(result.messages)} could not be read: {result.unreadable}; mend them"


def headline(result: ScoreResult) -> str:
    """Return the sentence that tells the outcome."""
    spam, scored = result.counts.get(SPAM, 0), _scored(result)
    share = f" ({percent(spam / scored)})" if scored else ""
    return f"{_messages(scored)} scored: {spam:,} spam{share}, {scored - spam:,} not spam"


def facts(result: ScoreResult) -> Iterator[tuple[str, str]]:
    """Yield each fact as its name and its words."""
    yield "version", _version(result)
    yield "threshold", number(result.threshold)
    if out := result.counts.get("out of reach", 0):
        yield "reach", f"{out:,} unlike all that was trained on (in_reach: false)"
    if cut := result.counts.get("truncated", 0):
        yield "truncated", f"{cut:,} longer than the window: beginning and end were read"
    if lacking := result.counts.get("unreadable", 0):
        yield "unreadable", f"{lacking:,}: {result.unreadable}"
    if result.continued:
        yield "continued", f"{result.continued:,} had been scored before the run was interrupted"
    if unknown := result.counts.get("label of no known meaning", 0):
        yield "labels", f"{unknown:,} of no known meaning: name those of spam by --spam-label"
    if result.output != _NONE:
        parts = f", {_several(result.parts, 'part')} by {_several(result.workers, 'worker')}" if result.parts else ""
        yield "output", f"{_messages(result.messages)} in {result.output}{parts}"
    if result.maildir != _NONE:
        yield "maildir", f"{_scored(result):,} mails in {result.maildir}"
    if result.captured:
        yield "captured", f"{_messages(_scored(result))} in {result.captured}"
    yield "pace", f"{_scored(result) / max(result.seconds, 0.001):,.0f} messages/s, {result.seconds:.1f} s"


def page(result: ScoreResult) -> str:
    """Return the card of a scoring, which holds no message."""
    return pages.document(headline(result), _parts(result))


def score_rows(result: ScoreResult) -> Iterator[tuple[str, str, str, str]]:
    """Yield recall and false-positive rate, as far as labels tell them."""
    spam, rest = result.labelled.get("spam", 0), result.labelled.get("rest", 0)
    if recall := result.scores.recall:
        yield "recall", number(recall.value), interval(recall), f"{spam:,} labelled spam"
    if rate := result.scores.false_positive_rate:
        yield "false-positive rate", number(rate.value), interval(rate), f"{rest:,} labelled not spam"


def medium_rows(result: ScoreResult) -> Iterator[tuple[str, ...]]:
    """Yield for each medium how many messages are spam, not spam, out of reach, and could not be read."""
    for medium, counts in sorted(result.media.items()):
        yield (medium, *(f"{counts.get(name, 0):,}" for name in _MEDIUM_HEADS[1:]))


def _parts(result: ScoreResult) -> Iterator[Markup]:
    """Yield the parts of the card, from top to bottom."""
    yield pages.element("h1", headline(result), "verdict fair" if missing(result) else "verdict good")
    yield pages.element("h2", "Verdicts by medium")
    heads = [Column(head, "number" if place else "") for place, head in enumerate(_MEDIUM_HEADS)]
    yield pages.table(heads, medium_rows(result))
    if rows := list(score_rows(result)):
        yield pages.element("h2", "Beside the labels of the input")
        yield pages.table([Column(head, "number" if place else "") for place, head in enumerate(_HEADS)], rows)
    yield pages.element("h2", "Facts")
    yield pages.table((Column("fact"), Column("value")), facts(result))


def _show_many(result: ScoreResult, console: Console) -> None:
    """Print the messages to be shown, the counts, and the scores that labels tell."""
    if result.shown:
        console.print(_table(result, console))
    console.print(terminal.plain(headline(result), console, "bold"))
    if len(result.media) > 1:
        console.print(_count_table(list(medium_rows(result)), console))
    if rows := list(score_rows(result)):
        console.print(_score_table(rows, console))
    console.print(terminal.grid(facts(result), console))


def _show_single(result: ScoreResult, told: Explained, console: Console) -> None:
    """Print five lines: the verdict, the words and links behind it, whether it is in reach, and the version."""
    verdict = told.classification
    marks = {SPAM: "NO", NOT_SPAM: "OK"} if console.options.ascii_only else {SPAM: "✘", NOT_SPAM: "✔"}
    cut = ", beginning and end read" if told.truncated else ""
    head = f"{verdict}: probability {number(told.probability)}, threshold {number(result.threshold)}{cut}"
    reach = "yes" if told.in_reach else "no: it is unlike all that was trained on"
    if not told.in_reach and told.probability >= result.threshold and verdict == NOT_SPAM:
        reach += ", and delivered for that (--out-of-reach)"
    console.print(terminal.plain(f"{marks[verdict]} {head}", console, _STYLES[verdict]), soft_wrap=True)
    lines = {
        "words": told.words or "none moves it",
        "links": ", ".join(told.hosts) or _NONE,
        "in reach": reach,
        "version": _version(result),
    } | {name: value for name, value in facts(result) if name in _TARGETS}
    for name, value in lines.items():
        console.print(Text.assemble((f" {name:<10}", "dim"), terminal.plain(value, console)), soft_wrap=True)


def _table(result: ScoreResult, console: Console) -> Table:
    """Return the messages to be shown, each on one line: hidden characters are escapes, and markup is not read."""
    labelled = any(row.label for row in result.shown)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold", expand=True)
    table.add_column("spam p", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    if labelled:
        table.add_column("label", no_wrap=True)
    table.add_column("from", no_wrap=True, overflow="ellipsis", max_width=28)
    table.add_column("message", no_wrap=True, overflow="ellipsis", ratio=1)
    for row in result.shown:
        verdict = row.classification if row.in_reach else f"{row.classification}, out of reach"
        cells = [number(row.probability), verdict, *([row.label or ""] if labelled else [])]
        cells += [f"{row.source} {row.place}", _excerpt(row.text)]
        table.add_row(*(terminal.plain(cell, console, _STYLES[SPAM] if cell == SPAM else "") for cell in cells))
    return table


def _score_table(rows: list[tuple[str, str, str, str]], console: Console) -> Table:
    """Return recall and false-positive rate."""
    return _numbers(_HEADS, rows, console)


def _count_table(rows: list[tuple[str, ...]], console: Console) -> Table:
    """Return the counts of verdicts by medium."""
    return _numbers(_MEDIUM_HEADS, rows, console)


def _numbers(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]], console: Console) -> Table:
    """Return a table of a name and numbers a line."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    for place, head in enumerate(heads):
        table.add_column(head, justify="right" if place else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(terminal.plain(cell, console) for cell in row))
    return table


def _excerpt(text: str) -> str:
    """Return the beginning of a message on one line."""
    flat = " ".join(text.split())
    return flat if len(flat) <= _EXCERPT else f"{flat[:_EXCERPT]} …"


def _version(result: ScoreResult) -> str:
    release = result.release
    alias = f", the {release.alias}" if release.alias else ""
    return f"{release.name} {release.version}{alias}, package {release.digest[:12]}"


def _scored(result: ScoreResult) -> int:
    return int(result.counts.get(SPAM, 0) + result.counts.get(NOT_SPAM, 0))


def _messages(count: int) -> str:
    return _several(count, "message")


def _several(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
