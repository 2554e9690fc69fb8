"""Write scored rows to files and mails to a Maildir, and keep the finished parts of an interrupted scoring."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Final, Self

from filelock import FileLock, Timeout

from spamctl.data.tables import guarded
from spamctl.errors import DataError, UnavailableError, UsageError
from spamctl.schema.message import SPAM, Verdict

if TYPE_CHECKING:
    import pyarrow as pa

# Write scored rows to files, and mails with their verdicts to a Maildir.

ScoredRow = Mapping[str, Any]  # a value for each of the columns
COLUMNS: Final = {
    "source": str,
    "place": int,
    "classification": str,  # none where the message could not be read
    "probability": float,
    "threshold": float,
    "model_name": str,
    "model_version": str,
    "in_reach": bool,
    "truncated": bool,
    "label": str,
    "uuid": str,  # of what was captured
    "fault": str,
}
TEXT: Final = {"text": str}
_PAGE = 1_000


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that cannot be made, before anything is read; raise DataError."""
    if path.suffix.lower() not in _WRITERS:
        raise DataError(f"--output {path}: not a file of a known kind: let its name end in {', '.join(_WRITERS)}")
    if path.is_dir() or not path.parent.is_dir():
        what = "is a folder" if path.is_dir() else "its folder does not exist"
        raise DataError(f"--output {path}: {what}: name a file in a folder that is there")
    if path.exists() and not overwrite:
        raise DataError(f"--output {path}: is there already: name another file, or replace it with --overwrite")


def write(path: Path, rows: Iterable[ScoredRow], *, with_text: bool, overwrite: bool) -> None:
    """Write all rows to a file whose suffix tells its format; it appears under its name when it is on the disk.

    A file that is there already is replaced if that is wished, or if it is the same. Raises DataError if the file
    cannot be written, or another one has come up meanwhile.
    """
    columns = COLUMNS | TEXT if with_text else COLUMNS
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with draft.open("xb") as file:
            with _WRITERS[path.suffix.lower()](file, columns) as write_page:
                pages = iter(rows)
                while page := list(islice(pages, _PAGE)):
                    write_page(page)
            file.flush()
            os.fsync(file.fileno())
        if path.exists() and not overwrite and _digest(path) != _digest(draft):
            raise DataError(f"--output {path}: another program has made it: move it away, and add --resume")
        draft.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise DataError(f"--output {path}: cannot be written ({error.strerror}): make room, or mend it") from error
    finally:
        draft.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Have the names in a folder on the disk: what the file was made of may be removed afterwards."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


WritePage = Callable[[Sequence[ScoredRow]], None]
Columns = Mapping[str, type]


@contextmanager
def _table(file: IO[bytes], columns: Columns, delimiter: str) -> Iterator[WritePage]:
    """Write every cell in quotation marks, as RFC 4180 says, and none that a spreadsheet would compute."""
    lines = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(lines, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(columns)
    yield lambda page: writer.writerows([_cell(row.get(name)) for name in columns] for row in page)
    lines.detach()


def _cell(value: object) -> str:
    """Return a value as a cell: nothing for none, true and false, the shortest number that is the same."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return guarded(_whole(value)) if isinstance(value, str) else repr(value)


@contextmanager
def _jsonl(file: IO[bytes], columns: Columns) -> Iterator[WritePage]:
    """Write an object a line, in ASCII."""
    yield lambda page: file.writelines(
        json.dumps({name: row.get(name) for name in columns}).encode() + b"\n" for row in page
    )


@contextmanager
def _parquet(file: IO[bytes], columns: Columns) -> Iterator[WritePage]:
    """Write typed columns."""
    from pyarrow import parquet

    with parquet.ParquetWriter(file, parquet_table([], columns).schema) as writer:
        yield lambda page: writer.write_table(parquet_table(page, columns))


def parquet_table(rows: Sequence[ScoredRow], columns: Columns) -> pa.Table:
    """Return rows as typed columns."""
    import pyarrow as pa

    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in columns.items()])
    return pa.table({name: [_stored(row.get(name)) for row in rows] for name in columns}, schema=schema)


def _stored(value: object) -> object:
    return _whole(value) if isinstance(value, str) else value


def _whole(text: str) -> str:
    """Return a text as UTF-8 can hold it: halves of surrogate pairs become U+FFFD, as the model reads them."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


_WRITERS: dict[str, Callable[[IO[bytes], Columns], AbstractContextManager[WritePage]]] = {
    ".csv": lambda file, columns: _table(file, columns, ","),
    ".tsv": lambda file, columns: _table(file, columns, "\t"),
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".parquet": _parquet,
}


# Copy mails into a Maildir with their verdicts as headers, each once, however often a run is interrupted.

# Line ends as mail parsers take them: a lone carriage return ends a line for some, so none may hide a header.
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|\Z)")
_OURS = re.compile(rb"x-spam-(?:flag|status)[ \t]*:", re.IGNORECASE)
_FROM_LINE = b"From "  # that an mbox puts before each mail
_FOLDERS = ("tmp", "new", "cur")


def marked(raw: bytes, verdict: Verdict, threshold: float, version: str) -> bytes:
    """Return a mail with the headers X-Spam-Flag and X-Spam-Status before its others; those that it had are removed."""
    end = b"\r\n" if b"\r\n" in raw[:4096] else b"\n"
    is_spam = verdict.classification == SPAM
    status = f"{'Yes' if is_spam else 'No'}, probability={verdict.probability:.4f} threshold={threshold:.4f}"
    lines = [f"X-Spam-Flag: {'YES' if is_spam else 'NO'}", f"X-Spam-Status: {status} version={version}"]
    return b"".join([*(line.encode("ascii", "replace") + end for line in lines), unmarked(raw)])


def unmarked(raw: bytes) -> bytes:
    """Return a mail without the two headers, whoever has set them, and without the line that an mbox puts before it."""
    head, body = _divided(raw)
    return b"".join([*_without_ours(head), body])


def _divided(raw: bytes) -> tuple[list[bytes], bytes]:
    """Return the lines of a mail's head, and the rest from the empty line on."""
    lines: list[bytes] = []
    at = 0
    for found in _LINE.finditer(raw):
        line = found[0]
        if not line.strip(b"\r\n"):
            break
        at = found.end()
        if lines or not line.startswith(_FROM_LINE):
            lines.append(line)
    return lines, raw[at:]


def _without_ours(lines: Iterable[bytes]) -> Iterable[bytes]:
    """Yield header lines without those of the two headers, and without what continues them."""
    dropped = False
    for line in lines:
        if not (dropped and line[:1] in (b" ", b"\t")):
            dropped = _OURS.match(line) is not None
        if not dropped:
            yield line


class Maildir:
    """Maildir into which each mail of a run is delivered once."""

    def __init__(self, folder: Path, run: str) -> None:
        """Make the Maildir if it is missing; raise DataError if it cannot be made.

        `run` names the run, the same when it is continued.
        """
        self._folder, self._run = folder, run
        try:
            for name in _FOLDERS:
                (folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
            self._there = {_number_of(path.name, run) for name in _FOLDERS[1:] for path in (folder / name).iterdir()}
        except OSError as error:
            raise DataError(f"--into-maildir {folder}: cannot be made ({error.strerror}): name another") from error

    def deliver(self, number: int, content: bytes) -> None:
        """Deliver the mail of a number, unless an earlier try has; it is on the disk when this returns."""
        if number in self._there:
            return
        name = f"{self._run}.{number}.spamctl"
        draft = self._folder / "tmp" / name
        try:
            with os.fdopen(os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.rename(self._folder / "new" / name)
        except OSError as error:
            raise DataError(
                f"--into-maildir {self._folder}: cannot be written ({error.strerror}): make room"
            ) from error
        self._there.add(number)


def _number_of(name: str, run: str) -> int:
    """Return the number of a mail that this run has delivered, -1 of any other: its reader adds flags behind it."""
    found = re.match(rf"{re.escape(run)}\.(\d+)\.spamctl", name)
    return int(found[1]) if found else -1


# Keep the finished parts of an interrupted scoring, so that it continues with nothing lost and nothing twice.
# parts/begun.json what is scored by what, and the id of the run that began it parts/part-000000.jsonl rows; written
# under another name first parts/part-000000.json their number, their sha256 and what was counted of them: with it the
# part is whole
# A part that is not whole, or was changed, is scored again, and so are those behind it. The folder is below `.spamctl`,
# which `spamctl forget` searches.

_BEGUN = "begun.json"
PARTS = Path(".spamctl", "score")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a scoring is made of: the same again gives the same rows."""

    input: str  # its sha256
    model: str  # name and version
    package: str  # the digest
    options: str  # what else changes rows

    def differences(self, other: Fingerprint) -> list[str]:
        """Name what is another one."""
        told = {"input": "the messages", "model": f"the version ({other.model} then, {self.model} now)"}
        told |= {"package": "the package of the version", "options": "options of the rows"}
        return [words for name, words in told.items() if getattr(self, name) != getattr(other, name)]


def place_of(*targets: str) -> Path:
    """Return the folder of the parts of what goes to some files and folders."""
    named = json.dumps([str(Path(target).absolute()) for target in targets])
    return PARTS / hashlib.sha256(named.encode()).hexdigest()[:16]


class Parts:
    """Finished parts of one scoring, held by one process at a time."""

    def __init__(self, folder: Path, fingerprint: Fingerprint, *, resume: bool, overwrite: bool) -> None:
        """Begin, or continue what was interrupted.

        Raises UsageError if something was interrupted and it is not said what becomes of it, or it was another scoring.
        """
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = FileLock(folder.with_suffix(".lock"))
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise UnavailableError("another run writes the same output: wait for its end, or stop it") from None
        try:
            self._begin(fingerprint, resume=resume, overwrite=overwrite)
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._lock.release()

    def _begin(self, fingerprint: Fingerprint, *, resume: bool, overwrite: bool) -> None:
        begun = self.folder / _BEGUN
        told = json.loads(begun.read_bytes()) if begun.is_file() and not overwrite else None
        others = fingerprint.differences(Fingerprint(**told["fingerprint"])) if told else []
        self.summaries: list[dict[str, Any]] = []
        if told and self._data(0).with_suffix(".json").is_file():
            if not resume:
                raise UsageError("an interrupted run has left parts: add --resume, or discard them by --overwrite")
            if others:
                raise UsageError(
                    f"--resume: {' and '.join(others)} changed since it was begun: give the same again, or start over "
                    "with --overwrite instead"
                )
            self.summaries = list(self._whole())
        # Under the same id, what was captured or delivered before the first part was whole is not so again.
        self.run = str(told["run"]) if told and not others else secrets.token_hex(8)
        for stale in self.folder.iterdir():
            if stale != begun and not self._is_kept(stale):
                stale.unlink()
        _write(begun, json.dumps({"run": self.run, "fingerprint": _plain(fingerprint)}).encode())

    @property
    def rows(self) -> int:
        """Count the rows of the finished parts."""
        return sum(int(summary["rows"]) for summary in self.summaries)

    def add(self, rows: Iterable[ScoredRow], told: Mapping[str, Any]) -> None:
        """Finish a part: its rows and what was counted of them are on the disk when it returns."""
        lines = [json.dumps(row).encode() for row in rows]
        content = b"".join(line + b"\n" for line in lines)
        summary = dict(told) | {"rows": len(lines), "sha256": hashlib.sha256(content).hexdigest()}
        number = len(self.summaries)
        _write(self._data(number), content)
        _write(self._data(number).with_suffix(".json"), json.dumps(summary).encode())
        self.summaries.append(summary)

    def read(self) -> Iterator[ScoredRow]:
        """Yield the rows of all parts in order."""
        for number in range(len(self.summaries)):
            with self._data(number).open("rb") as file:
                for line in file:
                    yield json.loads(line)

    def remove(self) -> None:
        """Remove all of it: the output is whole."""
        shutil.rmtree(self.folder)

    def _whole(self) -> Iterator[dict[str, Any]]:
        """Yield what was counted of each part from the first one on, up to one that is not whole."""
        for number in count():
            try:
                summary = json.loads(self._data(number).with_suffix(".json").read_bytes())
                content = self._data(number).read_bytes()
            except (OSError, ValueError):
                return
            if hashlib.sha256(content).hexdigest() != summary["sha256"]:
                return
            yield summary

    def _is_kept(self, path: Path) -> bool:
        number = path.stem.removeprefix("part-")
        return number.isdigit() and int(number) < len(self.summaries)

    def _data(self, number: int) -> Path:
        return self.folder / f"part-{number:06d}.jsonl"


def _plain(fingerprint: Fingerprint) -> dict[str, str]:
    return {name: getattr(fingerprint, name) for name in fingerprint.__slots__}


def _write(path: Path, content: bytes) -> None:
    """Write a file under another name, for its owner alone, and give it its own when it is on the disk."""
    draft = path.with_name(f".{path.name}.draft")
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
