"""Write labelled messages to files that training reads back, and remove forgotten rows from them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from spamctl.data.cleaning import clean
from spamctl.data.rows import LONGEST_LINE
from spamctl.data.tables import GUARD, guarded, unguarded
from spamctl.errors import DataError
from spamctl.schema.message import Label


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """A row of the file, its fields in the order of the columns."""

    text: str
    label: Label
    uuid: str
    source: str
    date: datetime

    def cells(self) -> list[str]:
        """Return the row as text; the moment in ISO 8601."""
        return [self.text, self.label, self.uuid, self.source, self.date.isoformat()]


_TABLES, _JSON = {".csv", ".tsv"}, {".jsonl", ".ndjson"}
COLUMNS = LabelledRow.__slots__
Write = Callable[[Sequence[LabelledRow]], None]
ROWS_OF_A_PART = 500_000
_PART = re.compile(r"part-\d{5,}\.parquet")


@dataclass(slots=True)
class Exported:
    """Counts of what was written and left out, and what a reader of the file should know."""

    rows: int = 0
    empty: int = 0  # left out: training refuses a message without text
    halves: int = 0  # texts with halves of surrogate pairs, which no UTF-8 file can hold
    guarded: int = 0  # rows with cells that a spreadsheet would take for formulas

    @property
    def notes(self) -> list[str]:
        """Describe what may surprise a reader of the file."""
        told = {
            f"left out: {self.empty:,} messages without text, which training would refuse": self.empty,
            f"{self.halves:,} messages hold halves of characters, written as U+FFFD, as training reads them": (
                self.halves
            ),
            f"{self.guarded:,} messages begin like a formula, and have a {GUARD} before it, so that no spreadsheet "
            "computes them: spamctl takes it off again": self.guarded,
        }
        return [note for note, count in told.items() if count]


def is_folder(target: str) -> bool:
    """Return whether what is to be exported to is a folder of parts: its name ends in a slash."""
    return target.endswith(("/", os.sep))


def check_folder(path: Path, *, overwrite: bool) -> None:
    """Refuse a folder of parts that cannot be made, before anything is read; raise DataError."""
    if not path.parent.is_dir():
        raise DataError(f"--export {path}/: the folder around it does not exist: make it, or name another place")
    if not path.exists():
        return
    if not path.is_dir() or any(not _PART.fullmatch(one.name) for one in path.iterdir()):
        raise DataError(f"--export {path}/: is there already, and holds something else: name another folder")
    if not overwrite:
        raise DataError(f"--export {path}/: is there already: name another folder, or replace it with --overwrite")


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that cannot be made, before anything is read; raise DataError."""
    if path.suffix.lower() not in _WRITERS:
        raise DataError(f"--export {path}: not a file of a known kind: let its name end in {', '.join(_WRITERS)}")
    if path.is_dir() or not path.parent.is_dir():
        what = "is a folder" if path.is_dir() else "its folder does not exist"
        raise DataError(f"--export {path}: {what}: name a file in a folder that is there")
    if path.exists() and not overwrite:
        raise DataError(f"--export {path}: is there already: name another file, or replace it with --overwrite")


def export(path: Path, pages: Iterable[Sequence[LabelledRow]]) -> Iterator[Exported]:
    """Write pages of rows to a file whose extension tells its format, and yield the counts after each page.

    The file appears under its name when all of it is on the disk, with at least one row; raise DataError if it cannot
    be written.
    """
    counts = Exported()
    try:
        with _appearing(path, counts) as file, _WRITERS[path.suffix.lower()](file) as write:
            for page in pages:
                write(_fit(path.suffix.lower(), page, counts))
                yield counts
    except OSError as error:
        raise DataError(f"--export {path}: cannot be written ({error.strerror}): make room, or mend it") from error


def export_parts(path: Path, pages: Iterable[Sequence[LabelledRow]]) -> Iterator[Exported]:
    """Write pages of rows to a folder of parquet files of a bounded size, and yield the counts after each page.

    The folder appears under its name when all of it is on the disk, with at least one row, in the place of an earlier
    one; raise DataError if it cannot be written.
    """
    counts, number, held = Exported(), 0, ROWS_OF_A_PART
    try:
        with _appearing_folder(path, counts) as folder, ExitStack() as opened:
            for page in pages:
                if rows := _fit(".parquet", page, counts):
                    if held >= ROWS_OF_A_PART:
                        opened.close()
                        write = opened.enter_context(_part(folder / f"part-{number:05}.parquet"))
                        number, held = number + 1, 0
                    write(rows)
                    held += len(rows)
                yield counts
    except OSError as error:
        raise DataError(f"--export {path}/: cannot be written ({error.strerror}): make room, or mend it") from error


@contextmanager
def _part(path: Path) -> Iterator[Write]:
    """Yield what writes a new file of a folder of parts, which is on the disk at the end."""
    with path.open("xb") as file:
        with _parquet(file) as write:
            yield write
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _appearing_folder(path: Path, counts: Exported) -> Iterator[Path]:
    """Yield a folder beside the target that takes its place at the end, and is removed if that fails."""
    scratch, before = (path.with_name(f".{path.name}.{secrets.token_hex(8)}") for _ in range(2))
    try:
        scratch.mkdir()
        yield scratch
        if counts.rows:
            if path.exists():
                path.rename(before)
            scratch.rename(path)
    finally:
        for folder in (scratch, before):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _appearing(path: Path, counts: Exported) -> Iterator[IO[bytes]]:
    """Yield a file beside the target that is renamed to it at the end, and removed if that fails."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with scratch.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if counts.rows:
            scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def _fit(kind: str, page: Sequence[LabelledRow], counts: Exported) -> list[LabelledRow]:
    """Leave out what has no text, count what is odd, and make each text one that the format can hold."""
    fitting = []
    for row in page:
        if not clean(row.text).strip():
            counts.empty += 1
            continue
        text = row.text
        if kind not in _JSON and not text.isascii():  # JSON escapes what UTF-8 cannot hold
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
            counts.halves += text != row.text
        fit = LabelledRow(text, row.label, row.uuid, row.source, row.date)
        counts.guarded += kind in _TABLES and any(cell != guarded(cell) for cell in fit.cells())
        counts.rows += 1
        fitting.append(fit)
    return fitting


@contextmanager
def _table(file: IO[bytes], delimiter: str) -> Iterator[Write]:
    """Write every cell in quotation marks, as RFC 4180 says, and none that a spreadsheet would compute."""
    lines = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(lines, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(COLUMNS)
    yield lambda rows: writer.writerows(map(guarded, row.cells()) for row in rows)
    lines.detach()


@contextmanager
def _jsonl(file: IO[bytes]) -> Iterator[Write]:
    """Write an object a line, in ASCII."""
    yield lambda rows: file.writelines(
        json.dumps(dict(zip(COLUMNS, row.cells(), strict=True))).encode() + b"\n" for row in rows
    )


@contextmanager
def _parquet(file: IO[bytes]) -> Iterator[Write]:
    """Write columns of strings, and the moment as one."""
    import pyarrow as pa
    from pyarrow import parquet

    kinds = [pa.timestamp("us", "UTC") if name == "date" else pa.string() for name in COLUMNS]
    schema = pa.schema(list(zip(COLUMNS, kinds, strict=True)))
    with parquet.ParquetWriter(file, schema) as writer:
        yield lambda rows: writer.write_table(
            pa.table({name: [getattr(row, name) for row in rows] for name in COLUMNS}, schema=schema)
        )


_WRITERS: dict[str, Callable[[IO[bytes]], AbstractContextManager[Write]]] = {
    ".csv": lambda file: _table(file, ","),
    ".tsv": lambda file: _table(file, "\t"),
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".parquet": _parquet,
}


# Remove rows from exported files, and detect forgotten rows in other files of messages.

_UUID, _TEXT = COLUMNS.index("uuid"), COLUMNS.index("text")


@dataclass(frozen=True, slots=True)
class RowsToRemove:
    """Rows to remove: those of some uuids, and those whose text equals one of some texts."""

    uuids: Collection[str]
    texts: Collection[str]

    def has(self, uuid: object, text: object) -> bool:
        """Return whether a row is one of them."""
        return uuid in self.uuids or text in self.texts


def remove_rows(path: Path, gone: RowsToRemove) -> int:
    """Take rows out of a file, or the parts of a folder, as written above, in its place, and return how many they were.

    The file is for its owner alone afterwards. Raises OSError if it cannot be read or written, ValueError if it is not
    as `export` wrote it.
    """
    if path.is_dir():
        return sum(remove_rows(part, gone) for part in sorted(path.iterdir()) if _PART.fullmatch(part.name))
    read = _REWRITERS.get(path.suffix.lower())
    if read is None:
        path.stat()  # what is not there is no folder of parts either
        raise ValueError("no exported file has such a name")
    content, rows = read(path, gone)
    if rows:
        replace_file(path, content)
    return rows


def replace_file(path: Path, content: bytes) -> None:
    """Write a file for its owner alone beside its place, and move it there; raise OSError if that fails."""
    waiting = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(waiting, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        waiting.replace(path)
    finally:
        waiting.unlink(missing_ok=True)


def read_export(path: Path) -> bytes:
    """Return what a file says: unpacked if it is packed, the columns of text of a parquet file as JSON."""
    content = path.read_bytes()
    if content.startswith(b"\x1f\x8b"):
        return gzip.decompress(content)
    if content.startswith(b"PAR1"):
        from pyarrow import parquet

        return json.dumps(parquet.read_table(io.BytesIO(content)).to_pydict(), default=str).encode()
    return content


def _without_in_table(path: Path, gone: RowsToRemove, delimiter: str) -> tuple[bytes, int]:
    """Return a file of quoted cells, a row of which may be many lines, without the rows."""
    csv.field_size_limit(LONGEST_LINE)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file, delimiter=delimiter))
    except csv.Error as error:
        raise ValueError(str(error)) from error
    if not rows or rows[0] != list(COLUMNS) or any(len(row) != len(COLUMNS) for row in rows):
        raise ValueError("its columns are not those of an export")
    kept = [row for row in rows if not gone.has(row[_UUID], unguarded(row[_TEXT]))]
    paper = io.StringIO()
    csv.writer(paper, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(kept)
    return paper.getvalue().encode(), len(rows) - len(kept)


def _without_in_jsonl(path: Path, gone: RowsToRemove) -> tuple[bytes, int]:
    """Return a file of an object a line without the rows."""
    lines = path.read_bytes().splitlines(keepends=True)
    kept = []
    for line in lines:
        row = json.loads(line)
        if not isinstance(row, dict) or "uuid" not in row:
            raise ValueError("a line is no row")
        if not gone.has(row["uuid"], row.get("text")):
            kept.append(line)
    return b"".join(kept), len(lines) - len(kept)


def _without_in_parquet(path: Path, gone: RowsToRemove) -> tuple[bytes, int]:
    """Return a table without the rows."""
    from pyarrow import ArrowException, array, int64, parquet

    try:
        table = parquet.read_table(path)
        pairs = zip(table["uuid"].to_pylist(), table["text"].to_pylist(), strict=True)
        stay = [place for place, pair in enumerate(pairs) if not gone.has(*pair)]
    except (ArrowException, KeyError) as error:
        raise ValueError(str(error)) from error
    written = io.BytesIO()
    parquet.write_table(table.take(array(stay, int64())), written)  # typed: there may be none
    return written.getvalue(), table.num_rows - len(stay)


_REWRITERS: dict[str, Callable[[Path, RowsToRemove], tuple[bytes, int]]] = {
    ".csv": lambda path, gone: _without_in_table(path, gone, ","),
    ".tsv": lambda path, gone: _without_in_table(path, gone, "\t"),
    ".jsonl": _without_in_jsonl,
    ".ndjson": _without_in_jsonl,
    ".parquet": _without_in_parquet,
}
