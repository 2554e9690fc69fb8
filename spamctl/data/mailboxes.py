"""Find the mails of a mailbox: a file with one, an mbox, a Maildir, or a folder of any of them, also packed by gzip."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

from spamctl.data.mime import MOST_BYTES

MAIL_FILES: Final = (".eml", ".mbox", ".mbx")
INBOX: Final = "INBOX"
_GZIP = b"\x1f\x8b"
_HEAD = 512
_LONGEST_LINE = 2**20
_MAILDIR = frozenset(("cur", "new"))
# What mail programs keep beside mails.
_BESIDE = re.compile(
    r"dovecot|subscriptions|maildir(?:size|folder)|courier|\.|.*\.(?:msf|dat|json|lock|index|log)$", re.IGNORECASE
)
_FROM = re.compile(rb"From \S.{0,200}\d\d:\d\d")  # the line before each mail of an mbox; a sentence has no time in it
_QUOTED_FROM = re.compile(rb"^>(>*From )", re.MULTILINE)
_FIELDS = re.compile(rb"(?:[A-Za-z][!-9;-~]{0,75}:[^\0\n]*\n){1,9}(?:[A-Za-z][!-9;-~]{0,75}:|[ \t]\S)")
_FLAGS = re.compile(r":2,[A-Za-z]*")
_UNREADABLE = (OSError, EOFError, zlib.error)


@dataclass(frozen=True, slots=True)
class StoredMail:
    """A mail as it is stored: its folder, the name of its file or its number, and its bytes; or why it has none.

    `is_discarded` says that its owner has marked it as deleted, or not sent it yet.
    """

    folder: str
    key: str
    raw: bytes = b""
    fault: str = ""
    is_discarded: bool = False

    @property
    def location(self) -> str:
        """Return where it lies, for people."""
        return "".join(one if one.isprintable() else "?" for one in f"{self.folder}:{self.key}")


def is_mailbox(path: Path) -> bool:
    """Return whether a path is a folder, or a file whose name or first line is that of mail."""
    try:
        if path.is_dir() or _suffix(path.name) in MAIL_FILES:
            return True
        return path.is_file() and _FROM.match(_head(path)) is not None
    except _UNREADABLE:
        return False


@dataclass(frozen=True, slots=True)
class MailFile:
    """A file of a mailbox that may hold mails; one below `cur` or `new` of a Maildir is a mail, whatever is in it."""

    path: Path
    folder: str
    is_maildir: bool = False


def read_mails(path: Path) -> Iterator[StoredMail]:
    """Yield every mail of a file or folder, folders and files by their names.

    A folder of a Maildir is named as on disk, such as `.Junk`, its own mails `INBOX`; a file is the folder of its
    mails. One that cannot be read is yielded with its fault; files that are no mail are passed over.
    """
    if not path.is_dir():
        yield from _of_file(path, _named(path.name))
        return
    for file in mail_files(path):
        yield from read_mail_file(file)


def mail_files(path: Path) -> Iterator[MailFile]:
    """Yield the files of a folder that may hold mails, in the order in which they are read; none is opened."""
    for place, folders, files in os.walk(path):
        here = Path(place)
        folders[:] = sorted(name for name in folders if name != "tmp" or not _MAILDIR & set(folders))
        folder = _folder(path, here)
        is_maildir = here.name in _MAILDIR and here != path
        for name in sorted(files):
            if is_maildir or _suffix(name) in MAIL_FILES or not _BESIDE.match(name):
                yield MailFile(here / name, folder, is_maildir)


def read_mail_file(file: MailFile) -> Iterator[StoredMail]:
    """Yield the mails of a file in a folder: none, one, or those of an mbox."""
    if file.is_maildir:
        yield _of_maildir(file.path, file.folder)
    else:
        yield from _of_folder(file.path, file.folder)


def begins_mbox(head: bytes) -> bool:
    """Return whether a file that begins with some bytes is an mbox."""
    return _FROM.match(head) is not None


def size_of(path: Path) -> int:
    """Return how many bytes the files of a mailbox have."""
    if not path.is_dir():
        return _size(path)
    return sum(_size(Path(place) / name) for place, _, files in os.walk(path) for name in files)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # it was moved or deleted meanwhile
        return 0


def _of_maildir(path: Path, folder: str) -> StoredMail:
    """Read a mail of a Maildir; the letters behind its name say what its owner did with it."""
    flags = _FLAGS.search(path.name)
    discarded = flags is not None and bool({"T", "D"} & set(flags[0]))
    return read_mail(path, folder, discarded=discarded)


def _of_folder(path: Path, folder: str) -> Iterator[StoredMail]:
    """Yield the mails of a file in a plain folder: one, or all of an mbox, which is a folder of its own."""
    try:
        head = _head(path)
    except _UNREADABLE as error:
        yield StoredMail(folder, path.name, fault=_reason(error))
        return
    if _FROM.match(head):
        yield from _of_mbox(path, mbox_folder(path.name, folder))
    elif _suffix(path.name) in MAIL_FILES or _FIELDS.match(head):
        yield read_mail(path, folder)


def mbox_folder(name: str, folder: str) -> str:
    """Return the folder that an mbox is, by its file's name and the folder that it lies in."""
    return _named(name) if folder == INBOX else f"{folder}/{_named(name)}"


def _of_file(path: Path, folder: str) -> Iterator[StoredMail]:
    """Yield the mails of a file that was asked for by name."""
    try:
        head = _head(path)
    except _UNREADABLE as error:
        yield StoredMail(folder, path.name, fault=_reason(error))
        return
    if _FROM.match(head):
        yield from _of_mbox(path, folder)
    elif head.startswith(b"*mbx*"):
        yield StoredMail(folder, path.name, fault="the format mbx of an IMAP server (convert it to mbox)")
    else:
        yield read_mail(path, folder)


def read_mail(path: Path, folder: str, *, discarded: bool = False) -> StoredMail:
    """Return the mail that a file is."""
    try:
        with _opened(path) as file:
            return StoredMail(folder, path.name, file.read(MOST_BYTES + 1), is_discarded=discarded)
    except _UNREADABLE as error:
        return StoredMail(folder, path.name, fault=_reason(error), is_discarded=discarded)


def _of_mbox(path: Path, folder: str) -> Iterator[StoredMail]:
    """Yield the mails of an mbox, each from its line `From ` to that of the next; one at a time is in memory."""
    number, lines, size = 0, list[bytes](), 0
    try:
        with _opened(path) as file:
            for line, begins in mbox_lines(file):
                if begins:
                    if number:
                        yield StoredMail(folder, str(number), _unquoted(lines))
                    number, lines, size = number + 1, [], 0
                elif size <= MOST_BYTES:
                    lines.append(line)
                    size += len(line)
    except _UNREADABLE as error:
        yield StoredMail(folder, str(number), fault=_reason(error))
        return
    if number:
        yield StoredMail(folder, str(number), _unquoted(lines))


def mbox_lines(file: IO[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Yield each line of an mbox, and whether it is the line `From ` of the next mail."""
    blank = True
    for line in iter(lambda: file.readline(_LONGEST_LINE), b""):
        yield line, blank and line.startswith(b"From ") and _FROM.match(line) is not None
        blank = line in {b"\n", b"\r\n"}


def _unquoted(lines: list[bytes]) -> bytes:
    """Return the bytes of a mail whose lines that begin with `From ` were marked by `>`."""
    raw = b"".join(lines)
    return _QUOTED_FROM.sub(rb"\1", raw) if b">From " in raw else raw


def _folder(root: Path, here: Path) -> str:
    """Return the name of the folder that a place within a mailbox belongs to."""
    steps = list(here.relative_to(root).parts)
    if steps and steps[-1] in _MAILDIR:
        steps.pop()
    return "/".join(steps) or INBOX


def _named(name: str) -> str:
    """Return a file's name without the endings of packed and of mail files."""
    return name.removesuffix(".gz").removesuffix(_suffix(name)) or name


def _suffix(name: str) -> str:
    """Return the ending of a file's name, that of gzip left out, in lower case."""
    return Path(name.lower().removesuffix(".gz")).suffix


def _opened(path: Path) -> IO[bytes]:
    """Open a file for its bytes, unpacked if it is packed."""
    with path.open("rb") as file:
        packed = file.read(len(_GZIP)) == _GZIP
    return cast("IO[bytes]", gzip.open(path, "rb") if packed else path.open("rb"))


def _head(path: Path) -> bytes:
    """Return the first bytes of a file."""
    with _opened(path) as file:
        return file.read(_HEAD)


def _reason(error: Exception) -> str:
    """Return why a file cannot be read, without its name."""
    if isinstance(error, OSError) and error.strerror:
        return f"unreadable file ({error.strerror})"
    return "damaged gzip file"
