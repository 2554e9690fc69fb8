"""Build a corpus from a dataset: clean, labelled, distinct messages, with every dropped row counted."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from spamctl.data.cleaning import clean
from spamctl.data.duplicates import keep_distinct
from spamctl.data.files import is_mail, open_rows
from spamctl.data.label_words import NOT_SPAM_WORDS, LeftOut, listed, spam_words
from spamctl.data.mail_corpus import Source, read_mailboxes, require_spam_folder
from spamctl.data.rows import LABEL, SPAM_FOLDER, TEXT, Columns, Row, shown
from spamctl.data.sms_spam import SMS_SPAM, find_sms_spam
from spamctl.errors import DataError
from spamctl.message import NOT_SPAM, SPAM, Label, Message, Traits

NONE: Final = "none"


@dataclass(frozen=True, slots=True)
class CorpusRequest:
    """Which messages to read: `sms-spam`, or a file with the names of its columns and its spam label.

    Of a mailbox `spam_folder` names the folders of spam; `good` and `spam` are mailboxes with one label each, or none.
    """

    dataset: str = SMS_SPAM
    text_column: str = TEXT
    label_column: str = LABEL
    spam_label: str = "spam"
    header: bool = True
    encoding: str = "auto"
    bad_rows: Literal["refuse", "skip"] = "refuse"
    spam_folder: str = SPAM_FOLDER
    good: str = NONE
    spam: str = NONE


@dataclass(frozen=True, slots=True)
class Corpus:
    """Clean messages, where they came from, the sha256 of their file, and notes for the user."""

    messages: tuple[Message, ...]
    origin: str
    sha256: str
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Table:
    """Usable rows as (clean text, label, traits), and counts of what was left out."""

    rows: list[tuple[str, str, Traits]]
    left_out: LeftOut


def read_corpus(request: CorpusRequest, *, may_ask: bool = True) -> Corpus:
    """Read a dataset into a corpus; raise DataError, with what to do, where it cannot be used as asked.

    With `may_ask` false no archive is asked for a fuller copy: what is on this machine will do.
    """
    if request.dataset == SMS_SPAM:
        refuse_description(request)
        copy = find_sms_spam(may_ask=may_ask)
        corpus = _corpus(copy.rows(), request, copy.origin)
        sha256 = hashlib.sha256(copy.content).hexdigest()
        return replace(corpus, sha256=sha256, notes=copy.notes + corpus.notes, warnings=copy.warnings + corpus.warnings)
    path = Path(request.dataset).expanduser()
    if is_mail(path) and path.exists():
        return read_mail_corpus([Source(path)], request.spam_folder)
    if request.text_column == request.label_column:
        raise DataError(f"--text-column and --label-column are both {shown(request.text_column)}: name two columns")
    columns = Columns(request.text_column, request.label_column, request.header, request.encoding)
    reading = open_rows(path, columns)
    corpus = _corpus(reading.rows, request, str(path))
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return replace(corpus, sha256=sha256, notes=reading.notes + corpus.notes)


def read_mail_corpus(sources: Sequence[Source], spam_folder: str) -> Corpus:
    """Read mailboxes into a corpus; raise DataError where they hold no spam, or no good mail.

    What cannot be read is left out and named: unlike a row of a file, a mail is nothing that its owner could mend.
    """
    origin = " and ".join(str(source.path) for source in sources)
    found = read_mailboxes(sources, spam_folder)
    require_spam_folder(found, origin, spam_folder)
    corpus = _corpus(found.rows, CorpusRequest(origin, bad_rows="skip"), origin)
    return replace(corpus, sha256=found.sha256, notes=found.notes + corpus.notes)


def refuse_description(request: CorpusRequest) -> None:
    """Refuse what describes a file, since `request.dataset` names none; raise DataError."""
    if replace(request, dataset=SMS_SPAM, bad_rows="refuse", good=NONE, spam=NONE) != CorpusRequest():
        raise DataError(
            "--text-column, --label-column, --spam-label, --no-header, --encoding and --spam-folder describe a file, "
            f"and --dataset is {request.dataset}: leave them out, or give --dataset a file"
        )


def _corpus(rows: Iterable[Row], request: CorpusRequest, origin: str) -> Corpus:
    """Make a corpus of rows: set unusable ones aside, name the labels, keep each text once."""
    table = _sorted_out(rows)
    if request.bad_rows == "refuse":
        table.left_out.refuse(origin, usable=len(table.rows))
    labels = _label_of_words([word for _, word, _ in table.rows], request, origin)
    kept = Counter(labels[word.casefold()] for _, word, _ in table.rows)
    meanings: dict[str, Label] = {**dict.fromkeys(NOT_SPAM_WORDS, NOT_SPAM), **labels}
    notes = table.left_out.settle(origin, kept, meanings.get)
    distinct = keep_distinct([Message(text, labels[word.casefold()], about) for text, word, about in table.rows])
    if distinct.repeated:
        notes.append(f"left out: {distinct.repeated:,} exact {'copy' if distinct.repeated == 1 else 'copies'}")
    if distinct.disputed:
        groups = f"{distinct.disputes:,} {'group' if distinct.disputes == 1 else 'groups'} of near duplicates"
        notes.append(f"left out: {distinct.disputed:,} messages in {groups} that carry both labels")
    return Corpus(distinct.messages, f"{origin} ({len(table.rows):,} rows)", "", tuple(notes))


def _sorted_out(rows: Iterable[Row]) -> _Table:
    """Clean each row's text, and sort the rows that have text and label from those that do not."""
    table = _Table([], LeftOut())
    for row in rows:
        text = clean(row.text or "")
        fault = row.fault or ("" if text.strip() else "no text") or ("no label" if row.label is None else "")
        if fault or row.label is None:
            table.left_out.add(row, fault)
        else:
            table.rows.append((text, row.label, row.traits))
    return table


def _label_of_words(labels: Sequence[str], request: CorpusRequest, origin: str) -> dict[str, Label]:
    """Return the label that each word of the label column means, in any case; refuse to guess."""
    words = Counter(word.casefold() for word in labels)
    spam, spam_shown = spam_words(request.spam_label), shown(request.spam_label)
    others = [word for word, _ in words.most_common() if word not in spam]
    if not words:
        raise DataError(f"{origin} has no usable row: give --dataset a file with a row for each message")
    if absent := _absent(words, request):
        found = [word for word, _ in words.most_common()]
        raise DataError(f"{origin}: no row is labelled {absent}, only {listed(found)}: name one with --spam-label")
    if not others:
        raise DataError(f"{origin}: every row is labelled {spam_shown}: add messages that are not spam")
    if len(others) > 1 and not NOT_SPAM_WORDS.issuperset(others):
        unknown = [word for word in others if word not in NOT_SPAM_WORDS]
        raise DataError(
            f"{origin}: {len(others):,} labels beside {spam_shown} ({listed(others)}): name every one that means spam, "
            f"such as --spam-label {shown(f'{request.spam_label},{unknown[0]}')}, write 'not spam' where that is "
            f"meant, or name another column with --label-column"
        )
    return {**dict.fromkeys(others, NOT_SPAM), **dict.fromkeys(spam, SPAM)}


def _absent(words: Counter[str], request: CorpusRequest) -> str:
    """Name the words for spam that no row has: a misspelt one would leave its rows among the others."""
    if request.spam_label.strip().casefold() in words:
        return ""
    asked = [word.strip() for word in request.spam_label.split(",") if word.strip()] or [request.spam_label]
    return " or ".join(shown(word) for word in asked if not words.keys() & spam_words(word))
