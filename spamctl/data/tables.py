"""Read the rows of delimited files: csv, tsv, and the variants that spreadsheets and databases write."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from spamctl.data.dialects import NAMES, Dialect, find_dialect, sampled, told
from spamctl.data.encodings import Writing, lines_of, open_text
from spamctl.data.rows import LONGEST_LINE, UNREADABLE, Columns, Row, is_undecoded, label_word, refuse_column, shown
from spamctl.errors import DataError

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
