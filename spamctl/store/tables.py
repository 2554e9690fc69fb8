"""Describe the present tables of the store, and column types that round-trip in both databases.

    data              one row for each answered message, with its label once there is one
    shadow_verdicts   what a second version would have answered (`spamctl serve --shadow`)
    labels            every label that was given one at a time, so that a correction keeps what it corrected
    truth             what simulated traffic knows of the messages it sent (`spamctl traffic`)
    monitoring        what each monitoring found (`spamctl monitor`), so that the next one can show the trend
    forgotten         which rows were removed for good (`spamctl forget`), and by what training knows their messages
    spamctl_store     the migrations that made this store

A version's number may be given again, to another package: `package_sha256`, of its manifest, says which one answered;
`in_reach` whether the message was like any that it was trained on; near duplicates share a `twin_digest`. Each is NULL
in rows of before it was kept. A label is `spam` or `not spam` and never stands without its source: the database itself
refuses anything else. In a new store in PostgreSQL, `data` is partitioned by the hash of the uuid.
"""

from __future__ import annotations

from datetime import UTC, datetime

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

from spamctl.store import rows

# Define column types for texts, times and uuids that round-trip in both databases.


class AnyText(TypeDecorator[str]):
    """Column type for any Python string, by the mapping of `text.py`."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's
        """Encode a string."""
        return None if value is None else rows.encode_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's
        """Decode a string."""
        return None if value is None else rows.decode_text(value)


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
