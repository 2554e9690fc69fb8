"""Read rows of text and label from files of all supported formats, mailboxes among them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from spamctl.data.columnar import read_parquet
from spamctl.data.encodings import find_writing
from spamctl.data.mail_corpus import Source, read_mailboxes
from spamctl.data.mailboxes import is_mailbox
from spamctl.data.records import read_json
from spamctl.data.rows import Columns, Row
from spamctl.data.tables import find_table
from spamctl.errors import DataError

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
    if kind not in _SEPARATORS and not columns.header:
        raise DataError(f"--no-header: {path} names its columns in each row: leave --no-header out")
    if kind == ".parquet" and columns.encoding != "auto":
        raise DataError(f"--encoding: {path} says itself how it spells characters: leave --encoding out")
    if kind == ".parquet":
        return Reading(read_parquet(path, columns))
    writing = find_writing(path, columns.encoding)
    if kind in _JSON:
        return Reading(read_json(path, columns, writing), tuple(filter(None, [writing.note])))
    table = find_table(path, writing, columns, _SEPARATORS[kind])
    return Reading(table.rows(), table.notes)


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
