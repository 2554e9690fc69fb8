"""Read rows of text and label from files of all supported formats: delimited, JSON and parquet."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TextIO

from spamctl.data.mail_corpus import Source, read_mailboxes
from spamctl.data.mailboxes import is_mailbox
from spamctl.data.rows import (
    LONGEST_LINE,
    UNREADABLE,
    Columns,
    Row,
    Writing,
    find_writing,
    is_undecoded,
    lines_of,
    open_bytes,
    open_text,
    refuse_column,
    refuse_encoding,
    typed_row,
)
from spamctl.data.tables import find_table
from spamctl.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

# Read the rows of JSON files: one object per line, one array of objects, or objects of several lines.

_CHUNK = 2**20
_MOST_RECORDS_NAMED = 100
_DEEPEST = 5
_MISSING = object()
_DECODER = json.JSONDecoder()
_NO_SEPARATOR = re.compile(r"[^\s,]")


@dataclass(slots=True)
class _Seen:
    """Columns that any record had, and the names of the first records' values."""

    text: bool = False
    label: bool = False
    records: int = 0
    lists: bool = False
    names: dict[str, None] = field(default_factory=dict)

    def note(self, record: Mapping[str, Any]) -> None:
        """Add the names of a record."""
        self.records += 1
        if self.records <= _MOST_RECORDS_NAMED:
            self.lists |= any(isinstance(value, list) for value in record.values())
            self.names |= dict.fromkeys(_names(record))


@dataclass(frozen=True, slots=True)
class _Value:
    """A JSON value, where it stands, and whether some of its bytes are of another encoding."""

    place: int
    value: Any
    undecoded: bool


def read_json(path: Path, columns: Columns, writing: Writing) -> Iterator[Row]:
    """Yield the rows of a file with a JSON object a line, or of one array of objects; a place is a line or an item."""
    seen = _Seen()
    values = _values_by_line if is_lines(path, writing) else _values_of_stream
    with open_text(path, writing) as file:
        for value in values(path, file):
            yield _json_row(value, columns, seen)
    if seen.records:
        for asked, found in zip(columns.asked(), (seen.text, seen.label), strict=True):
            if not (found or seen.text) and seen.records == 1 and seen.lists:
                raise DataError(f"{path} is one JSON object, not one for each message: write one a line, or an array")
            if not found:
                raise refuse_column(path, list(seen.names), columns, asked)


def is_lines(path: Path, writing: Writing) -> bool:
    """Return whether a file has a JSON value per line; else it is an array, or objects of several lines."""
    with open_text(path, writing) as file:
        lines = (line.strip() for line in _beginnings(path, file))
        first = next(filter(None, lines), "")
        if not first.startswith("["):
            return first != "{"
        # Arrays a line are no objects, and are told so line by line; one array is the whole file.
        return next(filter(None, lines), None) is not None and _is_json(first)


def _beginnings(path: Path, file: TextIO) -> Iterator[str]:
    """Yield lines, of one that is too long for a message only as much as tells that."""
    try:
        yield from iter(lambda: file.readline(LONGEST_LINE), "")
    except UnicodeError as error:
        raise refuse_encoding(path, error) from error


def _is_json(text: str) -> bool:
    """Return whether a text is a JSON value."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _values_by_line(path: Path, file: TextIO) -> Iterator[_Value]:
    """Yield the JSON value of each line; blank lines are no rows."""
    for place, line in enumerate(lines_of(path, file), start=1):
        if not line.isspace():
            try:
                yield _Value(place, json.loads(line), is_undecoded(line))
            except (ValueError, RecursionError):
                yield _Value(place, _MISSING, is_undecoded(line))


def _values_of_stream(path: Path, file: TextIO) -> Iterator[_Value]:
    """Yield each item of an array, or each of several values behind one another, without reading all at once."""
    stream = _Stream(path, file)
    is_array = stream.skip() == "["
    if is_array:
        stream.at += 1
    for place in count(1):
        following = stream.skip()
        if following in {"", "]"}:
            break
        try:
            value, length = stream.value()
        except (ValueError, RecursionError) as error:
            where = f"{path}, item {place} of its JSON array" if is_array else f"{path}, object {place}"
            raise DataError(f"{where} cannot be read: mend it, or write one JSON object a line") from error
        yield _Value(place, value, is_undecoded(stream.text[stream.at - length : stream.at]))
    if is_array and following != "]":
        raise DataError(f"{path} ends within its JSON array: write or fetch it again")
    stream.at += is_array
    if stream.skip():
        raise DataError(f"{path} has more behind its JSON array: write one array, or one JSON object a line")


@dataclass(slots=True)
class _Stream:
    """Incremental reader of JSON values, a few in memory at a time."""

    path: Path
    file: TextIO
    text: str = ""
    at: int = 0

    def skip(self) -> str:
        """Go to the next character that is neither white space nor a comma, and return it; nothing at the end."""
        while True:
            found = _NO_SEPARATOR.search(self.text, self.at)
            if found:
                self.at = found.start()
                return found[0]
            self.text, self.at = self._read(_CHUNK), 0
            if not self.text:
                return ""

    def value(self) -> tuple[Any, int]:
        """Return the value that begins here and its length; raise ValueError if there is none."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.at)
                is_whole = end < len(self.text)
            except ValueError:
                is_whole = False
                if len(self.text) - self.at > LONGEST_LINE:
                    raise
            if not is_whole and (more := self._read(max(_CHUNK, len(self.text) - self.at))):
                self.text, self.at = self.text[self.at :] + more, 0
                continue
            value, end = _DECODER.raw_decode(self.text, self.at)
            length, self.at = end - self.at, end
            return value, length

    def _read(self, size: int) -> str:
        try:
            return self.file.read(size)
        except UnicodeError as error:
            raise refuse_encoding(self.path, error) from error


def _json_row(value: _Value, columns: Columns, seen: _Seen) -> Row:
    """Return the row that a JSON value holds, and note which columns it has."""
    record = value.value
    if not isinstance(record, dict):
        reason = "no valid JSON" if record is _MISSING else "JSON that is no object"
        return Row(value.place, fault=UNREADABLE if value.undecoded else reason)
    seen.note(record)
    text, label = (_found(record, column) for _, column in columns.asked())
    seen.text |= text is not _MISSING
    seen.label |= label is not _MISSING
    row = typed_row(value.place, *(None if one is _MISSING else one for one in (text, label)))
    if value.undecoded:
        readable = None if row.label is None or is_undecoded(row.label) else row.label
        return Row(value.place, label=readable, fault=UNREADABLE)
    return row


def _found(record: Mapping[str, Any], column: str) -> object:
    """Return a value of a record by its key, or by the keys of the objects around it with full stops between."""
    if column in record:
        return record[column]
    head, _, rest = column.partition(".")
    inner = record.get(head, _MISSING)
    return _found(inner, rest) if rest and isinstance(inner, dict) else _MISSING


def _names(record: Mapping[str, Any], before: str = "", depth: int = 1) -> Iterator[str]:
    """Yield the names of a record's values, those of inner objects with the keys around them."""
    for key, value in record.items():
        if isinstance(value, dict) and value and depth < _DEEPEST:
            yield from _names(value, f"{before}{key}.", depth + 1)
        else:
            yield f"{before}{key}"


# Read the rows of parquet files, whose values are typed.

_UNDECODED = object()


def read_parquet(path: Path, columns: Columns) -> Iterator[Row]:
    """Yield the rows of a parquet file; a column inside another is named with a full stop between."""
    with ExitStack() as stack:
        yield from read_parquet_rows(_seekable(path, stack), path, columns)


def read_parquet_rows(
    opened: IO[bytes] | Path, path: Path | str, columns: Columns, start: int = 0, end: int | None = None
) -> Iterator[Row]:
    """Yield the rows of an open parquet file from `start` to `end`; `path` names it, and a place counts from 1."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(opened) as file:
            require_parquet_columns(file.schema_arrow, path, columns)
            groups, at = _groups(file.metadata, start, end)
            for batch in file.iter_batches(row_groups=groups, columns=[columns.text, columns.label]):
                skipped = min(max(0, start - at), batch.num_rows)
                part = batch.slice(skipped, None if end is None else max(0, end - at - skipped))
                values = (_plain(_column(part, column)) for _, column in columns.asked())
                for place, (text, label) in enumerate(zip(*values, strict=True), at + skipped + 1):
                    yield _decoded_row(place, text, label)
                at += batch.num_rows
    except pa.ArrowException as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path} is no parquet file that can be read ({reason}): write it again") from error


def require_parquet_columns(schema: pa.Schema, path: Path | str, columns: Columns) -> None:
    """Refuse a parquet file without the columns that are needed; raise ColumnError."""
    for option, column in columns.asked():
        if _field(schema, column) is None:
            raise refuse_column(path, list(_leaves(schema)), columns, (option, column))


def _groups(metadata: Any, start: int, end: int | None) -> tuple[list[int], int]:
    """Return the row groups that hold the rows from `start` to `end`, and the first row of the first of them."""
    groups, first, at = list[int](), 0, 0
    for group in range(metadata.num_row_groups):
        following = at + metadata.row_group(group).num_rows
        if following > start and (end is None or at < end):
            first = first if groups else at
            groups.append(group)
        at = following
    return groups, first


def _seekable(path: Path, stack: ExitStack) -> IO[bytes] | Path:
    """Return a file whose end can be read first: itself, or its unpacked copy."""
    with open_bytes(path) as file:
        if not isinstance(file, gzip.GzipFile):
            return path
        unpacked = tempfile.TemporaryFile()  # noqa: SIM115 - the stack closes it
        stack.enter_context(unpacked)
        shutil.copyfileobj(file, unpacked)
        unpacked.seek(0)
        return unpacked


def _field(schema: pa.Schema, column: str) -> pa.Field | None:
    """Return what a column, or one inside another, is."""
    import pyarrow as pa

    if schema.names.count(column) == 1:
        return schema.field(column)
    head, _, rest = column.partition(".")
    if not rest or schema.names.count(head) != 1 or not pa.types.is_struct(schema.field(head).type):
        return None
    return _field(pa.schema(list(schema.field(head).type)), rest)


def _leaves(schema: pa.Schema, before: str = "") -> Iterator[str]:
    """Yield the names of the columns, those inside others with the names around them."""
    import pyarrow as pa

    for one in schema:
        if pa.types.is_struct(one.type):
            yield from _leaves(pa.schema(list(one.type)), f"{before}{one.name}.")
        else:
            yield before + one.name


def _column(batch: pa.RecordBatch, column: str) -> pa.Array:
    """Return the values of a column, or of one inside another."""
    import pyarrow.compute as pc

    if column in batch.schema.names:
        return batch.column(column)
    head, _, rest = column.partition(".")
    return pc.struct_field(batch.column(head), rest.split("."))


def _plain(column: pa.Array) -> list[object]:
    """Return a column's values, strings as bytes: they need not be UTF-8."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.binary_view())
    values: list[object] = column.to_pylist()
    return values


def _decoded_row(place: int, text: object, label: object) -> Row:
    """Return the row that parquet values make."""
    text, label = (_decoded(value) for value in (text, label))
    if label is _UNDECODED:
        return Row(place, fault=UNREADABLE)
    if text is _UNDECODED:
        return Row(place, label=typed_row(place, None, label).label, fault=UNREADABLE)
    return typed_row(place, text, label)


def _decoded(value: object) -> object:
    """Return bytes as a string, if they are UTF-8."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return _UNDECODED


_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_JSON = (".jsonl", ".ndjson", ".json")
EXTENSIONS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
KINDS = ", ".join(EXTENSIONS) + ", or give it mail (.eml, mbox, Maildir)"
_PACKED = ".gz"
# What other programs write first, whatever the file's name says.
_OTHERS = {
    b"PK\x03\x04": ("a zip archive or a spreadsheet", "unpack it, or save it as CSV in UTF-8"),
    b"\xd0\xcf\x11\xe0": ("a spreadsheet", "save it as CSV in UTF-8"),
    b"PAR1": ("a parquet file", "let its name end in .parquet"),
    b"SQLite format 3": ("a SQLite database", "export its messages as csv"),
    b"BZh": ("packed by bzip2", "unpack it"),
    b"\xfd7zXZ": ("packed by xz", "unpack it"),
    b"(\xb5/\xfd": ("packed by zstd", "unpack it"),
}


@dataclass(frozen=True, slots=True)
class Reading:
    """Rows of a file, to be read once, and notes on how they are read."""

    rows: Iterator[Row]
    notes: tuple[str, ...] = ()


def is_known(path: Path) -> bool:
    """Return whether a file's name has the ending of a file of messages, gzipped or not, or it holds mail."""
    return _kind(path) in EXTENSIONS or is_mail(path)


def is_mail(path: Path) -> bool:
    """Return whether a path is that of a file or folder of mail."""
    return _kind(path) not in EXTENSIONS and is_mailbox(path)


def read_rows(path: Path, columns: Columns) -> Iterator[Row]:
    """Yield every row of a file, whose extension tells its format; raise DataError where the file cannot be used."""
    yield from open_rows(path, columns).rows


def open_rows(path: Path, columns: Columns) -> Reading:
    """Look at a file, and return its rows with what was found of its form; raise DataError where it cannot be used."""
    if is_mail(path) and path.exists():
        mail = read_mailboxes([Source(path)], columns.spam_folder)
        return Reading(iter(mail.rows), mail.notes)
    if not is_known(path):
        raise DataError(f"--dataset {path} is neither sms-spam nor a file of a known kind: convert it to {KINDS}")
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is not a file" if path.exists() else "does not exist"
        raise DataError(f"--dataset {path} {what}: give it a file that ends in {KINDS}, or sms-spam")
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty: give --dataset a file with a row for each message")
        found = _open(path, columns)
    except OSError as error:
        raise _unreadable(path, error) from error
    return Reading(_guarded(path, found.rows), found.notes)


def _open(path: Path, columns: Columns) -> Reading:
    """Look at a file of a known kind."""
    kind = _kind(path)
    _refuse_other(path, kind)
    refuse_settings(path, columns)
    if kind == ".parquet":
        return Reading(read_parquet(path, columns))
    writing = find_writing(path, columns.encoding)
    if kind in _JSON:
        return Reading(read_json(path, columns, writing), tuple(filter(None, [writing.note])))
    table = find_table(path, writing, columns, _SEPARATORS[kind])
    return Reading(table.rows(), table.notes)


def refuse_settings(path: Path | str, columns: Columns) -> None:
    """Refuse settings that mean nothing for a file of such a name; raise DataError."""
    kind = _kind(Path(path))
    if kind not in _SEPARATORS and not columns.header:
        raise DataError(f"--no-header: {path} names its columns in each row: leave --no-header out")
    if kind == ".parquet" and columns.encoding != "auto":
        raise DataError(f"--encoding: {path} says itself how it spells characters: leave --encoding out")


def _kind(path: Path) -> str:
    """Return a file's extension, that of gzip left out."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return "".join((suffixes[:-1] if suffixes[-1:] == [_PACKED] else suffixes)[-1:])


def _refuse_other(path: Path, kind: str) -> None:
    """Refuse what another program has written, under a name that promises messages."""
    with path.open("rb") as file:
        head = file.read(16)
    for mark, (what, advice) in _OTHERS.items():
        if head.startswith(mark) and not (mark == b"PAR1" and kind == ".parquet"):
            raise DataError(f"{path} is {what}, whatever its name says: {advice}")


def _guarded(path: Path, rows: Iterator[Row]) -> Iterator[Row]:
    """Yield rows; what the system cannot read is refused in one line."""
    try:
        yield from rows
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> DataError:
    reason = error.strerror or str(error).partition("\n")[0]
    return DataError(f"{path} cannot be read ({reason}): mend the file or its permissions")
