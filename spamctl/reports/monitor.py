"""Describe a monitoring in sentences, and show it in the terminal: the verdict, the checks, the alarms."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spamctl import display
from spamctl.display import without_password
from spamctl.reports import terminal
from spamctl.reports.scores import UNDEFINED, number, percent
from spamctl.schema.message import NOT_SPAM, SPAM
from spamctl.schema.monitor import (
    Breakdown,
    Check,
    MonitorResult,
    Outcome,
    Overview,
    Quality,
    Reach,
    Separation,
    Side,
    Window,
)
from spamctl.schema.rates import Interval

# Describe a monitoring in sentences: the verdict, each check, each test, and how good the model still is.

SIDES: Mapping[Side, str] = {SPAM: "spam side", NOT_SPAM: "not-spam side"}

_DEFAULT_STORE = "spam.db"
_TITLE = 110  # characters that a title may have
_DIGEST = 12  # characters of a sha256 that tell test parts apart
_ENOUGH_LABELS = 30  # below which a new training would learn little from them


def headline(result: MonitorResult) -> str:
    """Summarise the verdict in one sentence: what is wrong, or that nothing is."""
    verdict, rows = result.verdict, result.window.rows
    if wrong := [each for each in result.checks if each.status == verdict != "ok"]:
        wrong.sort(key=lambda check: check.name != "quality")  # what labels say counts most
        others = f" (and {count(len(wrong) - 1, 'other check')})" if len(wrong) > 1 else ""
        return f"{verdict.upper()}: {_brief(wrong[0].sentence.rstrip('.'))}{others}"
    undone = ", ".join(plain(each.name) for each in result.checks if each.status == "not done")
    unsaid = f"; not checked: {undone}" if undone else ""
    like = f"{'look' if rows != 1 else 'looks'} like the test part"
    return f"OK: {count(rows, 'message')} {like}, and no test raises an alarm{unsaid}"


def loud(result: MonitorResult) -> Iterator[str]:
    """Yield what must not be overlooked."""
    if simulated := result.simulated:
        made = (
            f"{count(simulated.rows, 'label')} were simulated from the verdicts; "
            if simulated.rows > 1
            else "1 label was simulated from its verdict; "
        )
        yield (
            f"SIMULATED LABELS: {made}their agreement with the verdicts, {percent(simulated.agreement)}, "
            "was chosen and is NOT AN ACCURACY"
        )
    if result.estimate and not result.estimate.trustworthy:
        yield "The accuracy estimated without labels is not reliable on this window"


def told_apart(classifier: Separation) -> str:
    """Describe whether a classifier separates window and reference; an AUC below chance means nothing."""
    chance = f"{number(classifier.threshold)} expected by chance"
    if classifier.auc <= classifier.threshold:
        return f"A classifier cannot separate current from reference messages: its AUC is not above the {chance}."
    told = f"A classifier separates current from reference messages with an AUC of {number(classifier.auc)}"
    return f"{told}, above the {chance}."


def advised(checks: Iterable[Check]) -> Iterator[tuple[Check, str]]:
    """Yield each check with what to do about it; what was said for an earlier one is not said again."""
    said = set()
    for check in checks:
        yield check, "" if check.advice in said else check.advice
        said.add(check.advice)


def ordered(tests: Sequence[Outcome]) -> list[Outcome]:
    """Return tests with alarms first, the others by how near they are to their threshold."""
    return sorted(tests, key=lambda test: (not test.alarm, -test.exceeds))


def cells_of(test: Outcome) -> tuple[str, ...]:
    """Return a test's name, reference, current, statistic in thresholds, adjusted p and rows."""
    return (
        plain(test.name),
        figure(test.reference),
        figure(test.current),
        f"{test.exceeds:.2f}",
        probability(test.adjusted_p),
        f"{test.rows:,}",
    )


def quality_rows(result: MonitorResult) -> Iterator[tuple[str, ...]]:
    """Yield each measure: name, measured, interval, estimated without labels, interval."""
    if result.quality:
        for name, measured in _measures(result.quality).items():
            guessed = result.estimate.accuracy if result.estimate and name == "accuracy" else None
            yield name, value(measured), ends(measured), value(guessed) if guessed else "", ends(guessed)
    elif result.estimate:
        guessed = result.estimate.accuracy
        yield "accuracy", UNDEFINED, "", value(guessed), ends(guessed)


def labels(result: MonitorResult) -> str:
    """Describe how many rows have a trustworthy label, and its source."""
    quality = result.quality
    if not quality:
        return "no row has a trusted label"
    sources = ", ".join(f"{name} {rows:,}" for name, rows in quality.label_sources.items())
    share = f"{percent(quality.coverage)} of the window"
    return f"{count(quality.rows, 'row')} ({share}), {quality.spam:,} of them spam; labelled by {sources}"


def trust(result: MonitorResult) -> str:
    """Describe what the label-free estimate rests on, and whether it holds."""
    estimate = result.estimate
    if not estimate:
        return "no estimate could be made"
    beyond = "too few messages to tell how many lie outside the reference"
    if outside := estimate.outside_support:
        lie = f"{percent(outside.share)} of the messages lie outside the reference"
        beyond = f"{lie}, where {percent(outside.expected)} are expected"
    held = "the messages show nothing against it" if estimate.trustworthy else "NOT RELIABLE HERE"
    return f"assumes that {estimate.assumption}; {held}: {beyond}"


def breakdowns(found: Breakdown) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """Yield quality by version, source and family: name, rows, accuracy, recall, false-positive rate."""
    for by, groups in (("version", found.version), ("source", found.source), ("family", found.family)):
        yield (
            by,
            [
                (each.name, f"{each.rows:,}", *map(value, (each.accuracy, each.recall, each.false_positive_rate)))
                for each in groups
            ],
        )


def terms(result: MonitorResult, side: Side) -> list[tuple[str, ...]]:
    """Return the words of one side that moved most: term, others of the same messages, score, share now and before."""
    return [
        (each.term, ", ".join(each.beside), f"{each.z:+.1f}", percent(each.current_rate), percent(each.reference_rate))
        for each in result.causes.terms(side)
    ]


def carriers(result: MonitorResult) -> list[tuple[str, ...]]:
    """Return which versions and sources carry the change: kind, name, rows, share, drift in thresholds."""
    return [
        (each.by, each.name, f"{each.rows:,}", percent(each.share), figure(each.drift))
        for each in result.causes.carriers
    ]


def data_rows(result: MonitorResult) -> Iterator[tuple[str, str, str]]:
    """Yield what the messages are like: name, reference, current."""
    if result.data:
        for name, words in _DATA.items():
            yield name, words(result.data.reference), words(result.data.current)


def facts(result: MonitorResult) -> Iterator[tuple[str, str]]:
    """Yield what was compared with what, and where the run is kept."""
    window, reference = result.window, result.reference
    yield "window", _window(window)
    yield "versions", _counted(window.versions)
    if window.reach_known:
        yield "out of reach", _out_of_reach(window, reference.out_of_reach)
    yield "sources", _counted(window.sources)
    yield (
        "reference",
        (
            f"test part of {reference.model_name} version {reference.model_version}, "
            f"sha256 {reference.digest[:_DIGEST]}: "
            f"{count(reference.rows, 'message')}, {reference.spam:,} spam"
        ),
    )
    yield "store", without_password(result.store)
    yield from result.files.items()
    if run := result.mlflow:
        yield "MLflow run", f"{run.run_id} in experiment {run.experiment}, {without_password(run.tracking_uri)}"
    if result.run_id:
        yield "monitor run", result.run_id


def following(result: MonitorResult) -> str:
    """Return the next command to type."""
    if result.next:
        return result.next
    store = result.store
    where = "" if store == _DEFAULT_STORE else f" --target-uri {shlex.quote(without_password(store))}"
    labelled = result.quality.rows if result.quality else 0
    match result.verdict:
        case "failed" if labelled >= _ENOUGH_LABELS:
            return f"spamctl label --export labelled.csv{where}"
        case "failed" | "warning":
            return f"spamctl label --source review{where}"
        case _:
            return "spamctl cards monitor"


def plain(name: str) -> str:
    """Return the words of a name that code writes with underscores."""
    return name.replace("_", " ")


def three(quality: Quality) -> str:
    """Write accuracy, recall and false-positive rate, those that are known: each hides what another shows."""
    shown = ("accuracy", "recall", "false-positive rate")
    known = ((name, rate) for name, rate in _measures(quality).items() if name in shown and rate)
    return ", ".join(f"{name} {number(rate.value)}" for name, rate in known)


def value(found: Interval | None) -> str:
    """Write the value of a rate, which may be undefined."""
    return number(found.value) if found else UNDEFINED


def ends(found: Interval | None) -> str:
    """Write the two ends of a rate's interval, or nothing where there is none."""
    shown = [number(found.low), number(found.high)] if found else [UNDEFINED]
    return "" if UNDEFINED in shown else "\N{EN DASH}".join(shown)


def figure(found: float | None) -> str:
    """Write a figure of any size with four digits."""
    return UNDEFINED if found is None or math.isnan(found) else f"{found:,.4g}"


def probability(found: float | None) -> str:
    """Write a p-value so that a small one does not read as nothing."""
    least = 0.001
    return UNDEFINED if found is None else f"< {least}" if found < least else f"{found:.3f}"


def _brief(sentence: str) -> str:
    """Return the first of many things that a sentence lists, when all of them are too long for a title."""
    parts = sentence.split("; ")
    if len(sentence) <= _TITLE or len(parts) == 1:
        return sentence
    shown = max((n for n in range(1, len(parts)) if len("; ".join(parts[:n])) <= _TITLE), default=1)
    return f"{'; '.join(parts[:shown])}; and {len(parts) - shown} more"


def _measures(quality: Quality) -> dict[str, Interval | None]:
    """Return the measures of quality by the names that a reader knows."""
    return {
        "accuracy": quality.accuracy,
        "precision": quality.precision,
        "recall": quality.recall,
        "F1": quality.f1,
        "false-positive rate": quality.false_positive_rate,
        "calibration error": quality.calibration_error,
    }


def _window(window: Window) -> str:
    """Describe which rows were examined."""
    asked = [f"{name} {moment}" for name, moment in (("since", window.since), ("until", window.until)) if moment]
    seen = [moment for moment in (window.oldest, window.newest) if moment]
    parts = [
        f"{count(window.rows, 'row')}, {window.distinct:,} distinct",
        *([f"a random {window.judged:,} of which are tested"] if window.sampled else ()),
        *asked,
        *(["from " + " to ".join(seen)] if seen else ()),
    ]
    return ", ".join(parts)


def _out_of_reach(window: Window, validation: Reach | None) -> str:
    """Describe how many rows are unlike the training data, beside the validation rows."""
    share = percent(window.out_of_reach / window.reach_known)
    told = f"{window.out_of_reach:,} of {count(window.reach_known, 'row')} ({share}) unlike the training data"
    if not validation:
        return told
    good, spam = (
        percent(out / max(1, rows))
        for out, rows in ((validation.good_out, validation.good), (validation.spam_out, validation.spam))
    )
    return f"{told}; of the validation rows {good} of the good ones and {spam} of spam were"


def _counted(counts: Mapping[str, int]) -> str:
    """Name each group with its rows."""
    return ", ".join(f"{name or 'unnamed'} ({rows:,})" for name, rows in counts.items()) or "none"


def _scripts(shares: Mapping[str, float]) -> str:
    """Name the scripts in which the messages are written."""
    most = sorted(shares.items(), key=lambda item: -item[1])[:4]
    return ", ".join(f"{name} {percent(share)}" for name, share in most) or UNDEFINED


def count(number_of: int, noun: str, plural: str = "") -> str:
    """Count in words."""
    return f"{number_of:,} {noun if number_of == 1 else plural or f'{noun}s'}"


_DATA: Mapping[str, Callable[[Overview], str]] = {
    "rows": lambda part: f"{part.rows:,}",
    "distinct texts": lambda part: f"{part.distinct:,}",
    "repeated": lambda part: f"{part.repeated:,}",
    "empty": lambda part: f"{part.empty:,}",
    "median length": lambda part: figure(part.length_median),
    "odd Unicode": lambda part: percent(part.odd_unicode_share),
    "scripts": lambda part: _scripts(part.scripts),
}


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
    told = Text.assemble(("Next: ", "bold"), terminal.plain(following(result), console, "bold cyan"))
    console.print(told, highlight=False, soft_wrap=True)  # a command that can be copied is not broken


def _lines(result: MonitorResult, console: Console) -> Iterator[Text | Table | str]:
    """Yield what is printed, from top to bottom."""
    verdict = result.verdict
    yield ""
    yield terminal.plain(f"{_mark(verdict, console)} {headline(result)}", console, _STYLES[verdict])
    for warning in loud(result):
        yield terminal.plain(f"! {warning}", console, "bold yellow")
    yield ""
    yield _checks(result.checks, console)
    if result.tests:
        yield _tests(ordered(result.tests), console)
    yield from _quality(result, console)
    yield from _causes(result, console)
    yield terminal.grid(facts(result), console, width=13)
    yield ""
    yield terminal.plain("The whole report: spamctl cards monitor", console, "dim")


def _checks(checks: Iterable[Check], console: Console) -> Table:
    """Return each check with its mark, its sentence, and what to do if it is not ok."""
    grid = Table.grid(padding=(0, 1), pad_edge=False)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for check, advice in advised(checks):
        style = _STYLES[check.status]
        mark = terminal.plain(f" {_mark(check.status, console)}", console, style)
        grid.add_row(mark, _short(check.name, console), terminal.plain(check.sentence, console))
        if advice:
            grid.add_row("", "", terminal.plain(f"-> {advice}", console, "cyan"))
    return grid


def _tests(tests: Iterable[Outcome], console: Console) -> Table:
    """Return each test: the two values, and how many times its threshold the statistic is."""
    table = _table(_TESTS)
    for test in tests:
        rings = terminal.plain("ALARM" if test.alarm else "", console, "bold red")
        name, *figures = cells_of(test)[:4]
        cells = [_short(name, console), *(terminal.plain(cell, console) for cell in figures)]
        table.add_row(*cells, rings, style="bold" if test.alarm else "")
    return table


def _quality(result: MonitorResult, console: Console) -> Iterator[Text | Table | str]:
    """Yield what was measured on labels beside what is expected without, and by version, source and family."""
    if rows := list(quality_rows(result)):
        table = _table(_QUALITY)
        for row in rows:
            table.add_row(*(terminal.plain(cell, console) for cell in row))
        yield table
    facts_of_quality = [("labels", labels(result)), ("estimate", trust(result))]
    yield terminal.grid(facts_of_quality, console, width=13)
    for by, groups in breakdowns(result.quality_by):
        if len(groups) > 1:
            table = _table((f"by {by}", *_GROUPS))
            for name, *cells in groups[:_MOST_GROUPS]:
                table.add_row(_short(name, console), *(terminal.plain(cell, console) for cell in cells))
            yield table
    yield ""


def _causes(result: MonitorResult, console: Console) -> Iterator[Text | Table | str]:
    """Yield the words that moved most, those of spam and those of the rest apart."""
    words = [
        (name, ", ".join(_clipped(term) for term, *_ in terms(result, side)[:_MOST_WORDS]))
        for side, name in SIDES.items()
    ]
    if any(told for _, told in words):
        yield terminal.plain("Largest changes (words and phrases)", console, "bold")
        yield terminal.grid([(name, told or "nothing") for name, told in words], console, width=13)
        yield ""


def _table(heads: Sequence[str]) -> Table:
    """Return an empty table of a name and right-aligned figures."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    for place, head in enumerate(heads):
        style = "dim" if "%" in head else ""
        table.add_column(head, justify="right" if place else "left", style=style, no_wrap=True)
    return table


def _mark(status: str, console: Console) -> str:
    """Return the mark of a status, in characters that the terminal has."""
    return (_MARKS_ASCII if console.options.ascii_only else _MARKS)[status]


def _clipped(text: object) -> str:
    """Return a name that cannot push the rest of its line away."""
    shown = display.visible(text)
    return shown if len(shown) <= _WIDEST_WORD else f"{shown[: _WIDEST_WORD - 3]}..."


def _short(text: object, console: Console) -> Text:
    """Return a clipped name for a cell that does not wrap."""
    return terminal.plain(_clipped(text), console)
