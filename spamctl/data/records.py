"""Read the rows of JSON files: one object per line, one array of objects, or objects of several lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, TextIO

from spamctl.data.encodings import Writing, lines_of, open_text, refuse_encoding
from spamctl.data.rows import LONGEST_LINE, UNREADABLE, Columns, Row, is_undecoded, refuse_column, typed_row
from spamctl.errors import DataError

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
    values = _values_by_line if _is_lines(path, writing) else _values_of_stream
    with open_text(path, writing) as file:
        for value in values(path, file):
            yield _json_row(value, columns, seen)
    if seen.records:
        for asked, found in zip(columns.asked(), (seen.text, seen.label), strict=True):
            if not (found or seen.text) and seen.records == 1 and seen.lists:
                raise DataError(f"{path} is one JSON object, not one for each message: write one a line, or an array")
            if not found:
                raise refuse_column(path, list(seen.names), columns, asked)


def _is_lines(path: Path, writing: Writing) -> bool:
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
