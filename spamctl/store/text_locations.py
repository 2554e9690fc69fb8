"""List every place that stores the text of a message, and remove forgotten ones from each.

Beside the store itself, whose rows, tables and files `forgotten` and `purge` look after, these keep texts, or parts of
them, in the folder that a command is typed in and in that of the store:

    place                                    what of a message                     when it is forgotten
    reports/RUN/index.html                   examples, words that moved            blanked
    reports/RUN/monitor.json, words.csv      words that moved; uuids of examples   blanked
    .metaflow/FLOW/data                      training and test rows, sent rows,    the value is deleted; its run cannot
                                             words that moved                      be resumed, and says so
    --datastore s3, azure, gs                the same, beyond reach                named: delete those runs there
    .metaflow/mf.cards                       worst errors, words that moved        blanked
    mlruns, mlartifacts                      test_part.json: the test rows         the row is taken out
                                             (older: pages and pictures of words)  blanked, pictures deleted
    .spamctl/models/*.test_part.json         a copy of the test rows               the row is taken out
    .spamctl/monitor-RUN.json, preview-*,    left by a command that was killed     blanked
    .spamctl/score                           rows of an interrupted scoring        blanked, and scored again
    .spamctl/stdin-*                         left by a command that was killed     blanked
    .spamctl/logs                            nothing, by law 6                     blanked all the same
    exports (label --export)                 whole rows                            the row is taken out
    manifest.json of a package               golden rows                           named: a package is sealed
    other files in the folder                what their owner put there            named: they are not ours
    memory of spamctl serve (GET /recent)    of rows that were not captured: 30    gone with the next 30, or the server;
                                             of captured ones nothing              texts are read from the store
    weights of a version that has learnt it  no text                               train anew; `trace` names the version

Nothing else does: reviews, labels, truths, monitoring's trend, checkpoints and cached features hold uuids or numbers.
Who adds a place adds it here, and to `tests/flows/test_forget.py`, which searches every byte of a folder.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from spamctl.data import export
from spamctl.schema.codec import from_json, to_json
from spamctl.store.redaction import Wanted

STATE, RUNS, REPORTS = Path(".spamctl"), Path(".metaflow"), Path("reports")
EXPORT, REPORT = "export", "reports"
MONITOR = "MonitorFlow"
_WITH_TEXTS = {MONITOR, "TrainFlow", "TrafficFlow", "RecalibrateFlow"}
_KEPT = STATE / "kept.jsonl"
_UNFIT = STATE / "forgotten"  # a file for each run that cannot be resumed any more; the command looks for it
_BINARY = {".bin", ".gz", ".npz", ".onnx", ".parquet", ".png", ".pyc", ".safetensors", ".xml", ".ckpt", ".pt", ".sock"}
_TEST_PART = "test_part.json"
_LEFT_BEHIND = re.compile(r"(?:monitor|preview|score)-\w+\.json")  # by a command that was killed
_SEAL = "manifest.json"  # beside which every byte is under a digest
_CODE = "code"  # of ours, beside a package
_OF_WORDS = ("result", "plots", "evidently", "monitor_html")  # of a monitoring run: pictures of words, too


@dataclass
class Sweep:
    """Removal of messages from all places of a folder; counts files and rows by place, and what is left where."""

    folder: Path
    wanted: Wanted
    uuids: frozenset[str]
    labelled: datetime | None = None  # since when one of them had a label: later exports hold it
    store: str = ""  # its name: what was found in another one names other messages' words
    own: frozenset[Path] = frozenset()  # the files of the store
    taken: Counter[str] = field(default_factory=Counter)
    left: list[str] = field(default_factory=list)
    _strange: set[str] = field(default_factory=set)

    def run(self) -> None:
        """Clean all places."""
        kept = list(remembered(self.folder))
        reports = {self.folder / REPORTS, *(path for kind, path, _ in kept if kind == REPORT)}
        self._strange = {run for place in reports for run in self._of_other_stores(place)}
        for place in sorted(reports):
            self._clean(place, "pages of monitoring", named=True)
        self._runs()
        self.tracked(named=True)
        self._clean(self.folder / STATE, "copies and logs in .spamctl", named=False)
        exports = {path: date for kind, path, date in kept if kind == EXPORT}
        for path, date in exports.items():
            self._export(path, date)
        self._others(set(exports))

    def tracked(self, *, named: bool = False) -> None:
        """Clean what MLflow keeps in the folder, and nothing else."""
        for name in ("mlruns", "mlartifacts"):
            self._clean(self.folder / name, "files in MLflow", named=named)

    def _of_other_stores(self, reports: Path) -> Iterator[str]:
        """Yield the runs of monitoring whose finding says that it is of another store."""
        for path in reports.glob("*/monitor.json"):
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                name = json.loads(path.read_bytes())["store"]
                if self.folder / name not in self.own and name != self.store:
                    yield path.parent.name

    def _clean(self, place: Path, name: str, *, named: bool) -> None:
        """Clean every file under a place."""
        for path in _files(place):
            if path.name == _SEAL:
                self._sealed(path)
            elif not (path.parent / _SEAL).exists():
                self._file(path, name, named=named)

    def _file(self, path: Path, name: str, *, named: bool) -> None:
        """Clean one file."""
        try:
            content = path.read_bytes()
            clean, words = self._cleaned(path, content, named=named and self._strange.isdisjoint(path.parts))
            if clean == content:
                return
            export.replace_file(path, clean)
            self.taken[name] += 1
            picture = path.parent / "plots" / "words.png"  # older releases left it beside their page
            if words and picture.is_file():
                picture.unlink()
                self.taken[name] += 1
        except OSError as error:
            self.left.append(f"{self._shown(path)}: cannot be cleaned: {error.strerror}")

    def _cleaned(self, path: Path, content: bytes, *, named: bool) -> tuple[bytes, bool]:
        """Return a file without what is forgotten, by what it is, and whether words of it were blanked."""
        with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):  # another program's file
            if path.name.endswith(_TEST_PART):
                return self.wanted.without_rows(content), False
            if named and path.name == "monitor.json":
                return self.wanted.without_causes(content, self.uuids), False
            if named and path.name == "words.csv":
                return self.wanted.without_words(content), False
            if _LEFT_BEHIND.fullmatch(path.name) and self.wanted.in_foreign(content):
                return b"null", False
        return self.wanted.redacted(content, named=named)

    def _sealed(self, path: Path) -> None:
        """Name a package that holds one as a golden row."""
        content = path.read_bytes()
        if self.wanted.in_foreign(content):
            self.left.append(
                f"{self._shown(path)}: the package is sealed and holds it as a golden row: train anew, then delete "
                "that version"
            )

    def _runs(self) -> None:
        """Delete what Metaflow keeps of one; clean the cards and the logs.

        A value is kept under its own digest, and a later run that makes the same value again finds it there: it must
        not be another one.
        """
        for path in _files(self.folder / RUNS, skipped=("data", "_meta")):
            self._file(path, "cards and logs of runs", named=MONITOR in path.parts)
        for flow in sorted((self.folder / RUNS).glob("*Flow")):
            self._flow(flow)

    def _flow(self, flow: Path) -> None:
        """Delete the values of a flow's runs that hold one, and mark the runs."""
        monitors, tasks = flow.name == MONITOR, list(_objects(flow))
        listed = {path.parent.name for path in flow.glob("*/_meta")}
        if (gone := sorted(listed - {run for run, _, _ in tasks})) and flow.name in _WITH_TEXTS:
            runs = f"runs {gone[0]} to {gone[-1]}" if len(gone) > 1 else f"run {gone[0]}"
            self.left.append(f"{flow.name}, {runs}: values are kept elsewhere (--datastore): delete those runs there")
        naming = {
            digest for run, _, objects in tasks if monitors and run not in self._strange for digest in objects.values()
        }
        asked = {digest for _, step, objects in tasks if step == "_parameters" for digest in objects.values()}
        values = {path.name: path for path in flow.glob("data/*/*") if path.suffix == "" and "_" not in path.name}
        held = {
            name
            for name in values.keys() - asked
            if self.wanted.in_value(_unpacked(values[name]), named=name in naming)
        }
        for run, _, objects in tasks:
            if held.isdisjoint(objects.values()):
                continue
            if monitors:
                held |= {objects[name] for name in _OF_WORDS if name in objects} & values.keys()
            mark = self.folder / _UNFIT / f"{flow.name}-{run}"
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch(mode=0o600)
        for name in held:
            values[name].unlink(missing_ok=True)
        self.taken["values of runs"] += len(held)

    def _export(self, path: Path, date: datetime) -> None:
        """Take rows out of an exported file."""
        try:
            self.taken["rows of exports"] += export.remove_rows(
                path, export.RowsToRemove(self.uuids, self.wanted.values)
            )
        except FileNotFoundError:
            if self.labelled and self.labelled <= date:
                self.left.append(
                    f"{self._shown(path)}: exported on {date:%Y-%m-%d} with it, and moved since: take it out of that "
                    f"file; if it is deleted, take its line out of {_KEPT}"
                )
        except (OSError, ValueError):
            self._other(path)

    def _others(self, exports: set[Path]) -> None:
        """Name files that others have put into the folder and that hold one."""
        for path in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            if path.is_file() and not path.is_symlink() and path not in self.own | exports:
                self._other(path)

    def _other(self, path: Path) -> None:
        try:
            if self.wanted.in_foreign(export.read_export(path)):
                self.left.append(f"{self._shown(path)}: holds it, and is not spamctl's: take it out of that file")
        except (OSError, EOFError, zlib.error):
            self.left.append(f"{self._shown(path)}: cannot be read: see whether it holds it")

    def _shown(self, path: Path) -> str:
        return str(path.relative_to(self.folder)) if path.is_relative_to(self.folder) else str(path)


@dataclass(frozen=True, slots=True)
class _Remembered:
    """An unusual place of texts, relative to the folder if it is inside, and since when it holds them."""

    kind: str
    path: str
    date: datetime


def remember_place(kind: str, path: Path) -> None:
    """Record, in the working folder, unusual places of texts: an export, or reports."""
    place = Path(os.path.relpath(path)) if Path(path).absolute().is_relative_to(Path.cwd()) else Path(path).absolute()
    line = json.dumps(to_json(_Remembered(kind, str(place), datetime.now(UTC))))
    _KEPT.parent.mkdir(exist_ok=True)
    with os.fdopen(os.open(_KEPT, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
        file.write(f"{line}\n")


def remember_reports(folder: Path) -> None:
    """Record where reports are written, unless that is the usual place or already recorded."""
    place = folder.absolute()
    if place != REPORTS.absolute() and all(path.absolute() != place for _, path, _ in remembered(Path.cwd())):
        remember_place(REPORT, folder)


def remembered(folder: Path) -> Iterator[tuple[str, Path, datetime]]:
    """Yield what `remember` wrote in a folder: kind, path, moment."""
    kept = folder / _KEPT
    for line in kept.read_text(encoding="utf-8").splitlines() if kept.is_file() else ():
        told = from_json(_Remembered, json.loads(line))
        yield told.kind, folder / told.path, told.date


def _files(place: Path, skipped: tuple[str, ...] = ()) -> Iterator[Path]:
    """Yield files under a place that hold text, no link being followed; code of ours is none of them."""
    for root, folders, names in os.walk(place):
        packaged = "MLmodel" in names
        folders[:] = sorted(set(folders) - set(skipped) - ({_CODE} if packaged else set()))
        for name in sorted(names):
            path = Path(root, name)
            if path.suffix.lower() not in _BINARY and path.is_file() and not path.is_symlink():
                yield path


def _unpacked(path: Path) -> bytes:
    """Return a value of a run as it was before it was packed."""
    content = path.read_bytes()
    return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content


def _objects(flow: Path) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield the run and the step of each task of a flow, and the digests of its values by name."""
    for path in flow.glob("*/*/*/*.data.json"):
        run, step = path.parts[-4:-2]
        yield run, step, json.loads(path.read_text(encoding="utf-8")).get("objects", {})
