"""Read mailboxes as labelled rows: labels from folders, threads and dates for the split, counts by folder."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from spamctl.data.cleaning import DisjointSets, key_hash, seen_key
from spamctl.data.mail import Mail, StoredMail, parse_mail, read_mails
from spamctl.data.mailboxes import size_of
from spamctl.data.rows import Row, shown
from spamctl.errors import DataError
from spamctl.progress import ProgressUpdate
from spamctl.schema.message import NOT_SPAM, SPAM, Label, Traits

MEDIUM: Final = "mail"
KB: Final = 1000  # bytes
# Folders whose mails nobody has received, or that their owner threw away, whether spam or not; in any case.
LEFT_OUT: Final = frozenset(
    (
        *("sent", "sent items", "sent messages", "sent mail", "sent-mail", "drafts", "draft", "trash", "bin"),
        *("deleted items", "deleted messages", "deleted", "templates", "outbox", "unsent messages", "queue"),
        *("gesendet", "gesendete objekte", "gesendete elemente", "entwürfe", "papierkorb", "gelöschte objekte"),
        *("gelöschte elemente", "vorlagen", "envoyés", "éléments envoyés", "brouillons", "corbeille"),
        *("enviados", "borradores", "papelera", "inviati", "posta inviata", "bozze", "cestino"),
    )
)
_MOST_FOLDERS = 12
_LEAST_BODY = 40  # characters: "Thanks!" makes no thread
_DISCARDED = "marked as deleted or draft"
_NO_TEXT = "without text"
_UNREADABLE = "unreadable"
_UTF7 = re.compile(r"&([A-Za-z0-9+,]{2,200})-")
_STEPS = re.compile(r"[./\\]+")


@dataclass(frozen=True, slots=True)
class MailRows:
    """Rows of mails, notes on where they come from, and the sha256 of all mails that were read."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    sha256: str


@dataclass(frozen=True, slots=True)
class Source:
    """A mailbox, and the label of all its mails; without one its folders tell."""

    path: Path
    label: Label | None = None


def read_mailboxes(
    sources: Sequence[Source], spam_folder: str, watch: Callable[[ProgressUpdate], None] | None = None
) -> MailRows:
    """Read mailboxes into labelled rows, in the order of their folders and files.

    A folder that `spam_folder` names, in any case and with or without a full stop before it, holds spam, and so do
    those within it. Folders of sent, drafted and deleted mails are left out, unless a label is given for all. `watch`
    is told after each mail how many kilobytes of all have been read. Raises DataError where there is no mail at all.
    """
    wanted = frozenset(_plain(one) for one in spam_folder.split(","))
    reading, done = _Reading(), 0
    total = sum(size_of(source.path) for source in sources) if watch else 0
    for source in sources:
        for stored in read_mails(source.path):
            steps = frozenset(_plain(one) for one in _STEPS.split(stored.folder))
            label: Label = source.label or (SPAM if steps & wanted else NOT_SPAM)
            if source.label is None and label == NOT_SPAM and steps & LEFT_OUT:
                reading.counts[""][stored.folder] += 1
            else:
                reading.take(stored, label)
            if watch and (done := done + len(stored.raw)) < total:  # packed mails are larger than their files
                watch(ProgressUpdate("mail", done // KB, total // KB + 1, "kB"))
    if not reading.counts:
        where = " and ".join(str(source.path) for source in sources)
        raise DataError(
            f"{where}: there is no mail: give a file of mail, an mbox, a Maildir, or a folder of .eml files"
        )
    return reading.rows()


def label_of_folder(folder: str, spam_folder: str) -> Label | None:
    """Return what the name of a folder says of its mails; None where nobody has received them."""
    steps = frozenset(_plain(one) for one in _STEPS.split(folder))
    if steps & frozenset(_plain(one) for one in spam_folder.split(",")):
        return SPAM
    return None if steps & LEFT_OUT else NOT_SPAM


def require_spam_folder(found: MailRows, where: str, spam_folder: str) -> None:
    """Refuse mailboxes none of whose folders holds spam; raise DataError, which names the folders."""
    if not any(row.label == SPAM for row in found.rows):
        said = "; ".join(found.notes) or "no mail that can be read"
        raise DataError(
            f"{where} has no mail in a folder {' or '.join(shown(one) for one in spam_folder.split(','))} "
            f"({said}): name the folders of your spam with --spam-folder"
        )


@dataclass(slots=True)
class _Reading:
    """Mails read so far: their rows, what is known of each, and how many each folder has, by what became of them."""

    found: list[tuple[Row, Mail]] = field(default_factory=list)
    faults: list[Row] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    counts: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def take(self, stored: StoredMail, label: Label) -> None:
        """Read a mail, and set it aside where it says nothing or its owner has discarded it."""
        if stored.fault:
            self.faults.append(Row(stored.location, label=label, fault=stored.fault))
            self.counts[_UNREADABLE][stored.folder] += 1
            return
        self.digests.append(hashlib.sha256(stored.raw).digest())
        mail = parse_mail(stored.raw)
        what = _DISCARDED if stored.is_discarded and label == NOT_SPAM else label if mail.text.strip() else _NO_TEXT
        self.counts[what][stored.folder] += 1
        if what == label:
            self.found.append((Row(stored.location, mail.text, label), mail))

    def rows(self) -> MailRows:
        """Return the rows with their threads and dates."""
        threads = find_threads([mail for _, mail in self.found])
        rows = (
            replace(row, traits=Traits(medium=MEDIUM, thread=thread, received=_seconds(mail)))
            for (row, mail), thread in zip(self.found, threads, strict=True)
        )
        digest = hashlib.sha256(b"".join(sorted(self.digests)))
        return MailRows((*rows, *self.faults), tuple(self._notes()), digest.hexdigest())

    def _notes(self) -> Iterator[str]:
        """Yield how many mails each folder has."""
        for what in (SPAM, NOT_SPAM):
            if found := self.counts.get(what):
                yield f"{what} by folder: {_listed(found)}"
        if found := self.counts.get(""):
            yield f"left out, sent, draft or deleted: {_listed(found)}"
        for what in (_DISCARDED, _NO_TEXT):
            if found := self.counts.get(what):
                yield f"left out, {what}: {_listed(found)}"


def find_threads(mails: Sequence[Mail]) -> list[str]:
    """Return what each mail shares with the others of its thread or mailing list; nothing where it has none.

    Mails belong together if one names the other, if both name a third, if one list sent them, or if they say the same
    under different subjects, as spam does.
    """
    joined = DisjointSets()
    names = [_names(mail) for mail in mails]
    for own in names:
        joined.join(own)
    leaders = [joined.leader(own[0]) if own else "" for own in names]
    sizes = Counter(leaders)
    return [hashlib.sha256(name.encode()).hexdigest()[:16] if name and sizes[name] > 1 else "" for name in leaders]


def _names(mail: Mail) -> tuple[str, ...]:
    """Return the names of a mail, of those that it answers, of its list, and of what it says."""
    ids = (f"<{one}>" for one in (mail.message_id, *mail.references) if one)
    lists = (f"list {mail.list_id}",) if mail.list_id else ()
    body = seen_key(mail.text.partition("\n\n")[2])
    bodies = (f"body {key_hash(body).hex()}",) if len(body) >= _LEAST_BODY else ()
    return (*ids, *lists, *bodies)


def _seconds(mail: Mail) -> str:
    """Return when a mail came, as `Traits` says it."""
    return str(int(mail.date.timestamp())) if mail.date else ""


def _listed(counts: Counter[str]) -> str:
    """Describe how many mails each folder has, the largest first."""
    found = counts.most_common()
    named = [f"{_safe(folder)} {count:,}" for folder, count in found[:_MOST_FOLDERS]]
    if more := found[_MOST_FOLDERS:]:
        named.append(f"{len(more):,} more folders {sum(count for _, count in more):,}")
    return ", ".join(named)


def _plain(folder: str) -> str:
    """Return a folder's name as it is compared: in lower case, without the full stop of a Maildir.

    Servers spell letters beyond ASCII in IMAP's own UTF-7, with `&` for `+` and a comma for the slash.
    """
    try:
        name = _UTF7.sub(lambda found: f"+{found[1].replace(',', '/')}-".encode().decode("utf-7"), folder)
    except UnicodeError:
        name = folder
    return name.strip().strip(".").casefold()


def _safe(name: str) -> str:
    """Return a name for a terminal."""
    return "".join(one if one.isprintable() else "?" for one in name)
