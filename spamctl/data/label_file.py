"""Read labels that somebody gave in a file, each for a uuid or for an exact text.

The file is read twice: first to refuse what cannot be used, and to keep 8 bytes of each label; then, if it names uuids,
to hand them out. So a file of millions of labels needs little memory.
"""

from __future__ import annotations

import secrets
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from spamctl.data.corpus import NOT_SPAM_WORDS, named
from spamctl.data.files import EXTENSIONS, Columns, Row, read_rows, shown
from spamctl.errors import DataError
from spamctl.message import NOT_SPAM, SPAM, Label, canonical_uuid

UUID_COLUMN = "uuid"
Key = Literal["uuid", "text"]
_CHUNK = 5_000


@dataclass(frozen=True, slots=True)
class LabelRequest:
    """Say which file to read, and what its columns and its spam label are called."""

    labels: str
    text_column: str = "text"
    label_column: str = "label"
    spam_label: str = "spam"
    bad_rows: Literal["refuse", "skip"] = "refuse"


@dataclass(frozen=True, slots=True)
class Given:
    """Hold one usable row: where it stands, which message it means, and the label."""

    place: int
    key: str
    label: Label


@dataclass(slots=True)
class LabelFile:
    """Hold the labels of a file that was found usable; `key` says what a message is known by there."""

    request: LabelRequest
    key: Key
    rows: int = 0
    faults: dict[str, list[int]] = field(default_factory=dict)
    _salt: bytes = field(default_factory=lambda: secrets.token_bytes(16))  # nobody can choose texts that collide
    _known: npt.NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))

    @property
    def notes(self) -> list[str]:
        """Say what was left out."""
        return [f"left out: {named(fault, places)}" for fault, places in self.faults.items()]

    def chunks(self) -> Iterator[dict[str, Label]]:
        """Yield the labels by their key, a few thousand at a time; equal rows of one chunk count once."""
        chunk: dict[str, Label] = {}
        for given in _usable(self.request, self.key, {}):
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
        return [(SPAM if spam else NOT_SPAM) if known else None for known, spam in zip(is_known, is_spam, strict=True)]

    def learn(self) -> None:
        """Read the whole file; raise DataError where it cannot be used as asked, or contradicts itself."""
        known = array("Q")
        for given in _usable(self.request, self.key, self.faults):
            known.append(self._digest(given.key) | (given.label == SPAM))
        if self.faults and self.request.bad_rows == "refuse":
            left_out = "; ".join(named(fault, places) for fault, places in self.faults.items())
            raise DataError(
                f"{self.request.labels}: {left_out}: mend these rows, or leave them out with --bad-rows skip"
            )
        if not known:
            raise DataError(f"{self.request.labels} has no usable row: give --labels a file with a row for each label")
        self.rows, self._known = len(known), np.unique(np.frombuffer(known, np.uint64))
        self._refuse_contradictions()

    def _digest(self, key: str) -> int:
        """Return 63 bits of a key, and a bit that is free for its label."""
        digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, key=self._salt).digest()
        return int.from_bytes(digest) & ~1

    def _refuse_contradictions(self) -> None:
        """Refuse a file that gives one message both labels: it does not say which is true."""
        twice = self._known[:-1][self._known[1:] ^ self._known[:-1] == 1]
        if twice.size:
            both = {int(digest) for digest in twice}
            rows = _usable(self.request, self.key, {})
            places = [given.place for given in rows if self._digest(given.key) in both]
            raise DataError(
                f"{self.request.labels}: {named(f'a {self.key} that has both labels', places)}: keep the true ones"
            )


def read_label_file(request: LabelRequest) -> LabelFile:
    """Read a file of labels, by its column uuid if it has one, else by exact text; raise DataError if it cannot be."""
    path = Path(request.labels)
    if path.suffix.lower() not in EXTENSIONS:
        raise DataError(f"--labels {path} is not a file of a known kind: convert it to {', '.join(EXTENSIONS)}")
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"--labels {path} {what}: give it a file that ends in {', '.join(EXTENSIONS)}")
    if path.stat().st_size == 0:
        raise DataError(f"--labels {path} is empty: give it a file with a row for each label")
    found = LabelFile(request, "uuid" if _names_uuids(request) else "text")
    found.learn()
    return found


def _names_uuids(request: LabelRequest) -> bool:
    """Tell whether the file has a column of uuids; whatever else is wrong with it is told when it is read."""
    try:
        rows = read_rows(Path(request.labels), Columns(UUID_COLUMN, request.label_column))
        first = next((row for row in rows if not row.fault), None)
    except DataError:
        return False
    return first is not None and first.text is not None


def _usable(request: LabelRequest, key: Key, faults: dict[str, list[int]]) -> Iterator[Given]:
    """Yield the usable rows of a file, and sort the places of the others by their fault."""
    column = UUID_COLUMN if key == "uuid" else request.text_column
    spam = request.spam_label.strip().casefold()
    for row in read_rows(Path(request.labels), Columns(column, request.label_column)):
        name = _key(row, key)
        word = None if row.label is None else row.label.casefold()
        label: Label | None = SPAM if word == spam else NOT_SPAM if word in NOT_SPAM_WORDS else None
        if name is None or label is None:
            faults.setdefault(row.fault or _fault(row, key, name, request), []).append(row.place)
        else:
            yield Given(row.place, name, label)


def _key(row: Row, key: Key) -> str | None:
    """Return what a row calls its message, or None if that is no name."""
    if row.text is None or key == "text":
        return row.text
    return canonical_uuid(row.text)


def _fault(row: Row, key: Key, name: str | None, request: LabelRequest) -> str:
    """Say why a readable row cannot be used."""
    if name is None:
        return f"no {key}" if not row.text else "a uuid that is none"
    if row.label is None:
        return "no label"
    return f"a label that is neither {shown(request.spam_label)} (--spam-label) nor 'not spam'"
