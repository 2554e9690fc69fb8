"""Define column types for texts, times and uuids that round-trip in both databases."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import DateTime, Dialect, String, Text
from sqlalchemy.types import TypeDecorator, Uuid

from spamctl.store import text


class AnyText(TypeDecorator[str]):
    """Column type for any Python string, by the mapping of `text.py`."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's
        """Encode a string."""
        return None if value is None else text.encode(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's
        """Decode a string."""
        return None if value is None else text.decode(value)


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
