"""Read a user's own messages for replay: without cleaning, and in their order."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from spamctl.data.files import KINDS, is_known, is_mail, open_rows
from spamctl.data.label_words import NOT_SPAM_WORDS, LeftOut, listed, spam_words
from spamctl.data.mail_corpus import Source, read_mailboxes, require_spam_folder
from spamctl.data.rows import LABEL, SPAM_FOLDER, TEXT, Columns, Row, shown
from spamctl.errors import DataError
from spamctl.message import NOT_SPAM, SPAM, Label


@dataclass(frozen=True, slots=True)
class Replay:
    """Messages in the order of their file, each with its label (None: not asked for), and what was left out."""

    rows: tuple[tuple[str, Label | None], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """Which file to read, the names of its columns, and whether labels are wanted."""

    replay: str
    text_column: str = TEXT
    label_column: str = LABEL
    spam_label: str = "spam"
    header: bool = True
    encoding: str = "auto"
    bad_rows: Literal["refuse", "skip"] = "refuse"
    truth: bool = True
    spam_folder: str = SPAM_FOLDER


def read_replay(request: ReplayRequest) -> Replay:
    """Read a file of messages; raise DataError, with what to do, where it cannot be used as asked."""
    try:
        return _read(request)
    except DataError as error:
        if request.truth and "has no column" in str(error) and "(--label-column)" in str(error):
            raise DataError(f"{error}; if your messages have no labels, add --no-truth") from None
        raise


def _read(request: ReplayRequest) -> Replay:
    path = Path(request.replay).expanduser()
    _refuse_no_file(path)
    if is_mail(path):
        return _read_mail(path, request)
    # Without labels the column of texts is read twice, so that no label column is needed.
    label_column = request.label_column if request.truth else request.text_column
    reading = open_rows(path, Columns(request.text_column, label_column, request.header, request.encoding))
    usable, left_out = [], LeftOut()
    for row in reading.rows:
        if fault := _fault(row, labelled=request.truth):
            left_out.add(row if request.truth else replace(row, label=None), fault)
        else:
            usable.append(row)
    where = f"--replay {path}"
    if request.bad_rows == "refuse":
        left_out.refuse(where, usable=len(usable))
    if not usable:
        raise DataError(f"{where} has no usable row: give it a file with a row for each message")
    meanings = _meanings(usable, request) if request.truth else {}
    rows = [(row.text or "", meanings.get((row.label or "").casefold())) for row in usable]
    kept = Counter(label for _, label in rows if label)
    notes = left_out.settle(where, kept, meanings.get)
    return Replay(tuple(rows), (*reading.notes, *notes))


def _read_mail(path: Path, request: ReplayRequest) -> Replay:
    """Read a mailbox; its folders are the truth, if any of them holds spam."""
    found = read_mailboxes([Source(path)], request.spam_folder)
    where = f"--replay {path}"
    if request.truth:
        try:
            require_spam_folder(found, where, request.spam_folder)
        except DataError as error:
            raise DataError(f"{error}; if nobody has sorted your mail, add --no-truth") from None
    left_out = LeftOut()
    for row in found.rows:
        if row.fault:
            left_out.add(row, row.fault)
    usable = [row for row in found.rows if not row.fault]
    if not usable:
        raise DataError(f"{where} has no mail that can be read: give it an mbox, a Maildir, or a folder of .eml files")
    labels: dict[str, Label] = {SPAM: SPAM, NOT_SPAM: NOT_SPAM}
    rows = tuple((row.text or "", labels[row.label or ""] if request.truth else None) for row in usable)
    kept = Counter(labels[row.label or ""] for row in usable)
    return Replay(rows, (*found.notes, *left_out.settle(where, kept, labels.get)))


def _refuse_no_file(path: Path) -> None:
    """Refuse what is no file of messages, in the words of this option."""
    if not is_known(path):
        raise DataError(f"--replay {path}: is not of a known kind: convert it to {KINDS}")
    if not path.is_file() and not is_mail(path):
        what = "is no file" if path.exists() else "does not exist"
        raise DataError(f"--replay {path}: {what}: give it a file that ends in {KINDS}")


def _fault(row: Row, *, labelled: bool) -> str:
    """Describe why a row cannot be sent, or return an empty string; an empty message can be sent."""
    if row.fault:
        return row.fault
    if row.text is None:
        return "no text"
    return "no label" if labelled and row.label is None else ""


def _meanings(rows: Sequence[Row], request: ReplayRequest) -> dict[str, Label]:
    """Return what each label means; refuse to guess which of many words mean that a message is not spam."""
    spam = spam_words(request.spam_label)
    words = {(row.label or "").casefold() for row in rows}
    others = sorted(words - spam)
    if not NOT_SPAM_WORDS.issuperset(others) and (len(others) > 1 or not words & spam):
        raise DataError(
            f"--replay {request.replay}: which labels mean spam is not clear ({listed(others)} beside "
            f"{shown(request.spam_label)}): name it with --spam-label, all of them by commas, or send them without "
            "truth: --no-truth"
        )
    known: dict[str, Label] = dict.fromkeys(NOT_SPAM_WORDS | words, NOT_SPAM)
    return known | dict.fromkeys(spam, SPAM)
