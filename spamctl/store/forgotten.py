"""Remove a row for good, and leave a tombstone by which every later training knows its message without its text."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, delete, func, insert, select
from sqlalchemy.exc import DBAPIError

from spamctl.data.cleaning import clean
from spamctl.data.duplicates import seen_key, twin_key
from spamctl.message import canonical_uuid
from spamctl.store.database import Store
from spamctl.store.tables import data, forgotten, labels, shadow_verdicts, truth

_SALT_BYTES = 16


@dataclass(frozen=True, slots=True)
class Removal:
    """Hold what was removed: when, how many rows with it elsewhere, and how many other rows say the same."""

    date: datetime
    already: bool  # it was removed before
    related: int = 0  # shadow verdicts, labels and truths
    copies: int = 0  # rows left in the store with the very same text
    model_name: str = ""
    model_version: str = ""


@dataclass(frozen=True, slots=True)
class Tombstones:
    """Tell messages that were forgotten, and their near duplicates, by salted digests of their seen keys.

    Tombstones of older releases hold digests of twin keys.
    """

    digests: frozenset[tuple[str, str]] = frozenset()

    def hold(self, text: str) -> bool:
        """Tell whether a message was forgotten."""
        if not self.digests:
            return False
        cleaned, salts = clean(text), {salt for salt, _ in self.digests}
        keys = {seen_key(cleaned), twin_key(cleaned)}
        return any((salt, _digest(salt, key)) in self.digests for salt in salts for key in keys)

    def __or__(self, other: Tombstones) -> Tombstones:
        return Tombstones(self.digests | other.digests)


def forget(store: Store, uuid: str) -> Removal | None:
    """Remove a row with all that belongs to it, and leave its tombstone; None if there is no such row and never was.

    SQLite writes zeros over what is removed, in the database at once and in its log once no reader holds it back;
    PostgreSQL lets go of it at its next vacuum. A client that repeats the very request, under its `X-Request-Id`, has
    it stored again, since what was answered as captured must be there; training leaves it out even then. Raises
    UnavailableError if the database fails: then nothing was removed.
    """
    row = canonical_uuid(uuid)
    if row is None:
        return None
    with store.writing() as connection:
        if store.address.file:
            connection.exec_driver_sql("PRAGMA secure_delete = ON")
        removal = _remove(connection, row)
    if store.address.file and removal and not removal.already:
        # What waits for a reader is done by the next checkpoint.
        with contextlib.suppress(DBAPIError), store.bare.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").all()
    return removal


def tombstones(store: Store) -> Tombstones:
    """Read all tombstones; raises UnavailableError if the database fails."""
    with store.reading() as connection:
        rows = connection.execute(select(forgotten.c.salt, forgotten.c.digest))
        return Tombstones(frozenset((salt, digest) for salt, digest in rows))


def _remove(connection: Connection, row: str) -> Removal | None:
    """Remove a row inside a transaction."""
    found = connection.execute(select(data).where(data.c.uuid == row).with_for_update()).one_or_none()
    before = connection.scalar(select(forgotten.c.date).where(forgotten.c.uuid == row))
    if found is None:
        return Removal(before, already=True) if before else None
    tables = (shadow_verdicts, labels, truth)
    related = sum(connection.execute(delete(table).where(table.c.uuid == row)).rowcount for table in tables)
    connection.execute(delete(data).where(data.c.uuid == row))
    now = datetime.now(UTC)
    if not before:
        # One salt for a store, so that a training hashes each of its messages once.
        salt = connection.scalar(select(func.min(forgotten.c.salt))) or secrets.token_hex(_SALT_BYTES)
        digest = _digest(salt, seen_key(clean(found.text)))
        connection.execute(insert(forgotten).values(uuid=row, date=now, salt=salt, digest=digest))
    copies = connection.scalar(select(func.count()).select_from(data).where(data.c.text == found.text)) or 0
    return Removal(now, False, related, copies, found.model_name, found.model_version)


def _digest(salt: str, key: str) -> str:
    """Return the salted sha256 of a key."""
    return hashlib.sha256(f"{salt}\0{key}".encode("utf-8", "surrogatepass")).hexdigest()
