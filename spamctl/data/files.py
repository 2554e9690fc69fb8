"""Read rows of text and label from csv, tsv, jsonl and parquet files, naming every row that cannot be read."""

import codecs
import csv
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from spamctl.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

_LONGEST_LINE = 8 * 2**20  # characters; as many bytes as the server takes in one request
_UNDECODED = re.compile("[\udc80-\udcff]")  # what the handler `surrogateescape` makes of bytes that are not UTF-8
_UNREADABLE = "unreadable bytes (save the file as UTF-8)"
_LONGEST_SHOWN = 40
_MOST_COLUMNS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Columns:
    """Name the columns that hold text and label, in the user's spelling."""

    text: str = "text"
    label: str = "label"


@dataclass(frozen=True, slots=True)
class Row:
    """Hold one row as it was read, or the fault that makes it unusable; `place` is its line, or row, counted from 1."""

    place: int
    text: str | None = None
    label: str | None = None
    fault: str = ""


def read_rows(path: Path, columns: Columns) -> Iterator[Row]:
    """Yield every row of a file, whose extension tells its format; raise DataError where the file cannot be used."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"--dataset {path} is neither sms-spam nor a file of a known kind: convert it to {_EXTENSIONS}")
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is not a file" if path.exists() else "does not exist"
        raise DataError(f"--dataset {path} {what}: give it a file that ends in {_EXTENSIONS}, or sms-spam")
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty: give --dataset a file with a row for each message")
        yield from reader(path, columns)
    except OSError as error:
        reason = error.strerror or str(error).partition("\n")[0]
        raise DataError(f"{path} cannot be read ({reason}): mend the file or its permissions") from error


def shown(value: str) -> str:
    """Quote a string of a file for a terminal: cut, with what would move the cursor escaped."""
    return repr(value if len(value) <= _LONGEST_SHOWN else value[: _LONGEST_SHOWN - 1] + "…")


def _read_csv(path: Path, columns: Columns) -> Iterator[Row]:
    """Yield the rows of a comma-separated file with a header, quoted as RFC 4180 says."""
    yield from _read_table(path, columns, {"delimiter": ",", "strict": True})


def _read_tsv(path: Path, columns: Columns) -> Iterator[Row]:
    """Yield the rows of a tab-separated file with a header; that format has no quoting, a quotation mark is text."""
    yield from _read_table(path, columns, {"delimiter": "\t", "quoting": csv.QUOTE_NONE})


def _read_table(path: Path, columns: Columns, dialect: dict[str, Any]) -> Iterator[Row]:
    """Yield the rows of a delimited file; blank lines are no rows."""
    csv.field_size_limit(_LONGEST_LINE)  # the default, 128 KiB, is shorter than a long e-mail
    line = 0
    with _open_text(path) as file:
        reader = csv.reader(_lines(path, file), **dialect)
        try:
            header = next(filter(None, reader), [])
            text_at, label_at = (_position(path, header, column) for column in _asked(columns))
            line = reader.line_num
            for fields in reader:
                place, line = line + 1, reader.line_num
                if fields:
                    yield _table_row(place, fields, len(header), (text_at, label_at))
        except csv.Error as error:
            where = f"{path}, the row that begins in line {line + 1}"
            raise DataError(f"{where}: {error}: mend its quotation marks") from error


def _table_row(place: int, fields: list[str], width: int, positions: tuple[int, int]) -> Row:
    """Return the row that a delimited record holds."""
    if len(fields) != width:
        return Row(place, fault="more or fewer fields than the header")
    text, label = (fields[position] for position in positions)
    if _UNDECODED.search(text) or _UNDECODED.search(label):
        return Row(place, fault=_UNREADABLE)
    return Row(place, text, _label_word(label))


def _read_jsonl(path: Path, columns: Columns) -> Iterator[Row]:
    """Yield the rows of a file with a JSON object a line; blank lines are no rows."""
    seen: dict[str, None] = {}
    with _open_text(path) as file:
        for place, line in enumerate(_lines(path, file), start=1):
            if not line.isspace():
                yield _json_row(place, line, columns, seen)
    if seen:
        for column in _asked(columns):
            _position(path, list(seen), column)


def _json_row(place: int, line: str, columns: Columns, seen: dict[str, None]) -> Row:
    """Return the row that a line of JSON holds, and add its keys to those seen."""
    if _UNDECODED.search(line):
        return Row(place, fault=_UNREADABLE)
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return Row(place, fault="no valid JSON")
    if not isinstance(record, dict):
        return Row(place, fault="JSON that is no object")
    seen.update(dict.fromkeys(record))
    return _typed_row(place, record.get(columns.text), record.get(columns.label))


def _typed_row(place: int, text: object, label: object) -> Row:
    """Return the row that typed values make."""
    if not isinstance(text, str | None):
        return Row(place, fault="a text that is not a string")
    if not isinstance(label, str | int | float | None):
        return Row(place, fault="a label that is neither string nor number")
    return Row(place, text, _label_word(label))


def _read_parquet(path: Path, columns: Columns) -> Iterator[Row]:
    """Yield the rows of a parquet file."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            for column in _asked(columns):
                _position(path, file.schema_arrow.names, column)
            places = count(1)
            for batch in file.iter_batches(columns=[columns.text, columns.label]):
                values = (_plain(batch.column(column)) for _, column in _asked(columns))
                for text, label in zip(*values, strict=True):
                    yield _decoded_row(next(places), text, label)
    except pa.ArrowException as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path} is no parquet file that can be read ({reason}): write it again") from error


def _plain(column: "pa.Array") -> list[object]:
    """Return a column's values, strings as bytes: they need not be UTF-8."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())
    values: list[object] = column.to_pylist()
    return values


def _decoded_row(place: int, text: object, label: object) -> Row:
    """Return the row that parquet values make."""
    try:
        decoded = [value.decode() if isinstance(value, bytes) else value for value in (text, label)]
    except UnicodeDecodeError:
        return Row(place, fault=_UNREADABLE)
    return _typed_row(place, *decoded)


def _open_text(path: Path) -> TextIO:
    """Open a file as UTF-8, or as the encoding that its byte order mark names."""
    with path.open("rb") as file:
        mark = file.read(2)
    if mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return path.open(encoding="utf-16", newline="")
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _lines(path: Path, file: TextIO) -> Iterator[str]:
    """Yield the lines of a file, none longer than the limit."""
    try:
        for number, line in enumerate(iter(lambda: file.readline(_LONGEST_LINE + 1), ""), start=1):
            if len(line) > _LONGEST_LINE:
                raise DataError(f"{path}, line {number}: longer than {_LONGEST_LINE:,} characters: split or remove it")
            yield line
    except UnicodeDecodeError as error:
        reason = f"{error.encoding}, as its first bytes say ({error.reason})"
        raise DataError(f"{path} is not {reason}: save it as UTF-8") from error


def _asked(columns: Columns) -> list[tuple[str, str]]:
    """Return the option and the name of each column that is needed."""
    return [("--text-column", columns.text), ("--label-column", columns.label)]


def _position(path: Path, header: list[str], asked: tuple[str, str]) -> int:
    """Return where a column is, or refuse by naming the columns there are and the nearest."""
    option, column = asked
    if header.count(column) == 1:
        return header.index(column)
    if column in header:
        raise DataError(f"{path} has more than one column {shown(column)} ({option}): rename all but one of them")
    names = {name.strip().casefold(): name for name in reversed(header)}
    nearest = [names[match] for match in get_close_matches(column.casefold(), names, n=1)]
    found = ", ".join(map(shown, header[:_MOST_COLUMNS_SHOWN])) + (", …" if len(header) > _MOST_COLUMNS_SHOWN else "")
    raise DataError(
        f"{path} has no column {shown(column)} ({option}), but {found or 'none'}: "
        f"{f'try {option} {shown(nearest[0])}' if nearest else f'name one of them with {option}'}"
    )


def _label_word(label: str | float | None) -> str | None:
    """Return a label as a user would type it: true, 1, spam; None where there is none, or the NaN that pandas puts."""
    if label is None or (isinstance(label, float) and math.isnan(label)):
        return None
    if isinstance(label, bool):
        return str(label).lower()
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    return str(label).strip() or None


_READERS: dict[str, Callable[[Path, Columns], Iterator[Row]]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
EXTENSIONS = tuple(_READERS)
_EXTENSIONS = ", ".join(EXTENSIONS)
