"""Read the rows of delimited files, in whichever dialect a spreadsheet or a database wrote them."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from spamctl.data.rows import (
    LONGEST_LINE,
    UNREADABLE,
    Columns,
    Row,
    Writing,
    is_undecoded,
    label_word,
    lines_of,
    open_text,
    refuse_column,
    shown,
)
from spamctl.errors import DataError

# Detect how a delimited file separates, quotes and escapes its cells, and report it.

NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
SAMPLED_LINES = 200
_LARGEST_SAMPLE = 2**20
_STEADY = 0.8  # of the sampled records have as many cells as the most, if they are separated so
_SEPARATOR_LINE = re.compile(r'"?sep=([^\w\s"]|\t)"?\s*', re.IGNORECASE)  # Excel's own first line, which is no data
_ESCAPED = re.compile(r'\\(["\\\r\n])')
_LONE_BACKSLASH = re.compile(r'(?<!\\)(?:\\\\)*\\(?!["\\\r\n])')

Sized = TypeVar("Sized", str, list[str])


@dataclass(frozen=True, slots=True)
class Dialect:
    """Separator of a file's cells, whether they are quoted, and the meaning of a backslash before a quote."""

    delimiter: str
    quoted: bool = True
    spaced: bool = False
    escape: str = ""  # "mark": before a quotation mark; "all": before itself too
    first_line: bool = False  # is a line sep=;

    def reader(self, lines: Iterable[str]) -> Any:
        """Return a reader of records."""
        if self.quoted:
            return csv.reader(lines, delimiter=self.delimiter, strict=True, skipinitialspace=self.spaced)
        return csv.reader(lines, delimiter=self.delimiter, quoting=csv.QUOTE_NONE)

    def plain(self, lines: Iterator[str]) -> Iterator[str]:
        r"""Yield the lines with `\"` as a doubled quotation mark, which is how the reader knows it."""
        if self.escape == "all":
            return (_ESCAPED.sub(lambda found: '""' if found[1] == '"' else found[1], line) for line in lines)
        return (line.replace('\\"', '""') for line in lines) if self.escape else lines


@dataclass(slots=True)
class _Marks:
    """Counts of what quotation marks would do in a file of a given dialect."""

    needed: int = 0  # records with cells that need their marks: line ends, separators or doubled marks are within
    needless: int = 0  # records whose cells are enclosed for nothing, but maybe a comma
    broken: int = 0  # records that the dialect does not allow
    commas: bool = False  # some record has a comma outside of marks


def find_dialect(read: Callable[[], Iterator[str]], columns: Columns, usual: str, *, escapes: bool) -> Dialect:
    r"""Return the dialect of a file; `read` gives its lines anew, `escapes` says that `\"` is among them.

    `usual` is the separator that the file's name promises. The whole file is looked at only where quotation marks make
    a doubt: cells of a file with tabs may be enclosed, as pandas writes them, or hold marks of their own.
    """
    sample = list(sampled(line for line in read() if not line.isspace()))
    named = _SEPARATOR_LINE.fullmatch(sample[0]) if sample else None
    sample = sample[1:] if named else sample
    delimiter = named[1] if named else _delimiter(sample, columns, usual)
    found = Dialect(delimiter, first_line=named is not None)
    widths = [len(cells) for cells in _cells(sample, delimiter)]
    width = max(set(widths), key=widths.count, default=0)

    def marks(dialect: Dialect) -> _Marks:
        lines = read()
        if named:
            next(lines, "")
        return _marks(dialect, dialect.plain(lines), width)

    if delimiter == "\t":
        return found if _encloses(marks(found), sample[:1]) else replace(found, quoted=False)
    candidates = [found]
    if escapes:
        escape = "mark" if any(_LONE_BACKSLASH.search(line) for line in read()) else "all"
        candidates.append(replace(found, escape=escape))
    if re.search(rf"{re.escape(delimiter)} +\"", "".join(sample[:1])):
        candidates += [replace(candidate, spaced=True) for candidate in candidates]
    return found if candidates == [found] else min(candidates, key=lambda dialect: marks(dialect).broken)


def told(dialect: Dialect, usual: str) -> list[str]:
    """Describe how the file differs from what its name promises."""
    notes = []
    if dialect.delimiter != usual:
        name = NAMES.get(dialect.delimiter, repr(dialect.delimiter))
        notes.append(f"columns are separated by {name}" + (", as its first line says" if dialect.first_line else ""))
    if dialect.quoted and usual == dialect.delimiter == "\t":
        notes.append("quotation marks enclose cells")
    if dialect.escape:
        notes.append(r"\" is a quotation mark inside a cell")
    return notes


def _delimiter(sample: Sequence[str], columns: Columns, usual: str) -> str:
    """Return what separates the cells: that which gives the columns that were asked for, or the steadiest."""
    candidates = [usual, *(mark for mark in NAMES if mark != usual)]
    if columns.header:
        for mark in candidates:
            header = next(_cells(sample, mark), [])
            if {name for _, name in columns.asked()} <= set(header):
                return mark
    steadiness = [_steadiness(sample, mark) for mark in candidates]
    best = max(steadiness)
    return candidates[steadiness.index(best)] if best >= _STEADY else usual


def _steadiness(sample: Sequence[str], mark: str) -> float:
    """Return the share of sampled records that have the commonest number of cells, if that is more than one."""
    widths = [len(cells) for cells in _cells(sample, mark)]
    wide = [width for width in widths if width > 1]
    return max((widths.count(width) for width in set(wide)), default=0) / max(1, len(widths))


def sampled(things: Iterable[Sized]) -> Iterator[Sized]:
    """Yield the first lines, or records, of a file: a few screens, however long each is."""
    size = 0
    for thing in islice(things, SAMPLED_LINES):
        yield thing
        size += sum(map(len, thing))
        if size > _LARGEST_SAMPLE:
            return


def _cells(sample: Sequence[str], mark: str) -> Iterator[list[str]]:
    """Yield the records of sampled lines; an open quotation mark swallows what follows."""
    try:
        yield from filter(None, csv.reader(sample, delimiter=mark))
    except csv.Error:
        return


def _marks(dialect: Dialect, lines: Iterator[str], width: int) -> _Marks:
    """Count what quotation marks do in a file."""
    mark = re.escape(dialect.delimiter)
    enclosed = re.compile(rf'{mark}{" *" if dialect.spaced else ""}"([^"]*(?:""[^"]*)*)"(?={mark}|\Z)')
    needs = re.compile(rf'[\r\n"]|{mark}')
    counts = _Marks()
    for record in _with_marks(lines, counts):
        cells = enclosed.findall(dialect.delimiter + record)
        rest = enclosed.sub(dialect.delimiter, dialect.delimiter + record)
        if '"' in rest or rest.count(dialect.delimiter) != width:
            counts.broken += 1
        elif any(needs.search(cell) for cell in cells):
            counts.needed += 1
        else:
            counts.needless += 1
            counts.commas = counts.commas or "," in rest
    return counts


def _with_marks(lines: Iterator[str], counts: _Marks) -> Iterator[str]:
    """Yield each record that has quotation marks, its lines joined until their marks are even."""
    record: list[str] = []
    size, odd = 0, False
    for line in lines:
        if '"' not in line and not odd:
            counts.commas = counts.commas or "," in line
            continue
        record.append(line)
        size += len(line)
        odd ^= line.count('"') % 2 == 1
        if not odd:
            yield "".join(record).rstrip("\r\n")
            record, size = [], 0
        elif size > LONGEST_LINE:
            counts.broken += 1
            record, size, odd = [], 0, False
    counts.broken += odd


def _encloses(counts: _Marks, header: Sequence[str]) -> bool:
    """Return whether quotation marks enclose the cells of a tab-separated file, or are text.

    R encloses every string, the header's too; pandas encloses what needs it; Excel does so for commas as well.
    """
    if any(re.fullmatch(r'"[^"\t]*"(\t"[^"\t]*")*[\r\n]*', line) for line in header):
        return counts.needed + counts.needless > counts.broken
    if counts.needed > counts.broken:
        return True
    return counts.broken == 0 and counts.needless > 0 and not counts.commas


EXPORTED = ("text", "label", "uuid", "source", "date")  # the columns of an export, which `unguarded` reads back
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet computes a cell that begins so, quoted or not
GUARD = "'"
BROKEN = "quotation marks that do not match"
_USUAL_NAMES = {"text", "label", "message", "body", "content", "sms", "class", "category", "target", "v1", "v2", "type"}
_LONGEST_NAME = 60
_MOST_WORDS = 4
_LONGEST_LABEL = 20
_MOST_LABELS = 10


@dataclass(frozen=True, slots=True)
class Table:
    """Layout of a delimited file, and notes on it for the user."""

    path: Path
    writing: Writing
    dialect: Dialect
    header: tuple[str, ...]
    columns: Columns
    row_names: bool = False
    trailing: bool = False
    notes: tuple[str, ...] = ()

    def rows(self) -> Iterator[Row]:
        """Yield the rows; blank lines are no rows, and of a row whose quotation marks are broken each line is named."""
        positions = [_position(self, asked) for asked in self.columns.asked()]
        exported = self.header == EXPORTED
        header_due = self.columns.header
        for place, fields in _records(self.path, self.writing, self.dialect):
            if fields is None:
                yield Row(place, fault=BROKEN)
            elif header_due:
                header_due = False
            elif fields:
                end = -1 if self.trailing and not fields[-1] else None
                row = _row(place, fields[self.row_names : end], len(self.header), positions)
                yield replace(row, text=unguarded(row.text)) if exported and row.text else row


def find_table(path: Path, writing: Writing, columns: Columns, usual: str) -> Table:
    """Look at a delimited file, and say how it is laid out; raise DataError where it holds no such columns."""
    csv.field_size_limit(LONGEST_LINE)  # the default, 128 KiB, is shorter than a long e-mail

    def read() -> Iterator[str]:
        with open_text(path, writing) as file:
            yield from lines_of(path, file)

    dialect = find_dialect(read, columns, usual, escapes=writing.escapes)
    records = _records(path, writing, dialect)
    sample = list(sampled(fields for _, fields in records if fields))
    first, values = tuple(sample[0]) if sample else (), sample[1:]
    header = first if columns.header else tuple(str(number) for number in range(1, len(first) + 1))
    table = Table(path, writing, dialect, header, columns, notes=(writing.note, *told(dialect, usual)))
    if columns.header:
        wider = len(values) > 0 and all(len(fields) == len(header) + 1 for fields in values)
        numbered = wider and [fields[0] for fields in values] == [str(number + 1) for number in range(len(values))]
        # R writes the number of each row and no name above it; others end each row, but the first, in a separator.
        table = replace(table, row_names=numbered, trailing=wider and not any(fields[-1] for fields in values))
        _refuse_no_header(table, values)
    else:
        table = _numbered(table, [list(first), *values]) if columns.are_default else table
        _refuse_header(table, first)
    return replace(table, notes=tuple(filter(None, table.notes)))


def guarded(cell: str) -> str:
    """Return a cell that no spreadsheet computes: one that would be a formula begins with an apostrophe."""
    return GUARD + cell if cell.lstrip(GUARD).startswith(FORMULA) else cell


def unguarded(cell: str) -> str:
    """Return a cell of an export as it was."""
    return cell[1:] if cell.startswith(GUARD) and cell.lstrip(GUARD).startswith(FORMULA) else cell


def _records(path: Path, writing: Writing, dialect: Dialect) -> Iterator[tuple[int, list[str] | None]]:
    """Yield each record with the line it begins in, or nothing with each line of one that is broken."""
    line = 0
    with open_text(path, writing) as file:
        lines = dialect.plain(lines_of(path, file))
        if dialect.first_line:
            line += next(lines, "") != ""
        while True:
            start, reader = line, dialect.reader(lines)
            try:
                for fields in reader:
                    place, line = line + 1, start + reader.line_num
                    yield place, fields
                return
            except csv.Error as error:
                place, line = line + 1, start + reader.line_num
                if "expected after" not in str(error):
                    advice = ' (were they written as \\"?)' if writing.escapes and not dialect.escape else ""
                    where = f"{path}, the row that begins in line {place}"
                    raise DataError(f"{where}: {error}: mend its quotation marks{advice}") from error
                yield from ((broken, None) for broken in range(place, line + 1))


def _row(place: int, fields: Sequence[str], width: int, positions: Sequence[int]) -> Row:
    """Return the row that a delimited record holds."""
    text_at, label_at = positions
    if len(fields) != width:
        # Commas that nobody quoted are the text's: a label at either end is still where it was.
        at_end = {0: 0, width - 1: -1}.get(label_at) if len(fields) > width else None
        label = None if at_end is None else label_word(fields[at_end])
        return Row(place, label=label, fault="more or fewer fields than the header")
    text, label = fields[text_at], label_word(fields[label_at])
    if label and is_undecoded(label):
        return Row(place, fault=UNREADABLE)
    if is_undecoded(text):
        return Row(place, label=label, fault=UNREADABLE)
    return Row(place, text, label)


def _position(table: Table, asked: tuple[str, str]) -> int:
    """Return where a column is, or refuse by naming the columns there are and the nearest."""
    option, column = asked
    if table.header.count(column) == 1:
        return table.header.index(column)
    if column in table.header:
        raise DataError(f"{table.path} has more than one column {shown(column)} ({option}): rename all but one of them")
    if len(table.header) == 1 and all(
        name.casefold() in table.header[0].casefold() for _, name in table.columns.asked()
    ):
        raise DataError(
            f"{table.path}: its first line, {shown(table.header[0])}, is one cell: separate the columns by "
            f"{', '.join(NAMES.values())}"
        )
    raise refuse_column(table.path, table.header, table.columns, asked)


def _refuse_no_header(table: Table, values: Sequence[Sequence[str]]) -> None:
    """Refuse a file whose first line is a message, if it lacks a column that was asked for."""
    if {name for _, name in table.columns.asked()} <= set(table.header) or _names_columns(table.header):
        return
    repeated = (
        any(fields[at : at + 1] == [cell] for fields in values) for at, cell in enumerate(table.header) if cell.strip()
    )
    # A column's name is short, and not among its own values.
    long = (len(cell) > _LONGEST_NAME or len(cell.split()) > _MOST_WORDS for cell in table.header)
    if any(repeated) or any(long):
        found = _guess([list(table.header), *values], len(table.header))
        numbers = "" if found is None else f" --text-column {found[0]} --label-column {found[1]}"
        raise DataError(
            f"{table.path}: its first line looks like a message, not like the names of columns: "
            f"add --no-header{numbers}, or put a line such as label,text above it"
        )


def _names_columns(cells: Sequence[str]) -> bool:
    """Return whether a cell is a usual name of a column of messages or labels."""
    return any(cell.strip().casefold() in _USUAL_NAMES for cell in cells)


def _refuse_header(table: Table, first: Sequence[str]) -> None:
    """Refuse a file whose first line names its columns, if it was said to have no such line."""
    if _names_columns([first[int(name) - 1] for _, name in table.columns.asked() if name in table.header]):
        raise DataError(f"--no-header: the first line of {table.path} names its columns: leave --no-header out")


def _numbered(table: Table, values: Sequence[Sequence[str]]) -> Table:
    """Find the columns of a file without a header, where nobody has named them, and say which they are."""
    wants_label = table.columns.text != table.columns.label
    found = (1, 1) if len(table.header) == 1 and not wants_label else _guess(values, len(table.header))
    if found is None:
        raise DataError(
            f"--no-header: which of the {len(table.header)} columns of {table.path} hold messages and labels is not "
            "clear: number them, such as --text-column 2 --label-column 1"
        )
    text, label = map(str, found)
    note = f"column {text} holds the messages" + (f", column {label} the labels" if wants_label else "")
    columns = replace(table.columns, text=text, label=label if wants_label else text)
    return replace(table, columns=columns, notes=(*table.notes, note))


def _guess(values: Sequence[Sequence[str]], width: int) -> tuple[int, int] | None:
    """Return the numbers of the columns of texts and of labels, if only one of each looks so."""
    whole = [fields for fields in values if len(fields) == width]
    labels, texts = [], []
    for at in range(width):
        cells = {fields[at].strip() for fields in whole}
        few = len(cells) <= min(_MOST_LABELS, max(2, len(whole) // 2))
        if few and all(len(cell) <= _LONGEST_LABEL for cell in cells) and "" not in cells:
            labels.append(at + 1)
        elif len(cells) > 1 and max(map(len, cells)) > 1:
            texts.append(at + 1)
    return (texts[0], labels[0]) if len(labels) == len(texts) == 1 else None
