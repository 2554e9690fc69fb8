"""Show a server's verdicts on traffic: in sentences, in the terminal, on the card and as a plot."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spamctl.reports import terminal
from spamctl.reports.figures import BLUE, GREY, canvas, name_axes, png
from spamctl.reports.html import Column, Markup, document, element, pictures, table
from spamctl.reports.monitor import ends, value
from spamctl.reports.scores import percent
from spamctl.schema.rates import Interval
from spamctl.schema.traffic import Change, GroupResult, Preview, Rates, TrafficResult

# Describe the result of traffic in sentences: answers and failures, latency, and how right the verdicts were.

EVERYTHING = "all"
DEFAULT_STORE = "spam.db"
_HINTS = {
    "401": "give the server's token with --token-file or SPAMCTL_SERVE_TOKEN",
    "403": "the server refuses this host name: see its --allowed-hosts",
    "404": "correct the path of --target-uri",
    "405": "correct the path of --target-uri",
    "413": "lower --batch-size",
    "429": "lower --rate or --concurrency",
    "503": "see what the server's /ready says",
}
_FATES = {
    "refused": "refused with {}",
    "garbled": "answered in another format ({})",
    "unanswered": "without an answer ({})",
}
_DIGEST = 12  # characters of a sha256 that tell files apart


def missing(result: TrafficResult | Preview) -> str:
    """Return the line that says which messages have no verdict, and what to do; nothing if all that were sent have."""
    if isinstance(result, Preview) or result.answered == result.samples:
        return ""
    causes = [f"{rows:,} {_FATES[fate].format(reason)}" for fate, reason, rows in _lost(result)]
    lacking = result.samples - result.answered
    said = f"{lacking:,} of {result.samples:,} messages have no verdict: {', '.join(causes)}"
    return "; ".join(filter(None, [said, _hint(result)]))


def _lost(result: TrafficResult) -> Iterator[tuple[str, str, int]]:
    """Yield how many messages met which fate for which reason."""
    fates = {"refused": result.refused, "garbled": result.garbled, "unanswered": result.unanswered}
    for fate, reasons in fates.items():
        for reason, rows in reasons.items():
            yield fate, reason, rows


def _hint(result: TrafficResult) -> str:
    """Return what to do about the first cause that one can do something about."""
    codes = {reason[:3] for reason in result.refused}
    if known := [words for code, words in _HINTS.items() if code in codes]:
        return known[0]
    if result.unanswered:
        return "see whether spamctl serve still runs"
    return "see whether --target-uri is a server of spamctl" if result.garbled else ""


def following(result: TrafficResult) -> str:
    """Return the next command to type: there is nothing to label where nothing was answered, or captured."""
    if not result.answered:
        return result.start if result.unanswered else "spamctl traffic --help"
    if not result.captured:
        return f"{result.start} --capture required"
    if not result.truth:
        return "spamctl label"
    store = result.truth.store
    where = "" if store == DEFAULT_STORE else f" --target-uri {shlex.quote(store)}"
    return f"spamctl label --source truth{where}"


def headline(result: TrafficResult) -> str:
    """Return the sentence that tells the outcome."""
    samples, answered = result.samples, result.answered
    if answered < samples:
        return f"{answered:,} of {samples:,} messages were answered"
    accuracy = result.scores.accuracy
    right = f", {percent(accuracy.value)} of them correctly" if accuracy else ""
    return f"All {samples:,} messages were answered{right}"


def counts(result: TrafficResult) -> Iterator[tuple[str, str]]:
    """Yield what was counted, by its name."""
    yield "sent", f"{result.sent:,} of {result.samples:,} messages"
    yield "answered", f"{result.answered:,}"
    for fate, reason, rows in _lost(result):
        yield fate, f"{rows:,}: {reason}"
    if result.repeated:
        yield "tried again", f"{result.repeated:,} times, under the same request id"
    yield from _answers(result)


def _answers(result: TrafficResult) -> Iterator[tuple[str, str]]:
    """Yield what is known of the answers, if there are any."""
    if not result.answered:
        return
    lost = result.answered - result.captured
    yield "captured", f"{result.captured:,}" + (f"; {lost:,} were answered and not captured" if lost else "")
    yield "latency", ", ".join(f"{name} {ms:.1f} ms" for name, ms in result.latency_ms.items()) + " a request"
    if result.seconds:
        yield "pace", f"{result.answered / result.seconds:,.0f} messages/s"
    truth = f"; in truth {percent(result.true_spam_share)}" if result.judged else ""
    yield "spam share", f"{percent(result.spam_share)} of the verdicts{truth}"
    yield "version", ", ".join(f"{version} ({rows:,})" for version, rows in result.versions.items())


def facts(result: TrafficResult) -> Iterator[tuple[str, str]]:
    """Yield where the messages are from, what was done to them, where they went, and where the truth is kept."""
    data, drift, truth = result.data, result.drift, result.truth
    yield "server", result.target
    if data.test is None:
        yield "data", data.origin
    else:
        digest = (data.test_sha256 or "")[:_DIGEST]
        yield "data", f"{data.origin}, test part of {data.test:,} messages, sha256 {digest}"
        share = f", strength {drift.strength:g} on {percent(drift.drift_proportion)} of the messages"
        yield "drift", f"{drift.drift_type}{share if drift.drift_type != 'none' else ''}, seed {drift.seed}"
    yield "truth", f"{truth.rows:,} labels kept in {truth.store}, apart from the answers" if truth else "not kept"
    yield "traffic run", result.run


def judged_rows(result: TrafficResult) -> Iterator[Sequence[str]]:
    """Yield, for all messages and then each group: its name, counts, accuracy, recall, false alarms, with intervals."""
    yield _judged(EVERYTHING, result.judged, sum(group.spam for group in result.groups), result.scores)
    if len(result.groups) > 1:
        for group in result.groups:
            yield _judged(group.name, group.rows, group.spam, group.scores)


def _judged(name: str, rows: int, spam: int, scores: Rates) -> Sequence[str]:
    rates = (scores.accuracy, scores.recall, scores.false_positive_rate)
    return (name, f"{rows:,}", f"{spam:,}", *(cell for rate in rates for cell in (value(rate), ends(rate))))


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
    yield terminal.plain(f"{marks[failed]} {headline(result)}", console, "bold red" if failed else "bold green")
    yield ""
    yield terminal.grid(counts(result), console, width=12)
    if result.judged:
        yield _table(judged_rows(result), console)
    yield terminal.grid(facts(result), console, width=12)
    yield from terminal.next_command(following(result), console)


def _preview(changes: Sequence[Change], console: Console) -> Iterator[Text | str]:
    """Yield each message before and after, hidden characters as escapes, and what was not done."""
    for place, change in enumerate(changes, start=1):
        before, after = change.before, change.after
        same = before.text == after.text
        yield ""
        yield terminal.plain(f"{place}. {after.drift_type}, dose {after.dose:g}: {after.label}", console, "bold")
        yield Text.assemble(("  before  ", "dim"), terminal.plain(before.text, console))
        yield Text.assemble(("  after   ", "dim"), terminal.plain("(the same)" if same else after.text, console))
    yield ""
    yield terminal.plain("Nothing was sent. Leave out --preview to send.", console)


def _table(rows: Iterable[Sequence[str]], console: Console) -> Table:
    """Return accuracy, recall and false-positive rate, all in all and by group."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    for index, head in enumerate(_HEADS):
        dim = "dim" if "%" in head else ""
        table.add_column(head, justify="right" if index else "left", style=dim, no_wrap=bool(index), overflow="fold")
    for row in rows:
        table.add_row(*(terminal.plain(row[place], console) for place in _SHOWN))
    return table


# Compose the card of a traffic run: responses, verdicts by kind of message, and where it is all stored.

_PAIRS = (Column("what"), Column("value"))
_JUDGED = (
    Column("messages"),
    Column("n", "number"),
    Column("spam", "number"),
    Column("accuracy", "number"),
    Column("95 % interval", "faint"),
    Column("recall", "number"),
    Column("95 % interval", "faint"),
    Column("false-positive rate", "number"),
    Column("95 % interval", "faint"),
)
_CHANGES = (Column("drift", "faint"), Column("label", "faint"), Column("before", "text"), Column("after", "text"))


def page(result: TrafficResult, *, plots: Mapping[str, bytes]) -> str:
    """Return the card of a traffic run; takes its result, and PNGs by name."""
    return document(headline(result), _parts(result, plots))


def preview_page(preview: Preview) -> str:
    """Return the card of a preview: messages before and after drift, which are hostile and shown harmlessly."""
    title = f"{len(preview.preview):,} messages before and after drift; nothing was sent"
    rows = [
        (f"{change.after.drift_type} {change.after.dose:g}", change.after.label, change.before.text, change.after.text)
        for change in preview.preview
    ]
    return document(title, [element("h1", title), table(_CHANGES, rows)])


def _parts(result: TrafficResult, plots: Mapping[str, bytes]) -> Iterator[Markup]:
    """Yield the parts of the card, from top to bottom."""
    fault = missing(result)
    yield element("h1", headline(result), "verdict bad" if fault else "verdict good")
    if fault:
        yield element("p", fault, "loud")
    yield element("h2", "Responses")
    yield table(_PAIRS, list(counts(result)))
    if result.judged:
        yield element("h2", "Verdicts against true labels")
        yield table(_JUDGED, list(judged_rows(result)))
        yield pictures(plots)
        yield element("p", "True labels come from the generator or the dataset; monitoring does not see them.", "quiet")
    yield element("h2", "Facts")
    yield table(_PAIRS, list(facts(result)))


# Plot the accuracy of a server by kind of message, which shows where drift hurts.

_ROW_INCHES, _FRAME_INCHES = 0.32, 1.5
_FEWEST_GROUPS = 2


def traffic_plots(result: TrafficResult) -> dict[str, bytes]:
    """Draw every picture of a traffic run, by name; with one kind of message there is nothing to compare."""
    judged = [(group, group.scores.accuracy) for group in result.groups if group.scores.accuracy]
    if len(judged) < _FEWEST_GROUPS or not result.scores.accuracy:
        return {}
    return {"accuracy_by_group": accuracy_by_group(judged, result.scores.accuracy.value)}


def accuracy_by_group(groups: Sequence[tuple[GroupResult, Interval]], whole: float) -> bytes:
    """Return a PNG: the accuracy of each group with its 95 % interval, the lowest at the top, beside that of all.

    The title names the group whose interval ends lowest, so that no group of three messages makes the headline.
    """
    ordered = sorted(groups, key=lambda pair: pair[1].value, reverse=True)
    worst, lowest = min(groups, key=lambda pair: pair[1].high)
    accuracies = [accuracy for _, accuracy in ordered]
    values = [accuracy.value for accuracy in accuracies]
    reach = [
        [accuracy.value - accuracy.low for accuracy in accuracies],
        [accuracy.high - accuracy.value for accuracy in accuracies],
    ]
    title = f"Lowest accuracy: {worst.name}, {percent(lowest.value)} of {worst.rows:,} messages"
    height = _FRAME_INCHES + _ROW_INCHES * len(ordered)
    figure, (axes,) = canvas(title, "Bars are 95 % intervals; the dashed line is all messages together.", height=height)
    axes.errorbar(values, range(len(ordered)), xerr=reach, fmt="o", color=BLUE, capsize=3, markersize=5)
    axes.axvline(whole, color=GREY, linestyle="--", linewidth=1)
    axes.set_yticks(range(len(ordered)), [f"{group.name} ({group.rows:,})" for group, _ in ordered], fontsize=8.5)
    axes.set_ylim(-0.6, len(ordered) - 0.4)
    axes.set_xlim(right=1.01)
    name_axes(axes, x="accuracy", y="")
    return png(figure)
