"""Make a corpus of a dataset: clean, labelled, distinct messages, with every row that is left out counted."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from spamctl.data.cleaning import clean
from spamctl.data.duplicates import keep_distinct
from spamctl.data.files import Columns, Row, read_rows, shown
from spamctl.data.sms_spam import SMS_SPAM, find_sms_spam
from spamctl.errors import DataError
from spamctl.message import NOT_SPAM, SPAM, Label, Message

NOT_SPAM_WORDS = frozenset({"not spam", "not-spam", "not_spam", "notspam", "ham", "legit", "0", "false", "no"})
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class CorpusRequest:
    """Say which messages to read: `sms-spam`, or a file and what its columns and its spam label are called."""

    dataset: str = SMS_SPAM
    text_column: str = "text"
    label_column: str = "label"
    spam_label: str = "spam"
    bad_rows: Literal["refuse", "skip"] = "refuse"


@dataclass(frozen=True, slots=True)
class Corpus:
    """Hold clean messages, where they came from, the sha256 of the file they were in, and what the user should know."""

    messages: tuple[Message, ...]
    origin: str
    sha256: str
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Table:
    """Hold usable rows as (clean text, label), and the places of the others by their fault."""

    rows: list[tuple[str, str]]
    faults: dict[str, list[int]]


def read_corpus(request: CorpusRequest) -> Corpus:
    """Read a dataset into a corpus; raise DataError, with what to do, where it cannot be used as asked."""
    if request.dataset == SMS_SPAM:
        if replace(request, bad_rows="refuse") != CorpusRequest():
            raise DataError(
                "--text-column, --label-column and --spam-label describe a file, and --dataset is sms-spam: "
                "leave them out, or give --dataset a file"
            )
        copy = find_sms_spam()
        corpus = _corpus(copy.rows(), request, copy.origin)
        sha256 = hashlib.sha256(copy.content).hexdigest()
        return replace(corpus, sha256=sha256, notes=copy.notes + corpus.notes, warnings=copy.warnings + corpus.warnings)
    path = Path(request.dataset)
    if request.text_column == request.label_column:
        raise DataError(f"--text-column and --label-column are both {shown(request.text_column)}: name two columns")
    corpus = _corpus(read_rows(path, Columns(request.text_column, request.label_column)), request, str(path))
    with path.open("rb") as file:
        return replace(corpus, sha256=hashlib.file_digest(file, "sha256").hexdigest())


def _corpus(rows: Iterable[Row], request: CorpusRequest, origin: str) -> Corpus:
    """Make a corpus of rows: set unusable ones aside, name the labels, keep each text once."""
    table = _sorted_out(rows)
    left_out = [named(fault, places) for fault, places in table.faults.items()]
    if left_out and request.bad_rows == "refuse":
        raise DataError(f"{origin}: {'; '.join(left_out)}: mend these rows, or leave them out with --bad-rows skip")
    labels = _label_of_words(table.rows, request, origin)
    distinct = keep_distinct([Message(text, labels[word.casefold()]) for text, word in table.rows])
    notes = [f"left out: {fault}" for fault in left_out]
    if distinct.repeated:
        notes.append(f"left out: {distinct.repeated:,} exact {'copy' if distinct.repeated == 1 else 'copies'}")
    if distinct.disputed:
        groups = f"{distinct.disputes:,} {'group' if distinct.disputes == 1 else 'groups'} of near duplicates"
        notes.append(f"left out: {distinct.disputed:,} messages in {groups} that carry both labels")
    return Corpus(distinct.messages, f"{origin} ({len(table.rows):,} rows)", "", tuple(notes))


def _sorted_out(rows: Iterable[Row]) -> _Table:
    """Clean each row's text, and sort the rows that have text and label from those that do not."""
    table = _Table([], {})
    for row in rows:
        text = clean(row.text or "")
        fault = row.fault or ("" if text.strip() else "no text") or ("no label" if row.label is None else "")
        if fault or row.label is None:
            table.faults.setdefault(fault, []).append(row.place)
        else:
            table.rows.append((text, row.label))
    return table


def named(fault: str, places: Sequence[int]) -> str:
    """Say how many rows have a fault, and which come first."""
    first = ", ".join(map(str, places[:_MOST_NAMED])) + (", …" if len(places) > _MOST_NAMED else "")
    return f"{len(places):,} {'row' if len(places) == 1 else 'rows'} with {fault} ({first})"


def _label_of_words(rows: Sequence[tuple[str, str]], request: CorpusRequest, origin: str) -> dict[str, Label]:
    """Tell which label each word of the label column means, whatever its case; refuse to guess."""
    words = Counter(word.casefold() for _, word in rows)
    spam, spam_shown = request.spam_label.strip().casefold(), shown(request.spam_label)
    others = [word for word, _ in words.most_common() if word != spam]
    found = ", ".join(map(shown, others[:_MOST_NAMED])) + (", …" if len(others) > _MOST_NAMED else "")
    if not words:
        raise DataError(f"{origin} has no usable row: give --dataset a file with a row for each message")
    if spam not in words:
        raise DataError(f"{origin}: no row is labelled {spam_shown}, only {found}: name one with --spam-label")
    if not others:
        raise DataError(f"{origin}: every row is labelled {spam_shown}: add messages that are not spam")
    if len(others) > 1 and not NOT_SPAM_WORDS.issuperset(others):
        raise DataError(
            f"{origin}: {len(others):,} labels beside {spam_shown} ({found}): "
            f"write 'not spam' where that is meant, or name another column with --label-column"
        )
    labels: dict[str, Label] = dict.fromkeys(others, NOT_SPAM)
    return labels | {spam: SPAM}
