"""Define the stored rows: a captured answer, a shadow verdict, and the uuid that makes retries idempotent."""

from __future__ import annotations

import hashlib
import math
import re
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from spamctl.data.cleaning import twin_key
from spamctl.schema.message import NOT_SPAM, SPAM, Label, canonical_uuid

# Encode any Python string so that SQLite and PostgreSQL return it unchanged.
#
# PostgreSQL's text holds no NUL, SQLite's `length()` stops at one, neither driver takes a lone surrogate, and a SQLite
# file in UTF-16 gives the noncharacters U+FFFE and U+FFFF back as U+FFFD. So each of these is written as DLE (U+0010,
# "data link escape") and the four hexadecimal digits of its code point; a DLE of the message is escaped the same way:
#
#     message     stored
#     "a\0b"      "a" DLE "0000b"
#     "\ud83d"    DLE "d83d"
#     "\x10"      DLE "0010"
#
# All other text, which is all that people write, is stored as it is: who reads the table with SQL sees plain messages.
# The mapping is one to one, so equal texts are equal in SQL too. In SQL, `text LIKE '%' || char(16) || '%'` finds
# what is escaped (`chr(16)` in PostgreSQL).

_UNWRITABLE = re.compile("[\0\x10\ud800-\udfff\ufffe\uffff]")
_ESCAPED = re.compile("\x10(0000|0010|d[89a-f][0-9a-f]{2}|fff[ef])")


def encode_text(text: str) -> str:
    """Return `text` as it is stored; any string is accepted."""
    return _UNWRITABLE.sub(lambda found: f"\x10{ord(found[0]):04x}", text)


def decode_text(stored: str) -> str:
    """Return the text that was stored; what another program wrote and is no escape of ours stays as it is."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), stored)


_NAMESPACE = uuid.UUID("5d5b1c39-6f3b-5a0e-9d1c-3f1f0a2b7c44")


def row_uuid(request_id: str, index: int, text: str) -> str:
    """Return the uuid (RFC 9562, version 5) of a text at a place of a request: the same for the same three.

    A client that repeats a request under its `X-Request-Id` thus meets the rows that it wrote the first time.
    """
    name = f"{encode_text(request_id)}\0{index}\0{encode_text(text)}"
    return str(uuid.uuid5(_NAMESPACE, name))


def twin_digest(text: str) -> int:
    """Return 8 bytes, as a signed integer, that near duplicates of a text share: SQL counts distinct texts by them."""
    key = twin_key(text).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), signed=True)


@dataclass(frozen=True, slots=True)
class CapturedRow:
    """An answer as it is stored; raise ValueError if the database would refuse it.

    `date` has its time zone, `probability` and `threshold` are of spam in [0, 1], `latency_ms` is in milliseconds,
    `source` says which door the message came through, `package_sha256` which package answered: a version's number may
    be given again to another one. `in_reach` is False for a message unlike all that this package was trained on.
    """

    uuid: str
    date: datetime
    text: str
    classification: Label
    probability: float
    model_name: str
    model_version: str
    threshold: float
    request_id: str
    latency_ms: float
    source: str
    package_sha256: str | None = None
    in_reach: bool | None = None

    def __post_init__(self) -> None:
        _check_verdict(self.uuid, self.classification, self.probability)
        if self.date.tzinfo is None:
            raise ValueError("a captured row's date needs its time zone")
        if not (math.isfinite(self.threshold) and math.isfinite(self.latency_ms)):
            raise ValueError("a captured row's threshold and latency must be finite")


class Kept(NamedTuple):
    """What the store keeps of an answer: the only answer to the same request sent again."""

    uuid: str
    classification: Label
    probability: float
    model_version: str
    in_reach: bool | None  # None: stored before this was kept


Earlier = dict[str, Kept]  # by uuid


@dataclass(frozen=True, slots=True)
class ShadowVerdict:
    """What the shadow version would have answered for the row `uuid`; raise ValueError as `CapturedRow` does."""

    uuid: str
    model_version: str
    classification: Label
    probability: float
    package_sha256: str | None = None

    def __post_init__(self) -> None:
        _check_verdict(self.uuid, self.classification, self.probability)


def values(row: CapturedRow | ShadowVerdict) -> dict[str, object]:
    """Return a row's columns by their names, with what the database derives its figures from."""
    named: dict[str, object] = {name: getattr(row, name) for name in row.__slots__}
    return named | {"twin_digest": twin_digest(row.text)} if isinstance(row, CapturedRow) else named


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row of the table `data` as it was read; the fields bear the names of the columns."""

    uuid: str
    date: datetime
    text: str
    classification: Label
    probability: float
    ground_truth: Label | None
    label_source: str | None
    labeled_at: datetime | None
    model_name: str
    model_version: str
    threshold: float
    request_id: str
    latency_ms: float
    source: str
    package_sha256: str | None  # None: stored before packages were told apart
    in_reach: bool | None  # None: stored before this was kept


def _check_verdict(row: str, classification: str, probability: float) -> None:
    """Refuse early what would make a whole group's transaction fail."""
    if canonical_uuid(row) != row:
        raise ValueError(f"{row[:40]!r} is no uuid in its canonical form")
    if classification not in {SPAM, NOT_SPAM}:
        raise ValueError("a classification is spam or not spam")
    if not 0 <= probability <= 1:
        raise ValueError("a probability lies between 0 and 1")
