"""Detect how a delimited file separates, quotes and escapes its cells, and report it."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeVar

from spamctl.data.rows import LONGEST_LINE, Columns

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
