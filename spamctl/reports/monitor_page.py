"""Compose the card and pages of a monitoring, and write them to files with the list of all runs."""

from __future__ import annotations

import csv
import io
import json
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from spamctl import display
from spamctl.errors import UsageError
from spamctl.reports.html import Column, Markup, beside, document, element, folded, line, link, pictures, strong, table
from spamctl.reports.monitor import (
    SIDES,
    advised,
    breakdowns,
    carriers,
    cells_of,
    count,
    data_rows,
    facts,
    figure,
    following,
    headline,
    labels,
    loud,
    ordered,
    plain,
    quality_rows,
    terms,
    told_apart,
    trust,
    value,
)
from spamctl.reports.scores import number, percent
from spamctl.schema.codec import JsonObject, finite, from_json, to_json
from spamctl.schema.monitor import Causes, Check, Example, MonitorResult, Outcome

KINDS = {"ok": "verdict good", "warning": "verdict fair", "failed": "verdict bad"}
_MARKS = {
    "ok": ("calm", "✔ ok"),
    "warning": ("unsure", "! warning"),
    "failed": ("alarm", "✘ failed"),
    "not done": ("faint", "- not done"),
}
_PAIRS = (Column("fact"), Column("value"))
_CHECKS = (Column("", "faint"), Column("check", "name"), Column("finding"), Column("what to do"))
_TESTS = (
    Column("test", "name"),
    Column("of", "faint"),
    Column("reference", "number"),
    Column("current", "number"),
    Column("times its threshold", "number"),
    Column("adjusted p", "number"),
    Column("rows", "number"),
    Column(""),
)
_QUALITY = (
    Column("quality"),
    Column("measured", "number"),
    Column("95 % interval", "faint"),
    Column("estimated without labels", "number"),
    Column("95 % interval", "faint"),
)
_GROUPS = (
    Column("rows", "number"),
    Column("accuracy", "number"),
    Column("recall", "number"),
    Column("false-positive rate", "number"),
)
_TERMS = (
    Column("term", "text"),
    Column("in the same messages", "text"),
    Column("moved", "number"),
    Column("now", "number"),
    Column("reference", "number"),
)
_EXAMPLES = (Column("probability", "number"), Column("uuid", "faint"), Column("message", "text"))
_CARRIERS = (
    Column("by", "faint"),
    Column("name"),
    Column("rows", "number"),
    Column("share", "number"),
    Column("times the threshold", "number"),
)
_RUNS = (
    Column("when", "faint"),
    Column("run"),
    Column("verdict"),
    Column("messages", "number"),
    Column("drift", "number"),
    Column("spam", "number"),
    Column("accuracy", "number"),
    Column("recall", "number"),
    Column("false-positive rate", "number"),
    Column("version"),
)
_INDEX = "../index.html"
_TREND = ("drift_trend", "quality_trend")
_FILES = {
    "data_quality": "Data quality, by Evidently",
    "drift": "Drift, by Evidently",
    "classification": "Classification, by Evidently",
}


@dataclass(frozen=True, slots=True)
class KeptRun:
    """A run in a folder of reports: its folder, when it was written, and its result, or why that cannot be read."""

    folder: str
    date: str
    result: MonitorResult | None = None
    fault: str = ""


def page(result: MonitorResult, plots: Mapping[str, bytes], beside: Iterable[str] = ()) -> str:
    """Return the card of a monitoring; takes the result, PNGs by name, and the files that lie beside the page.

    A card that is shown alone has no file beside it; one in a folder links to them.
    """
    return document(headline(result), _parts(result, plots, list(beside)))


def with_texts(result: MonitorResult, texts: Mapping[str, str]) -> MonitorResult:
    """Return a result whose examples have their texts, those of them that are known by uuid."""
    examples = {
        side: tuple(replace(each, text=texts.get(each.uuid or "", each.text)) for each in found)
        for side, found in result.causes.examples.items()
    }
    return replace(result, causes=replace(result.causes, examples=examples))


def without_words(result: MonitorResult) -> MonitorResult:
    """Return a result without the words and messages that moved, for a page that may lie on a server of others."""
    return replace(result, causes=Causes(carriers=result.causes.carriers))


def index(runs: Sequence[KeptRun], others: Sequence[str] = ()) -> str:
    """Return the page that lists the runs of a folder in the order given.

    `others` are pages of other makers in that folder, by their places below it.
    """
    title = "Monitoring runs"
    newest = next((run.result for run in runs if run.result), None)
    told, kind = (f"Newest run: {headline(newest)}", KINDS[newest.verdict]) if newest else (title, "")
    parts = [element("h1", told, kind)]
    parts.append(element("p", f"{count(len(runs), 'run')} kept here, the newest first.", "quiet"))
    parts.append(table(_RUNS, map(_run_row, runs)))
    if others:
        parts.append(element("h2", "Other pages"))
        parts.append(table((Column("page"),), ((link(place.removesuffix(".html"), place),) for place in others)))
    return document(title, parts)


def _parts(result: MonitorResult, plots: Mapping[str, bytes], beside: Sequence[str]) -> Iterator[Markup]:
    """Yield the parts of the card, from top to bottom."""
    yield element("h1", headline(result), KINDS[result.verdict])
    for warning in loud(result):
        yield element("p", warning, "loud")
    yield line("What to type next: ", element("code", following(result)))
    if trend := _some(plots, _TREND):
        yield element("h2", "Trend")
        yield pictures(trend)
    yield element("h2", "Checks")
    yield table(_CHECKS, map(_check_row, advised(result.checks)))
    yield from _tests(result, plots)
    yield from _quality(result)
    yield from _causes(result, plots)
    yield from _behind(result, beside)


def _tests(result: MonitorResult, plots: Mapping[str, bytes]) -> Iterator[Markup]:
    """Yield the pictures of the tests, then every figure behind a click."""
    shown = _some(plots, ("tests", "probabilities"))
    if result.tests or shown:
        yield element("h2", "Tests")
    if shown:
        yield pictures(shown)
    if result.tests:
        yield element(
            "p",
            "A test raises an alarm when its statistic exceeds its threshold. Thresholds are calibrated by permutation "
            "for a window of this size: without drift, at most the stated share of windows raises any alarm.",
            "quiet",
        )
        yield table(_TESTS, map(_test_row, ordered(result.tests)))
    if classifier := result.domain_classifier:
        yield element("p", told_apart(classifier), "quiet")


def _quality(result: MonitorResult) -> Iterator[Markup]:
    """Yield how good the model is on trusted labels, beside what is expected without any."""
    yield element("h2", "Quality")
    if rows := list(quality_rows(result)):
        yield table(_QUALITY, rows)
    yield line(strong("Labels: "), labels(result), kind="quiet")
    yield line(strong("Without labels: "), trust(result), kind="quiet")
    for by, groups in breakdowns(result.quality_by):
        if groups:
            yield element("h2", f"Quality by {by}")
            yield table((Column(by), *_GROUPS), groups)


def _causes(result: MonitorResult, plots: Mapping[str, bytes]) -> Iterator[Markup]:
    """Yield the words, the messages, the versions and the sources that moved; all of them hostile, shown harmlessly."""
    causes = result.causes
    if not (causes.spam or causes.not_spam or causes.carriers):
        return
    yield element("h2", "What changed")
    if shown := _some(plots, ("words",)):
        yield pictures(shown)
    for side, name in SIDES.items():
        if rows := terms(result, side):
            yield folded(f"{count(len(rows), 'word or phrase', 'words and phrases')}, {name}", [table(_TERMS, rows)])
        if found := causes.examples.get(side):
            yield folded(f"{count(len(found), 'message')} nearest to the change, {name}", list(_examples(found)))
    if rows := carriers(result):
        yield element("p", "Versions and sources with the change:")
        yield table(_CARRIERS, rows)


def _examples(found: Sequence[Example]) -> Iterator[Markup]:
    """Yield messages by their uuids, with their texts on a page for which they were read from the store."""
    cells = [(number(each.probability), each.uuid or "", each.text or "") for each in found]
    if any(each.text is not None for each in found):
        yield table(_EXAMPLES, cells)
    else:
        yield table(_EXAMPLES[:2], [cell[:2] for cell in cells])
        yield line("Their texts: ", element("code", "spamctl trace UUID --text"), kind="quiet")


def _behind(result: MonitorResult, beside: Sequence[str]) -> Iterator[Markup]:
    """Yield what one looks up: the data, the other files, the facts."""
    yield element("h2", "Data")
    yield table((Column("messages"), Column("reference"), Column("current")), list(data_rows(result)))
    if beside:
        yield element("h2", "More")
        for name in beside:
            yield line(link(_FILES.get(name.partition(".")[0], name), name))
        yield line(link("All monitoring runs", _INDEX))
    yield element("h2", "Facts")
    yield table(_PAIRS, list(facts(result)))


def _check_row(told: tuple[Check, str]) -> Sequence[object]:
    """Return a check with its mark; what to do is a command or a sentence."""
    check, advice = told
    return _word(check.status), plain(check.name), check.sentence, advice


def _test_row(test: Outcome) -> Sequence[object]:
    """Return a test with every figure; one that raises an alarm stands out."""
    name, *figures = cells_of(test)
    if not test.alarm:
        return (name, test.kind, *figures, "")
    return (strong(name), test.kind, *figures, element("span", "ALARM", "alarm"))


def _run_row(run: KeptRun) -> Sequence[object]:
    """Return one run of the list; one that cannot be read says why."""
    result, folder = run.result, run.folder
    if result is None:
        return ("", folder, run.fault, *[""] * (len(_RUNS) - 3))
    quality = result.quality
    rates: Sequence[str] = ("not measured", "", "")
    if quality:
        rates = [value(rate) for rate in (quality.accuracy, quality.recall, quality.false_positive_rate)]
    return (
        run.date[:16].replace("T", " "),
        link(folder, f"{folder}/index.html"),
        _word(result.verdict),
        f"{result.window.rows:,}",
        figure(result.drift_score),
        percent(result.history[-1].spam_share if result.history else None),
        *rates,
        result.reference.model_version,
    )


def _word(status: str) -> Markup:
    """Return a status as a marked word."""
    kind, word = _MARKS[status]
    return element("span", word, kind)


def _some(plots: Mapping[str, bytes], names: Iterable[str]) -> dict[str, bytes]:
    """Return those of the pictures that were drawn."""
    return {name: plots[name] for name in names if name in plots}


# Write a monitoring to files: its pages, its figures as JSON and CSV, and the list of all runs in the folder.

_RUN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_JSON = "monitor.json"
_INDEX_NAME = "index.html"
_MOST_RUNS = 500  # that are listed; all are kept
_MOST_BYTES = 64 * 2**20  # of a monitor.json that is read back
_TEST_FIELDS = (
    "name",
    "kind",
    "reference",
    "current",
    "statistic",
    "threshold",
    "p_value",
    "adjusted_p",
    "alarm",
    "rows",
)
_TERM_FIELDS = ("term", "z", "current_rate", "reference_rate", "beside")
NOTHING_QUOTED: Mapping[str, str] = MappingProxyType({})
_FORMULA = ("=", "+", "-", "@")


def write_pages(
    folder: Path,
    result: MonitorResult,
    pages: Mapping[str, str],
    plots: Mapping[str, bytes],
    quoted: Mapping[str, str] = NOTHING_QUOTED,
) -> dict[str, str]:
    """Write a run's folder and the list of runs anew, each at once or not at all; return where they are, by name.

    `pages` are further HTML pages by name, such as Evidently's; an empty one is left out. `quoted` are the texts of
    examples by uuid: the run's own page alone shows them.
    Raises UsageError if the folder cannot be written, or the run is already there.
    """
    run = result.run_id
    if not _RUN_NAME.fullmatch(run) or ".." in run:
        raise UsageError(f"{run!r} cannot name a folder of reports: give letters, digits, '-', '_' and '.'")
    places = {"report": str(folder / run / _INDEX_NAME), "all reports": str(folder / _INDEX_NAME)}
    told = replace(result, files={**result.files, **places})
    further = {f"{name}.html": _with_way_back(html) for name, html in pages.items() if html}
    tables = {
        "tests.csv": _csv(_TEST_FIELDS, map(to_json, told.tests)),
        "words.csv": _csv(("side", *_TERM_FIELDS), _terms(told)),
    }
    shown = page(with_texts(told, quoted), plots, [*further, *tables, _JSON])
    texts = {_INDEX_NAME: shown, **further, **tables, _JSON: _json(told)}
    try:
        _write_run(folder, run, texts)
        list_pages(folder)
    except OSError as error:
        raise UsageError(f"cannot write reports: {error}; choose another folder with --report-dir") from error
    return places


def list_pages(folder: Path) -> Path:
    """Write the list of what lies in a folder of reports anew, runs and pages of other makers; return where it is."""
    _replace(folder / _INDEX_NAME, index(list(kept(folder)), list(_others(folder))))
    return folder / _INDEX_NAME


def _others(folder: Path) -> Iterator[str]:
    """Yield the pages of other makers, such as a demonstration's and its cards; odd names are passed over."""
    for pattern in ("*.html", "cards/*.html"):
        places = (path.relative_to(folder).as_posix() for path in sorted(folder.glob(pattern)))
        yield from (place for place in places if place != _INDEX_NAME and beside(place))


def kept(folder: Path) -> Iterator[KeptRun]:
    """Yield the runs of a folder, the newest first."""
    found = [path for path in folder.glob(f"*/{_JSON}") if _RUN_NAME.fullmatch(path.parent.name)]
    stamped = sorted(((path.stat().st_mtime_ns, path) for path in found), reverse=True)
    for stamp, path in stamped[:_MOST_RUNS]:
        date = datetime.fromtimestamp(stamp / 1e9, UTC).isoformat()
        try:
            yield KeptRun(path.parent.name, date, _read(path))
        except ValueError as error:  # which also covers what is not JSON, and not UTF-8
            yield KeptRun(path.parent.name, date, fault=f"{_JSON} cannot be read: {error}")


def _read(path: Path) -> MonitorResult:
    """Return a result that was written here, or raise ValueError; only what the list shows must be there."""
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"larger than {_MOST_BYTES:,} bytes")
    told = json.loads(path.read_text(encoding="utf-8"))
    try:
        return from_json(MonitorResult, told)
    except ValueError as error:
        raise ValueError(f"not the result of a monitoring ({error})") from error


def _with_way_back(html: str) -> str:
    """Return a page of another maker with a link to the verdict at its top."""
    way = line(link("Back to the verdict", _INDEX_NAME), kind="about")
    return html.replace("<body>", f"<body>\n{way.html}", 1)


def _write_run(folder: Path, run: str, texts: Mapping[str, str]) -> None:
    """Write a run's files beside their place, then move them there in one go."""
    folder.mkdir(parents=True, exist_ok=True)
    waiting = folder / f".{run}.{secrets.token_hex(4)}"
    waiting.mkdir(mode=0o700)  # for its owner alone: causes quote messages
    try:
        for name, text in texts.items():
            (waiting / name).touch(mode=0o600)
            (waiting / name).write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
        waiting.rename(folder / run)
    finally:
        shutil.rmtree(waiting, ignore_errors=True)  # gone already, if it was moved


def _replace(path: Path, text: str) -> None:
    """Write a file beside its place, then move it there, so that a reader sees the old or the new one."""
    waiting = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        waiting.write_text(text, encoding="utf-8", errors="backslashreplace")
        waiting.replace(path)
    finally:
        waiting.unlink(missing_ok=True)


def _terms(result: MonitorResult) -> Iterator[JsonObject]:
    """Yield the words that moved with the side on which they did."""
    for side in SIDES:
        for each in result.causes.terms(side):
            yield {"side": side, **to_json(each), "beside": ", ".join(each.beside)}


def _csv(heads: Sequence[str], rows: Iterable[JsonObject]) -> str:
    """Return rows as CSV in which no spreadsheet reads a formula."""
    paper = io.StringIO()
    writer = csv.writer(paper, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows([_cell(row.get(head)) for head in heads] for row in rows)
    return paper.getvalue()


def _cell(value: object) -> object:
    """Return a number as it is, and a text in which nothing is hidden and which no spreadsheet would compute."""
    if not isinstance(value, str):
        return value
    shown = display.visible(value)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown


def _json(result: MonitorResult) -> str:
    """Return a result as JSON that every reader accepts: what is not a number is null."""
    return json.dumps(finite(to_json(result)), indent=1, allow_nan=False)
