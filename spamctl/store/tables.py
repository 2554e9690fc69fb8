"""Define the stored rows, with the uuid that makes retries idempotent, and describe the present tables of the store."""

from __future__ import annotations

import hashlib
import math
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.types import TypeDecorator, Uuid

from spamctl.data.cleaning import twin_key
from spamctl.schema.message import NOT_SPAM, SPAM, Label, canonical_uuid

# Define the stored rows: a captured answer, a shadow verdict, and the uuid that makes retries idempotent.

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


# Describe the present tables of the store, and column types that round-trip in both databases.
# data one row for each answered message, with its label once there is one shadow_verdicts what a second version would
# have answered (`spamctl serve --shadow`) labels every label that was given one at a time, so that a correction keeps
# what it corrected truth what simulated traffic knows of the messages it sent (`spamctl traffic`) monitoring what each
# monitoring found (`spamctl monitor`), so that the next one can show the trend forgotten which rows were removed for
# good (`spamctl forget`), and by what training knows their messages spamctl_store the migrations that made this store
# A version's number may be given again, to another package: `package_sha256`, of its manifest, says which one answered;
# `in_reach` whether the message was like any that it was trained on; near duplicates share a `twin_digest`. Each is
# NULL in rows of before it was kept. A label is `spam` or `not spam` and never stands without its source: the database
# itself refuses anything else. In a new store in PostgreSQL, `data` is partitioned by the hash of the uuid.

# Define column types for texts, times and uuids that round-trip in both databases.


class AnyText(TypeDecorator[str]):
    """Column type for any Python string, by the mapping of `text.py`."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's
        """Encode a string."""
        return None if value is None else encode_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's
        """Decode a string."""
        return None if value is None else decode_text(value)


class UtcDate(TypeDecorator[datetime]):
    """Column type for times in UTC: with time zone in PostgreSQL, as `2026-11-23 05:51:58.123456` in SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Encode a time; raise ValueError if it has no time zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a date needs its time zone")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(
        self,
        value: datetime | None,
        dialect: Dialect,  # noqa: ARG002 - SQLAlchemy's
    ) -> datetime | None:
        """Decode a time, in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# In SQLite a uuid is the same 36 characters that the answer showed, so that it can be pasted into a query.
Identity = Uuid(as_uuid=False).with_variant(String(36), "sqlite")


UNLABELLED = text("ground_truth IS NULL")
LABELLED = text("ground_truth IS NOT NULL")

metadata = MetaData()

data = Table(
    "data",
    metadata,
    Column("uuid", Identity, primary_key=True),
    Column("date", UtcDate, nullable=False),
    Column("text", AnyText, nullable=False),
    Column("classification", Text, nullable=False),
    Column("probability", Double, nullable=False),
    Column("ground_truth", Text),
    Column("label_source", AnyText),
    Column("labeled_at", UtcDate),
    Column("model_name", AnyText, nullable=False),
    Column("model_version", AnyText, nullable=False),
    Column("threshold", Double, nullable=False),
    Column("request_id", AnyText, nullable=False),
    Column("latency_ms", Double, nullable=False),
    Column("source", AnyText, nullable=False),
    Column("package_sha256", Text),
    Column("in_reach", Boolean),
    Column("twin_digest", BigInteger),
    CheckConstraint("classification IN ('spam', 'not spam')", name="data_classification"),
    CheckConstraint("probability BETWEEN 0 AND 1", name="data_probability"),
    CheckConstraint("ground_truth IN ('spam', 'not spam')", name="data_ground_truth"),
    CheckConstraint("(ground_truth IS NULL) = (label_source IS NULL)", name="data_label_source"),
    Index("data_by_date", "date"),
    Index("data_by_version", "model_version", "date"),
    Index("data_unlabelled", "date", sqlite_where=UNLABELLED, postgresql_where=UNLABELLED),
    Index("data_labelled", "date", sqlite_where=LABELLED, postgresql_where=LABELLED),
)

# No foreign key: a shadow may be stored before its row, and outlive one that best effort could not keep.
shadow_verdicts = Table(
    "shadow_verdicts",
    metadata,
    Column("uuid", Identity, primary_key=True),
    Column("model_version", AnyText, primary_key=True),
    Column("classification", Text, nullable=False),
    Column("probability", Double, nullable=False),
    Column("package_sha256", Text),
    CheckConstraint("classification IN ('spam', 'not spam')", name="shadow_verdicts_classification"),
    CheckConstraint("probability BETWEEN 0 AND 1", name="shadow_verdicts_probability"),
)

labels = Table(
    "labels",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("uuid", Identity, nullable=False),
    Column("date", UtcDate, nullable=False),
    Column("label", Text, nullable=False),
    Column("source", AnyText, nullable=False),
    Column("annotator", AnyText, nullable=False),
    CheckConstraint("label IN ('spam', 'not spam')", name="labels_label"),
    Index("labels_by_uuid", "uuid"),
)

# Apart from `data`, which so looks as it would in production; no foreign key, for the rows may be kept elsewhere.
truth = Table(
    "truth",
    metadata,
    Column("uuid", Identity, primary_key=True),
    Column("date", UtcDate, nullable=False),
    Column("label", Text, nullable=False),
    Column("origin", AnyText, nullable=False),
    Column("family", AnyText, nullable=False),
    Column("drift_type", AnyText, nullable=False),
    Column("dose", Double, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("traffic_run", AnyText, nullable=False),
    CheckConstraint("label IN ('spam', 'not spam')", name="truth_label"),
    CheckConstraint("dose BETWEEN 0 AND 1", name="truth_dose"),
    Index("truth_by_run", "traffic_run"),
)

monitoring = Table(
    "monitoring",
    metadata,
    Column("run_id", AnyText, primary_key=True),
    Column("date", UtcDate, nullable=False),
    Column("model_name", AnyText, nullable=False),
    Column("model_version", AnyText, nullable=False),
    Column("window_since", UtcDate),
    Column("window_until", UtcDate, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("figures", AnyText, nullable=False),
    CheckConstraint("verdict IN ('ok', 'warning', 'failed')", name="monitoring_verdict"),
    Index("monitoring_by_model", "model_name", "date"),
)

# No text: a salted digest of the twin key, so that a message that comes again, from wherever, is left out of training.
forgotten = Table(
    "forgotten",
    metadata,
    Column("uuid", Identity, primary_key=True),
    Column("date", UtcDate, nullable=False),
    Column("salt", Text, nullable=False),
    Column("digest", Text, nullable=False),
)

spamctl_store = Table(
    "spamctl_store",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("date", UtcDate, nullable=False),
)
