"""Read the messages to be scored, in their order, from a file, from the files of a folder, or from mails."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from spamctl.data.files import EXTENSIONS, Reading, open_rows
from spamctl.data.mail import parse_mail
from spamctl.data.mail_corpus import label_of_folder
from spamctl.data.mailboxes import MAIL_FILES, StoredMail, is_mailbox, read_mails
from spamctl.data.rows import (
    LABEL,
    NOT_SPAM_WORDS,
    SPAM_FOLDER,
    TEXT,
    ColumnError,
    Columns,
    Row,
    listed,
    open_bytes,
    shown,
    spam_words,
)
from spamctl.errors import DataError
from spamctl.schema.message import NOT_SPAM, SPAM, Label

SPOOLED = "stdin-"  # how the file is called that keeps standard input for a run
STDIN = "-"
_PLAIN = (".txt", ".text")  # one message
_MAILDIR = ("cur", "new")
_FIELD = re.compile(rb"[A-Za-z][!-9;-~]{0,75}:[ \t]")  # as a mail begins, also one whose name has no ending
_MOST_WORDS = 100  # of a label column; a column with more holds something else
MOST_PLACES = 5
_READ_FOR_HOSTS = 65_536  # characters
# The host of a URL, whoever it names before an @; or a name that is written like one.
_HOST = re.compile(
    r"https?://([^\s/?#:<>()\"'\]]{1,253})|\b((?:[a-z0-9-]{1,63}\.){1,5}(?:com|net|org|info|biz|io|ly|co|uk|me|app|top))\b",
    re.IGNORECASE,
)
_LABEL_OPTION = "--label-column"


@dataclass(frozen=True, slots=True)
class InputRequest:
    """Which messages to score, the names of their columns, and which labels mean spam."""

    messages: str
    text_column: str = TEXT
    label_column: str = LABEL
    spam_label: str = "spam"
    header: bool = True
    encoding: str = "auto"
    spam_folder: str = SPAM_FOLDER

    @property
    def columns(self) -> Columns:
        """Return the columns of files of rows."""
        return Columns(self.text_column, self.label_column, self.header, self.encoding)

    @property
    def wants_labels(self) -> bool:
        """Return whether somebody has said where the labels are, or what they mean."""
        return (self.label_column, self.spam_label) != (LABEL, "spam")


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message to score, or the fault that makes it unreadable, and where it came from.

    `source` is the file, and of a mail in a folder also where it lies there; `place` is the line, row or item, counted
    from 1. `raw` holds the bytes of a mail, and `hosts` those that its links lead to.
    """

    source: str
    place: int
    text: str = ""
    label: str | None = None
    fault: str = ""
    is_mail: bool = False
    raw: bytes = field(default=b"", repr=False)
    hosts: tuple[str, ...] = ()


@dataclass(slots=True)
class Survey:
    """What a first reading of all messages has found; `sha256` is that of the input."""

    rows: int = 0
    unreadable: int = 0
    mails: int = 0
    sha256: str = ""
    meanings: dict[str, Label] = field(default_factory=dict)  # by the word of the label column; none: no labels
    faults: dict[str, list[str]] = field(default_factory=dict)  # the first places by what is wrong there
    counts: dict[str, int] = field(default_factory=dict)  # of the faults
    notes: list[str] = field(default_factory=list)

    def add(self, one: Incoming) -> None:
        """Count a message, or name the place of a fault."""
        self.rows += 1
        self.mails += one.is_mail
        if one.fault:
            self.unreadable += 1
            self.counts[one.fault] = self.counts.get(one.fault, 0) + 1
            places = self.faults.setdefault(one.fault, [])
            if len(places) < MOST_PLACES:
                places.append(f"{one.source} {one.place}")


def survey(request: InputRequest) -> Survey:
    """Read all of the input once, and return what is in it; raise DataError where it cannot be used as asked."""
    found, words, digest = Survey(), Counter[str](), hashlib.sha256()
    for path in files_of(request):
        for one in of_file(path, request, found.notes, parsed=False):
            found.add(one)
            digest.update(hashlib.sha256(one.raw).digest())
            if one.label is not None and len(words) <= _MOST_WORDS:
                words[one.label.casefold()] += 1
        if path.is_file():
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    if not found.rows:
        raise DataError(f"{named(request)}: holds no message: name a file or a folder with at least one")
    found.sha256 = digest.hexdigest()
    if found.mails:  # whose labels are their folders, if one of them is for spam
        found.meanings = {SPAM: SPAM, NOT_SPAM: NOT_SPAM} if words[SPAM] else {}
    else:
        found.meanings = meanings_of(words, request, found.notes)
    return found


def read(request: InputRequest) -> Iterator[Incoming]:
    """Yield every message of the input in order, readable or not; what was noted of the files is not said again."""
    for path in files_of(request):
        yield from of_file(path, request, [], parsed=True)


def hosts_of(one: Incoming) -> tuple[str, ...]:
    """Return the hosts that a message links to, each once, in the order of their first link."""
    found = (match[1] or match[2] for match in _HOST.finditer(one.text[:_READ_FOR_HOSTS]))
    return tuple(dict.fromkeys([*one.hosts, *(host.rpartition("@")[2].casefold() for host in found)]))


def described(counts: Mapping[str, int], faults: Mapping[str, list[str]]) -> str:
    """Describe how many messages could not be read, why, and which come first."""
    return "; ".join(
        f"{count:,} with {fault} ({', '.join(faults[fault])}{', …' if count > len(faults[fault]) else ''})"
        for fault, count in counts.items()
    )


def files_of(request: InputRequest) -> list[Path]:
    """Return the input's files of rows in the order of their names, or the one place of its mails."""
    path = Path(request.messages)
    if not path.exists():
        raise DataError(f"{path} does not exist: name a file, a folder, or - for standard input")
    if not path.is_dir():
        return [path]
    beside = sorted(one for one in path.iterdir() if not one.name.startswith("."))
    rows = [one for one in beside if one.is_file() and ends_in(one, EXTENSIONS)]
    mails = [one for one in beside if ends_in(one, MAIL_FILES) or (one.is_dir() and one.name in _MAILDIR)]
    if rows and mails:
        raise DataError(f"{path} holds mails and files of rows ({rows[0].name}): score one after the other")
    return rows or [path]


def ends_in(path: Path, endings: tuple[str, ...]) -> bool:
    """Return whether a file's name, without that of gzip, has one of some endings."""
    return path.name.lower().removesuffix(".gz").endswith(endings)


def of_file(path: Path, request: InputRequest, notes: list[str], *, parsed: bool) -> Iterator[Incoming]:
    """Yield the messages of one file of rows, of a file that is one message, or of mails, which may stay unparsed."""
    source = STDIN if path.name.startswith(SPOOLED) else str(path)
    if ends_in(path, EXTENSIONS):
        yield from of_rows(path, source, request, notes)
    elif ends_in(path, _PLAIN):
        yield _plain(path, source, request)
    elif is_mailbox(path) or begins_as_mail(path):
        for place, stored in enumerate(read_mails(path), 1):
            where = f"{source} {stored.location}" if path.is_dir() else source
            label = label_of_folder(stored.folder, request.spam_folder) if path.is_dir() else None
            yield of_mail(stored, Incoming(where, place, label=label, is_mail=True, raw=stored.raw), parsed=parsed)
    else:
        kinds = ", ".join(EXTENSIONS)
        raise DataError(
            f"{source}: is not of a known kind: give it mail (.eml, mbox, Maildir), {kinds}, or .txt for one message"
        )


def begins_as_mail(path: Path) -> bool:
    """Return whether a file begins with a field of a mail."""
    try:
        with open_bytes(path) as file:
            return _FIELD.match(file.read(80)) is not None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}): mend the file or its permissions") from error


def of_mail(stored: StoredMail, one: Incoming, *, parsed: bool) -> Incoming:
    """Return a mail with the text that the model reads, or only what counts for a survey."""
    if stored.fault or not parsed:
        return replace(one, fault=stored.fault)
    mail = parse_mail(stored.raw)
    return replace(one, text=mail.text, hosts=mail.hosts)


def of_rows(path: Path, source: str, request: InputRequest, notes: list[str]) -> Iterator[Incoming]:
    """Yield the messages of a csv, tsv, JSON or parquet file, with their labels if it has any."""
    if path.stat().st_size == 0:
        raise DataError(f"{source}: is empty: give it a file with a row for each message")
    columns = request.columns
    labelled = request.wants_labels or _has_labels(path, columns)
    reading = open_rows(path, columns if labelled else replace(columns, label=columns.text))
    notes += reading.notes
    for row in _without_late_refusal(reading, request):
        yield incoming_of(row, source, labelled=labelled)


def incoming_of(row: Row, source: str, *, labelled: bool) -> Incoming:
    """Return a row as a message to score."""
    fault = row.fault or ("no text" if row.text is None else "")
    return Incoming(source, int(row.place), row.text or "", row.label if labelled else None, fault)


def _has_labels(path: Path, columns: Columns) -> bool:
    """Return whether a file has the column of labels: one without is scored all the same."""
    try:
        next(iter(open_rows(path, columns).rows), None)
    except DataError:  # if anything else is wrong, the next reading says so
        return False
    return True


def _without_late_refusal(reading: Reading, request: InputRequest) -> Iterator[Row]:
    """Yield rows; only at its end a JSON file turns out to have no labels, which nobody has asked for."""
    try:
        yield from reading.rows
    except ColumnError as refusal:
        if request.wants_labels or refusal.option != _LABEL_OPTION:
            raise


def _plain(path: Path, source: str, request: InputRequest) -> Incoming:
    """Return a file of text as one message."""
    encoding = "utf-8-sig" if request.encoding == "auto" else request.encoding
    try:
        with open_bytes(path) as file:
            return Incoming(source, 1, file.read().decode(encoding).rstrip("\r\n"))
    except UnicodeDecodeError:
        return Incoming(source, 1, fault=f"bytes that are not {encoding.removesuffix('-sig')} (--encoding)")
    except OSError as error:
        raise DataError(f"{source}: cannot be read ({error.strerror}): mend the file or its permissions") from error


def meanings_of(words: Mapping[str, int], request: InputRequest, notes: list[str]) -> dict[str, Label]:
    """Return what each word of the label column means; nothing, and a note, where that is not clear."""
    if not words:
        return {}
    spam = spam_words(request.spam_label)
    others = sorted(words.keys() - spam)
    clear = len(others) == 1 and not spam.isdisjoint(words)
    if clear or NOT_SPAM_WORDS.issuperset(others):
        known: dict[str, Label] = dict.fromkeys([*others, *NOT_SPAM_WORDS], NOT_SPAM)
        return known | dict.fromkeys(spam, SPAM)
    if request.wants_labels:
        raise DataError(
            f"{named(request)}: which labels mean spam is not clear ({listed(others)} beside "
            f"{shown(request.spam_label)}): name all of them by commas with --spam-label"
        )
    notes.append(f"the column {shown(request.label_column)} is not read as labels: name those of spam by --spam-label")
    return {}


def named(request: InputRequest) -> str:
    """Name the input as the user did."""
    return "standard input" if Path(request.messages).name.startswith(SPOOLED) else request.messages
