"""List every place that stores the text of a message, and overwrite forgotten ones in each, in any encoding."""

from __future__ import annotations

import contextlib
import csv
import gzip
import html
import io
import json
import os
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from spamctl.data import export
from spamctl.data.cleaning import clean
from spamctl.schema.codec import from_json, to_json

# Find forgotten messages in the bytes of a file, in any encoding, and overwrite them.

FILLER = b"(forgotten)"
LEAST = 24  # bytes from which on a message is recognised inside a longer string too; "ok" is part of everything
_LEAST_LOOSE = 12  # bytes from which on a value of somebody else's file is taken for a message

_TEXT = re.compile(rb'<span class="text" dir="auto">([^<]+)<')  # how our pages show what is hostile, and nothing else
_WORDS_PICTURE = re.compile(rb'<img alt="words"[^>]*>')
# Looking ahead, each of these also begins in the middle of what another has found: quotes may be out of step.
_QUOTED = re.compile(rb'"(?=([^"\\]*+(?:\\.[^"\\]*+)*+)")', re.DOTALL)
_FIELD = re.compile(rb"(?:^|[\t\r\n,;])(?=([^\t\r\n,;\"]+))")
_SHORT, _LONG = re.compile(rb"\x8c(?=(.))", re.DOTALL), re.compile(rb"X(?=(.{4}))", re.DOTALL)  # strings of a pickle
_KEY = 8  # bytes by which a string is looked up
_CHUNK = 2**22

Span = tuple[int, int]


class Inside:
    """Search for byte strings of 8 bytes and more inside longer ones, at a cost nearly independent of their number."""

    def __init__(self, strings: Iterable[bytes]) -> None:
        self._by_key: defaultdict[int, list[bytes]] = defaultdict(list)
        for string in strings:
            if len(string) >= _KEY:
                self._by_key[int.from_bytes(string[:_KEY], "little")].append(string)
        self._keys = np.fromiter(sorted(self._by_key), np.uint64, len(self._by_key))

    def find(self, content: bytes) -> Iterator[Span]:
        """Yield where one begins and ends."""
        for start in range(0, len(content) if len(self._keys) else 0, _CHUNK):
            part = content[start : start + _CHUNK + _KEY - 1]
            for shift in range(min(_KEY, max(0, len(part) - _KEY + 1))):
                keys = np.frombuffer(part, "<u8", (len(part) - shift) // _KEY, shift)
                for place in np.flatnonzero(np.isin(keys, self._keys)):
                    at = start + shift + _KEY * int(place)
                    for string in self._by_key[int(keys[place])]:
                        if content.startswith(string, at):
                            yield at, at + len(string)


@dataclass(frozen=True)
class Wanted:
    """Forgotten messages, and words that occur in no other message, as files spell them.

    `html` spells a text as our pages do. A message counts as a whole value where messages stand, and from 24 bytes on
    inside anything; `words` count where monitoring names words, and nowhere else.
    """

    texts: frozenset[str]
    words: frozenset[str] = frozenset()
    html: Callable[[str], str] = html.escape
    values: frozenset[str] = field(init=False)
    _forms: frozenset[bytes] = field(init=False)
    _word_forms: frozenset[bytes] = field(init=False)
    _inside: Inside = field(init=False)

    def __post_init__(self) -> None:
        values = {value for text in self.texts for value in (text, clean(text), _whole(text)) if value.strip()}
        forms = {form for value in values for form in self._spelt(value)}
        words = {form for word in self.words for form in self._spelt(word)}
        object.__setattr__(self, "values", frozenset(values))
        object.__setattr__(self, "_forms", frozenset(forms))
        object.__setattr__(self, "_word_forms", frozenset(words))
        object.__setattr__(self, "_inside", Inside(form for form in forms if len(form) >= LEAST))

    def in_value(self, content: bytes, *, named: bool) -> bool:
        """Return whether a pickled value, which may be a page, contains a message, or a word if it names words."""
        kinds = (self._pickled(content, named=named), self._spans(content, named=named))
        return any(True for kind in kinds for _ in kind)

    def in_foreign(self, content: bytes) -> bool:
        """Return whether a third-party file contains a message: as a value, or from 24 bytes on inside another."""
        loose = (match[1] for pattern in (_QUOTED, _FIELD) for match in pattern.finditer(content))
        return any(len(value) >= _LEAST_LOOSE and value in self._forms for value in loose) or any(
            True for _ in self._inside.find(content)
        )

    def redacted(self, content: bytes, *, named: bool) -> tuple[bytes, bool]:
        """Return a text of the same length without the messages, and whether words were blanked, too.

        `named` says that it names words. What was there reads "(forgotten)", or the beginning of that.
        """
        blank, words = bytearray(content), False
        for start, end in self._spans(content, named=named):
            words |= named and content[start:end] not in self._forms
            blank[start:end] = FILLER.ljust(end - start)[: end - start]
        for match in _WORDS_PICTURE.finditer(content) if words else ():
            blank[match.start() : match.end()] = b" " * (match.end() - match.start())
        return bytes(blank), words

    def without_rows(self, content: bytes) -> bytes:
        """Return a test part without the rows that say one; raise ValueError, TypeError or KeyError if it is none."""
        rows = json.loads(content)
        kept = [row for row in rows if row["text"] not in self.values]
        return content if len(kept) == len(rows) else json.dumps(kept, indent=1).encode()

    def without_causes(self, content: bytes, uuids: frozenset[str]) -> bytes:
        """Return the finding of a monitoring without the words, and the examples of the rows; raise as above."""
        finding = json.loads(content)
        causes = dict(finding["causes"])
        for side, found in causes.items():
            if side == "examples":
                causes[side] = {
                    name: [each for each in rows if not self._names(each, uuids)] for name, rows in found.items()
                }
            elif side != "carriers":
                told = ({**each, "beside": self._other_words(each.get("beside", ()))} for each in found)
                causes[side] = [each for each in told if each["term"] not in self.words]
        same = causes == finding["causes"]
        return content if same else json.dumps({**finding, "causes": causes}, indent=1, allow_nan=False).encode()

    def without_words(self, content: bytes) -> bytes:
        """Return a table of words that moved without the rows that name one."""
        shown = {html.unescape(self.html(word)) for word in self.words}
        rows = list(csv.reader(io.StringIO(content.decode("utf-8", "replace"), newline="")))
        kept = [
            row
            for row in rows
            if not any({cell, cell.removeprefix("'"), *cell.split(", ")} & shown for cell in row[1:])
        ]
        if len(kept) == len(rows):
            return content
        paper = io.StringIO()
        csv.writer(paper, lineterminator="\n").writerows(kept)
        return paper.getvalue().encode()

    def _names(self, example: Mapping[str, object], uuids: frozenset[str]) -> bool:
        return example.get("uuid") in uuids or example.get("text") in self.values

    def _other_words(self, words: Iterable[str]) -> list[str]:
        return [word for word in words if word not in self.words]

    def _spelt(self, value: str) -> Iterator[bytes]:
        """Yield a value as JSON, HTML, CSV and plain text spell it."""
        for spelt in (
            value,
            json.dumps(value)[1:-1],
            json.dumps(value, ensure_ascii=False)[1:-1],
            self.html(value),
            value.replace('"', '""'),
        ):
            yield spelt.encode("utf-8", "surrogatepass")

    def _spans(self, content: bytes, *, named: bool) -> Iterator[Span]:
        """Yield where our pages show messages, or words, and where messages stand inside anything."""
        words = self._word_forms if named else frozenset()
        for match in _TEXT.finditer(content):
            if match[1] in self._forms or not words.isdisjoint({match[1], *match[1].split(b", ")}):
                yield match.span(1)
        yield from self._inside.find(content)

    def _pickled(self, content: bytes, *, named: bool) -> Iterator[Span]:
        """Yield where a pickle holds a string that is a message or a word."""
        forms = self._forms | self._word_forms if named else self._forms
        lengths = {len(form) for form in forms}
        for pattern, size in ((_SHORT, 1), (_LONG, 4)):
            for match in pattern.finditer(content):
                length, start = int.from_bytes(match[1], "little"), match.end() + size
                if length in lengths and content[start : start + length] in forms:
                    yield start, start + length


def _whole(text: str) -> str:
    """Return a text as a file of UTF-8 holds it: halves of characters are replaced."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


# List every place that stores the text of a message, and remove forgotten ones from each.
# Beside the store itself, whose rows, tables and files `forgotten` and `purge` look after, these keep texts, or parts
# of them, in the folder that a command is typed in and in that of the store:
# place what of a message when it is forgotten reports/RUN/index.html examples, words that moved blanked
# reports/RUN/monitor.json, words.csv words that moved; uuids of examples blanked .metaflow/FLOW/data training and test
# rows, sent rows, the value is deleted; its run cannot words that moved be resumed, and says so --datastore s3, azure,
# gs the same, beyond reach named: delete those runs there .metaflow/mf.cards worst errors, words that moved blanked
# mlruns, mlartifacts test_part.json: the test rows the row is taken out (older: pages and pictures of words) blanked,
# pictures deleted .spamctl/models/*.test_part.json a copy of the test rows the row is taken out .spamctl/monitor-
# RUN.json, preview-*, left by a command that was killed blanked .spamctl/score rows of an interrupted scoring blanked,
# and scored again .spamctl/stdin-* left by a command that was killed blanked .spamctl/logs nothing, by law 6 blanked
# all the same exports (label --export) whole rows the row is taken out manifest.json of a package golden rows named: a
# package is sealed other files in the folder what their owner put there named: they are not ours memory of spamctl
# serve (GET /recent) of rows that were not captured: 30 gone with the next 30, or the server; of captured ones nothing
# texts are read from the store weights of a version that has learnt it no text train anew; `trace` names the version
# Nothing else does: reviews, labels, truths, monitoring's trend, checkpoints and cached features hold uuids or numbers.
# Who adds a place adds it here, and to `tests/flows/test_forget.py`, which searches every byte of a folder.

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
