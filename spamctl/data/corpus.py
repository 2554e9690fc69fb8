"""Read datasets, bundled ones and a user's own, as one corpus of clean, labelled, distinct messages."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from spamctl.data.bundled_sets import EVERYDAY, SMS_SPAM, find_sms_spam, read_everyday
from spamctl.data.cleaning import clean, keep_distinct
from spamctl.data.files import KINDS, is_known, is_mail, open_rows, parts_of
from spamctl.data.mail_corpus import Source, read_mailboxes, require_spam_folder
from spamctl.data.rows import NOT_SPAM_WORDS, SPAM_FOLDER, FileLayout, LeftOut, Row, listed, shown, spam_words
from spamctl.errors import DataError
from spamctl.progress import ProgressUpdate
from spamctl.schema.message import NOT_SPAM, SPAM, Label, Message, Traits

# Build a corpus from a dataset: clean, labelled, distinct messages, with every dropped row counted.

NONE: Final = "none"
Watch = Callable[[ProgressUpdate], None]


@dataclass(frozen=True, slots=True)
class CorpusRequest(FileLayout):
    """Which messages to read: `sms-spam`, or a user's files and how to read them.

    `good` and `spam` are mailboxes with one label each, or none.
    """

    dataset: str = SMS_SPAM
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


def read_corpus(request: CorpusRequest, *, may_ask: bool = True, watch: Watch | None = None) -> Corpus:
    """Read a dataset into a corpus; raise DataError, with what to do, where it cannot be used as asked.

    With `may_ask` false no archive is asked for a fuller copy: what is on this machine will do. `watch` is told how
    much of a mailbox has been read.
    """
    if request.dataset == SMS_SPAM:
        refuse_description(request)
        copy = find_sms_spam(may_ask=may_ask)
        corpus = _corpus(copy.rows(), request, copy.origin)
        sha256 = hashlib.sha256(copy.content).hexdigest()
        return replace(corpus, sha256=sha256, notes=copy.notes + corpus.notes, warnings=copy.warnings + corpus.warnings)
    path = Path(request.dataset).expanduser()
    if is_mail(path) and path.exists():
        return read_mail_corpus([Source(path)], request.spam_folder, watch)
    if request.text_column == request.label_column:
        raise DataError(f"--text-column and --label-column are both {shown(request.text_column)}: name two columns")
    reading = open_rows(path, request.columns())
    corpus = _corpus(reading.rows, request, str(path))
    return replace(corpus, sha256=_sha256(path), notes=reading.notes + corpus.notes)


def _sha256(path: Path) -> str:
    """Return the digest of a file, or of the digests of a folder's parts."""
    if parts := parts_of(path):
        return hashlib.sha256("".join(map(_sha256, parts)).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_mail_corpus(sources: Sequence[Source], spam_folder: str, watch: Watch | None = None) -> Corpus:
    """Read mailboxes into a corpus; raise DataError where they hold no spam, or no good mail.

    What cannot be read is left out and named: unlike a row of a file, a mail is nothing that its owner could mend.
    """
    origin = " and ".join(str(source.path) for source in sources)
    found = read_mailboxes(sources, spam_folder, watch)
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


BUNDLED: Final = (SMS_SPAM, EVERYDAY)
OWN: Final = "own file"
DEFAULT: Final = ",".join(BUNDLED)
OWN_SHARE = 0.5  # of the weight in training that a user's own files get together, if they are smaller than that
MOST_WEIGHT = 10.0  # of one message of an own file: fewer than a hundredth cannot outweigh all the others
BORDER_WEIGHT = 0.5  # border rows teach, but few people receive them

_SMS_TRAITS = Traits(SMS_SPAM, medium="sms", language="en")


def dataset_names(dataset: str) -> tuple[str, ...]:
    """Return the datasets that a list by commas names; a path that exists as it is written is one name.

    Raises DataError if a name is missing or comes twice.
    """
    if dataset == NONE:
        return ()
    if "," not in dataset or Path(dataset).exists():
        return (dataset,)
    found = tuple(name.strip() for name in dataset.split(","))
    if "" in found:
        raise DataError(f"--dataset {dataset}: a name is missing beside a comma; write {DEFAULT} or the path of a file")
    if twice := [name for name, count in Counter(found).items() if count > 1]:
        raise DataError(f"--dataset {dataset}: {twice[0]} is named twice; name each dataset once")
    return found


def read_datasets(request: CorpusRequest, *, may_ask: bool = True, watch: Watch | None = None) -> Corpus:
    """Read every dataset that `request.dataset` names into one corpus; raise DataError as `read_corpus` does.

    What is said of columns, labels and bad rows is said of the files among them. A text that two datasets hold is kept
    once, as the first of them has it; groups of near duplicates that carry both labels are set aside. `may_ask` and
    `watch` are as in `read_corpus`.
    """
    wanted = dataset_names(request.dataset)
    mailboxes = [Source(path) for name in wanted if name not in BUNDLED and is_mail(path := Path(name).expanduser())]
    tables = [name for name in wanted if name in BUNDLED or not is_mail(Path(name).expanduser())]
    mailboxes += _labelled(request)
    if wanted and all(name in BUNDLED for name in tables):
        refuse_description(replace(request, spam_folder=SPAM_FOLDER) if mailboxes else request)
    parts = [_read(name, request, may_ask=may_ask) for name in tables]
    if mailboxes:
        parts.append(_own(read_mail_corpus(mailboxes, request.spam_folder, watch)))
    if not parts:
        raise DataError("--dataset none: there is nothing to read: name a dataset, or mail with --good and --spam")
    return parts[0] if len(parts) == 1 else _joined(parts)


def training_weights(messages: Sequence[Message], answered: Sequence[float] = ()) -> tuple[float, ...]:
    """Return how much each message counts in training, or nothing if all count the same.

    Border rows count half. A user's own files count as half of all together, where they are fewer than that, but one
    message of theirs for at most ten. `answered` (N,) says how much each counts more, being a labelled answer.
    """
    own = sum(message.traits.dataset == OWN for message in messages)
    others = len(messages) - own
    weight = 1.0
    if own and others:
        weight = min(MOST_WEIGHT, max(1.0, others * OWN_SHARE / (1 - OWN_SHARE) / own))
    found = tuple(
        weight if message.traits.dataset == OWN else BORDER_WEIGHT if message.traits.border else 1.0
        for message in messages
    )
    found = tuple(one * more for one, more in zip(found, answered or (1.0,) * len(found), strict=True))
    return found if len(set(found)) > 1 else ()


def _labelled(request: CorpusRequest) -> list[Source]:
    """Return the mailboxes that have one label each; raise DataError where one is none."""
    labels: tuple[tuple[str, str, Label], ...] = (("--good", request.good, NOT_SPAM), ("--spam", request.spam, SPAM))
    found = [(option, Path(given).expanduser(), label) for option, given, label in labels if given != NONE]
    for option, path, _ in found:
        if not path.exists() or not is_mail(path):
            what = "is no file or folder of mail" if path.exists() else "does not exist"
            raise DataError(f"{option} {path} {what}: give it an mbox, a Maildir, or a folder of .eml files")
    return [Source(path, label) for _, path, label in found]


def _own(found: Corpus) -> Corpus:
    """Mark the messages of a user's own files."""
    messages = (replace(one, traits=replace(one.traits, dataset=OWN)) for one in found.messages)
    return replace(found, messages=tuple(messages))


def _read(name: str, request: CorpusRequest, *, may_ask: bool) -> Corpus:
    """Read one dataset, and write into its messages what is known of them."""
    if name == EVERYDAY:
        return _everyday()
    if name == SMS_SPAM:
        found = read_corpus(CorpusRequest(SMS_SPAM), may_ask=may_ask)
        return replace(found, messages=tuple(replace(message, traits=_SMS_TRAITS) for message in found.messages))
    return _own(read_corpus(replace(request, dataset=name), may_ask=may_ask))


def _everyday() -> Corpus:
    """Read the corpus of messages of today."""
    content, rows = read_everyday()
    distinct = keep_distinct([replace(message, text=clean(message.text)) for message in rows])
    origin = f"{EVERYDAY}, written for spamctl ({len(rows):,} rows)"
    return Corpus(
        distinct.messages, origin, hashlib.sha256(content).hexdigest(), _left_out(distinct.repeated, distinct.disputed)
    )


def _joined(parts: Sequence[Corpus]) -> Corpus:
    """Make one corpus of several; its sha256 is that of all of theirs."""
    distinct = keep_distinct([message for part in parts for message in part.messages])
    return Corpus(
        messages=distinct.messages,
        origin=" and ".join(part.origin for part in parts),
        sha256=hashlib.sha256(json.dumps([part.sha256 for part in parts]).encode()).hexdigest(),
        notes=(*(note for part in parts for note in part.notes), *_left_out(distinct.repeated, distinct.disputed)),
        warnings=tuple(warning for part in parts for warning in part.warnings),
    )


def _left_out(repeated: int, disputed: int) -> tuple[str, ...]:
    """Describe what was left out when datasets were merged."""
    counts = {"exact copies between datasets": repeated, "near duplicates that carry both labels": disputed}
    return tuple(f"left out: {count:,} {what}" for what, count in counts.items() if count)


# Read a user's own messages for replay: without cleaning, and in their order.


@dataclass(frozen=True, slots=True)
class Replay:
    """Messages in the order of their file, each with its label (None: not asked for), and what was left out."""

    rows: tuple[tuple[str, Label | None], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReplayRequest(FileLayout):
    """Which file to read, how, and whether labels are wanted."""

    replay: str
    truth: bool = True


def read_replay(request: ReplayRequest) -> Replay:
    """Read a file of messages; raise DataError, with what to do, where it cannot be used as asked."""
    try:
        return _read_rows(request)
    except DataError as error:
        if request.truth and "has no column" in str(error) and "(--label-column)" in str(error):
            raise DataError(f"{error}; if your messages have no labels, add --no-truth") from None
        raise


def _read_rows(request: ReplayRequest) -> Replay:
    path = Path(request.replay).expanduser()
    _refuse_no_file(path)
    if is_mail(path):
        return _read_mail(path, request)
    # Without labels the column of texts is read twice, so that no label column is needed.
    label_column = request.label_column if request.truth else request.text_column
    reading = open_rows(path, replace(request, label_column=label_column).columns())
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
