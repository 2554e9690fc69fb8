"""Read labels from a file, each for a uuid or for a text.

Spreadsheets write other line ends than they read, and people add spaces around a cell: neither makes another text.

The file is read twice: first to refuse what cannot be used, and to keep 8 bytes of each label; then, if it names uuids,
to hand them out. So a file of millions of labels needs little memory.
"""

from __future__ import annotations

import re
import secrets
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from spamctl.data.files import KINDS, Reading, is_known, is_mail, open_rows
from spamctl.data.rows import NOT_SPAM_WORDS, FileLayout, LeftOut, Row, named, shown, spam_words
from spamctl.errors import DataError
from spamctl.schema.message import NOT_SPAM, SPAM, Label, canonical_uuid

UUID_COLUMN = "uuid"
Key = Literal["uuid", "text"]
_CHUNK = 5_000
_LINE_END = re.compile(r"[ \t]*(?:\r\n|\r|\n)[ \t]*")


@dataclass(frozen=True, slots=True)
class LabelRequest(FileLayout):
    """Which file of labels to read, and how."""

    labels: str


@dataclass(frozen=True, slots=True)
class Given:
    """A usable row: its place in the file, the message it refers to, and the label."""

    place: int | str
    key: str
    label: Label


@dataclass(slots=True)
class LabelFile:
    """Labels of a usable file; `key` says whether a message is identified by uuid or by text."""

    request: LabelRequest
    key: Key
    rows: int = 0
    notes: list[str] = field(default_factory=list)
    _salt: bytes = field(default_factory=lambda: secrets.token_bytes(16))  # nobody can choose texts that collide
    _known: npt.NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    _met: npt.NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))  # labels that a message has

    def chunks(self) -> Iterator[dict[str, Label]]:
        """Yield the labels by their key, a few thousand at a time; equal rows of one chunk count once."""
        chunk: dict[str, Label] = {}
        for given in _usable(self.request, self.key, LeftOut()):
            chunk[given.key] = given.label
            if len(chunk) == _CHUNK:
                yield chunk
                chunk = {}
        if chunk:
            yield chunk

    def labels_of(self, keys: Sequence[str]) -> list[Label | None]:
        """Return the label that the file gives to each key, None where it gives none."""
        asked = np.array([self._digest(key) for key in keys], np.uint64)
        places = np.minimum(np.searchsorted(self._known, asked), len(self._known) - 1)
        found = self._known[places]
        is_known, is_spam = found >> np.uint64(1) == asked >> np.uint64(1), found != asked
        self._met[places[is_known]] = True
        return [(SPAM if spam else NOT_SPAM) if known else None for known, spam in zip(is_known, is_spam, strict=True)]

    def unmet(self) -> list[int | str]:
        """Return the places of the rows whose text nobody has asked for."""
        if self._met.all():
            return []
        unmet = set(self._known[~self._met].tolist())
        rows = _usable(self.request, self.key, LeftOut())
        return [given.place for given in rows if self._digest(given.key) | (given.label == SPAM) in unmet]

    def learn(self) -> None:
        """Read the whole file; raise DataError where it cannot be used as asked, or contradicts itself."""
        known, left_out, kept = array("Q"), LeftOut(), Counter[Label]()
        reading = _open(self.request, self.key)
        for given in _usable(self.request, self.key, left_out, reading):
            known.append(self._digest(given.key) | (given.label == SPAM))
            kept[given.label] += 1
        self.notes = list(reading.notes)
        if self.request.bad_rows == "refuse":
            left_out.refuse(self.request.labels, usable=len(known))
        self.notes += left_out.settle(self.request.labels, kept, _meanings(self.request).get)
        if not known:
            raise DataError(f"{self.request.labels} has no usable row: give --labels a file with a row for each label")
        self.rows, self._known = len(known), np.unique(np.frombuffer(known, np.uint64))
        self._met = np.zeros(len(self._known), np.bool_)
        self._refuse_contradictions()

    def _digest(self, key: str) -> int:
        """Return 63 bits of a key, and a bit that is free for its label."""
        key = _LINE_END.sub("\n", key).strip() if self.key == "text" else key
        digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, key=self._salt).digest()
        return int.from_bytes(digest) & ~1

    def _refuse_contradictions(self) -> None:
        """Refuse a file that gives one message both labels: it does not say which is true."""
        twice = self._known[:-1][self._known[1:] ^ self._known[:-1] == 1]
        if twice.size:
            both = {int(digest) for digest in twice}
            rows = _usable(self.request, self.key, LeftOut())
            places = [given.place for given in rows if self._digest(given.key) in both]
            raise DataError(
                f"{self.request.labels}: {named(f'a {self.key} that has both labels', places)}: keep the true ones"
            )


def read_label_file(request: LabelRequest) -> LabelFile:
    """Read a file of labels, by its column uuid if it has one, else by exact text; raise DataError if it cannot be."""
    path = Path(request.labels).expanduser()
    if is_mail(path) and path.exists():
        mail = LabelRequest(request.labels, bad_rows="skip", spam_folder=request.spam_folder)
        found = LabelFile(mail, "text")
        found.learn()
        return found
    if not is_known(path):
        raise DataError(f"--labels {path} is not a file of a known kind: convert it to {KINDS}")
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"--labels {path} {what}: give it a file that ends in {KINDS}")
    if path.stat().st_size == 0:
        raise DataError(f"--labels {path} is empty: give it a file with a row for each label")
    found = LabelFile(request, "uuid" if _names_uuids(request) else "text")
    found.learn()
    return found


def _names_uuids(request: LabelRequest) -> bool:
    """Return whether the file has a column of uuids; other faults are reported when it is read."""
    try:
        rows = _open(request, "uuid").rows
        first = next((row for row in rows if not row.fault), None)
    except DataError:
        return False
    if not request.header:  # a column of uuids is known by what it holds
        return first is not None and canonical_uuid(first.text or "") is not None
    return first is not None and first.text is not None


def _open(request: LabelRequest, key: Key) -> Reading:
    """Look at the file again, for a column of uuids or of texts."""
    column = UUID_COLUMN if key == "uuid" and request.header else request.text_column
    columns = replace(request, text_column=column).columns()
    return open_rows(Path(request.labels).expanduser(), columns)


def _meanings(request: LabelRequest) -> dict[str, Label]:
    """Return the words of a label column that are known."""
    known: dict[str, Label] = dict.fromkeys(NOT_SPAM_WORDS, NOT_SPAM)
    return known | dict.fromkeys(spam_words(request.spam_label), SPAM)


def _usable(request: LabelRequest, key: Key, left_out: LeftOut, reading: Reading | None = None) -> Iterator[Given]:
    """Yield the usable rows of a file, and sort the places of the others by their fault."""
    meanings = _meanings(request)
    for row in (reading or _open(request, key)).rows:
        name = _key(row, key)
        label = None if row.label is None else meanings.get(row.label.casefold())
        if row.fault or name is None or label is None:
            left_out.add(row, row.fault or _fault(row, key, name, request))
        else:
            yield Given(row.place, name, label)


def _key(row: Row, key: Key) -> str | None:
    """Return what a row calls its message, or None if that is no name."""
    if row.text is None or key == "text":
        return row.text
    return canonical_uuid(row.text)


def _fault(row: Row, key: Key, name: str | None, request: LabelRequest) -> str:
    """Describe why a readable row cannot be used."""
    if name is None:
        return f"no {key}" if not row.text else "a uuid that is none"
    if row.label is None:
        return "no label"
    return f"a label that is neither {shown(request.spam_label)} (--spam-label) nor 'not spam'"
