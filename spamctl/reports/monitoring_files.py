"""Write a monitoring to files: its pages, its figures as JSON and CSV, and the list of all runs in the folder."""

from __future__ import annotations

import csv
import io
import json
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from spamctl.errors import UsageError
from spamctl.reports import escape
from spamctl.reports.monitored import SIDES
from spamctl.reports.monitoring_page import KeptRun, index, page, with_texts
from spamctl.reports.page import beside, line, link
from spamctl.schema.codec import JsonObject, finite, from_json, to_json
from spamctl.schema.monitor import MonitorResult

_RUN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_JSON = "monitor.json"
_INDEX = "index.html"
_MOST_RUNS = 500  # that are listed; all are kept
_MOST_BYTES = 64 * 2**20  # of a monitor.json that is read back
_TESTS = ("name", "kind", "reference", "current", "statistic", "threshold", "p_value", "adjusted_p", "alarm", "rows")
_TERMS = ("term", "z", "current_rate", "reference_rate", "beside")
NOTHING_QUOTED: Mapping[str, str] = MappingProxyType({})
_FORMULA = ("=", "+", "-", "@")


def write(
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
    places = {"report": str(folder / run / _INDEX), "all reports": str(folder / _INDEX)}
    told = replace(result, files={**result.files, **places})
    further = {f"{name}.html": _with_way_back(html) for name, html in pages.items() if html}
    tables = {"tests.csv": _csv(_TESTS, map(to_json, told.tests)), "words.csv": _csv(("side", *_TERMS), _terms(told))}
    shown = page(with_texts(told, quoted), plots, [*further, *tables, _JSON])
    texts = {_INDEX: shown, **further, **tables, _JSON: _json(told)}
    try:
        _write_run(folder, run, texts)
        list_pages(folder)
    except OSError as error:
        raise UsageError(f"cannot write reports: {error}; choose another folder with --report-dir") from error
    return places


def list_pages(folder: Path) -> Path:
    """Write the list of what lies in a folder of reports anew, runs and pages of other makers; return where it is."""
    _replace(folder / _INDEX, index(list(kept(folder)), list(_others(folder))))
    return folder / _INDEX


def _others(folder: Path) -> Iterator[str]:
    """Yield the pages of other makers, such as a demonstration's and its cards; odd names are passed over."""
    for pattern in ("*.html", "cards/*.html"):
        places = (path.relative_to(folder).as_posix() for path in sorted(folder.glob(pattern)))
        yield from (place for place in places if place != _INDEX and beside(place))


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
    way = line(link("Back to the verdict", _INDEX), kind="about")
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
    shown = escape.visible(value)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown


def _json(result: MonitorResult) -> str:
    """Return a result as JSON that every reader accepts: what is not a number is null."""
    return json.dumps(finite(to_json(result)), indent=1, allow_nan=False)
