"""Delete rows for good, leave tombstones, and purge removed texts from a database's files."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, delete, func, insert, select
from sqlalchemy.exc import DBAPIError

from spamctl.data.cleaning import clean, seen_key, twin_key
from spamctl.progress import ProgressGenerator, ProgressUpdate
from spamctl.schema.message import canonical_uuid
from spamctl.store.database import Store, fault_of, fold_log
from spamctl.store.tables import data, encode_text, forgotten, labels, shadow_verdicts, truth
from spamctl.store.text_locations import Inside

BATCH = 500
_SALT_BYTES = 16
_TASK = "forgetting"


@dataclass(frozen=True, slots=True)
class Removal:
    """Result of a removal: when, how many rows elsewhere with it, and how many other rows have the same text."""

    date: datetime
    already: bool  # it was removed before
    related: int = 0  # shadow verdicts, labels and truths
    copies: int = 0  # rows left in the store with the very same text
    model_name: str = ""
    model_version: str = ""
    uuid: str = ""
    text: str = field(default="", repr=False)
    labelled: datetime | None = None  # since when it had a label


@dataclass(frozen=True, slots=True)
class Tombstones:
    """Salted digests of the keys of forgotten messages, which match them and their near duplicates.

    Tombstones of older releases hold digests of twin keys.
    """

    digests: frozenset[tuple[str, str]] = frozenset()

    def hold(self, text: str) -> bool:
        """Return whether a message was forgotten."""
        if not self.digests:
            return False
        cleaned, salts = clean(text), {salt for salt, _ in self.digests}
        keys = {seen_key(cleaned), twin_key(cleaned)}
        return any((salt, _digest(salt, key)) in self.digests for salt in salts for key in keys)

    def __or__(self, other: Tombstones) -> Tombstones:
        return Tombstones(self.digests | other.digests)


@dataclass(slots=True)
class Removed:
    """Result of removing many rows, and the uuids and texts that were asked for, each once."""

    rows: int = 0
    related: int = 0
    already: int = 0  # removed before
    unknown: list[int] = field(default_factory=list)  # which of the wishes, from 1 on, no row answers
    copies: int = 0  # rows left in the store with the very same text as one that was removed
    texts: set[str] = field(default_factory=set, repr=False)
    uuids: set[str] = field(default_factory=set)
    labelled: datetime | None = None  # since when one of them had a label: what was exported later may hold it


def forget(store: Store, uuid: str) -> Removal | None:
    """Remove a row with all that belongs to it, and leave its tombstone; None if there is no such row and never was.

    `purge` then takes it out of the files of the database. A client that repeats the very request, under its
    `X-Request-Id`, has it stored again, since what was answered as captured must be there; training leaves it out even
    then. Raises UnavailableError if the database fails: then nothing was removed.
    """
    row = canonical_uuid(uuid)
    if row is None:
        return None
    with store.writing() as connection:
        removal = _remove(connection, row, _salt(connection))
        if removal and not removal.already:
            same = select(func.count()).select_from(data).where(data.c.text == removal.text)
            removal = replace(removal, copies=connection.scalar(same) or 0)
    return removal


def forget_rows(store: Store, wishes: Sequence[str]) -> ProgressGenerator[Removed]:
    """Remove the rows that wishes name, each a uuid or the whole text of messages, in a transaction per 500 wishes.

    Raises UnavailableError if the database fails: what was removed by then stays so, and may be asked for again.
    """
    found, gone = Removed(), tombstones(store)
    for start in range(0, len(wishes), BATCH):
        batch = wishes[start : start + BATCH]
        with store.writing() as connection:
            named, salt = _named(connection, batch), _salt(connection)
            for number, wish in enumerate(batch, start + 1):
                removals = [_remove(connection, row, salt) for row in named[wish]]
                for removal in removals:
                    _add(found, removal)
                if not removals and canonical_uuid(wish) is None and gone.hold(wish):
                    found.already += 1
                elif not any(removals):
                    found.unknown.append(number)
        yield ProgressUpdate(_TASK, start + len(batch), len(wishes), "wishes")
    found.copies = _keep_only_gone(store, found.texts)
    return found


def forget_before(store: Store, date: datetime) -> ProgressGenerator[Removed]:
    """Remove all rows older than a date, the oldest first, in a transaction per 500; raise as `forget_rows` does.

    They leave no tombstones: that a message has grown old is no objection to learning from another copy of it, and
    what is kept for good about every message would be no retention.
    """
    found, old = Removed(), data.c.date < date
    with store.reading() as connection:
        total = connection.scalar(select(func.count()).select_from(data).where(old)) or 0
    oldest = select(data.c.uuid, data.c.text, data.c.labeled_at).where(old).order_by(data.c.date).limit(BATCH)
    while True:
        with store.writing() as connection:
            rows = connection.execute(oldest).all()
            uuids = [row.uuid for row in rows]
            found.related += _remove_related(connection, uuids)
            connection.execute(delete(data).where(data.c.uuid.in_(uuids)))
        if not rows:
            break
        found.rows += len(rows)
        found.texts.update(row.text for row in rows)
        found.uuids.update(uuids)
        found.labelled = min((row.labeled_at for row in rows if row.labeled_at), default=found.labelled)
        yield ProgressUpdate(_TASK, found.rows, max(total, found.rows), "rows")
    found.copies = _keep_only_gone(store, found.texts)
    return found


def _named(connection: Connection, wishes: Sequence[str]) -> dict[str, list[str]]:
    """Return the uuids that each wish stands for: itself if it is one, else those of the rows that say just that."""
    named = {wish: [row] if (row := canonical_uuid(wish)) else [] for wish in wishes}
    texts = [wish for wish in named if not named[wish]]
    if texts:
        for row, text in connection.execute(select(data.c.uuid, data.c.text).where(data.c.text.in_(texts))):
            named[text].append(row)
    return named


def _add(found: Removed, removal: Removal | None) -> None:
    """Count one removal."""
    if removal is None:
        return
    found.uuids.add(removal.uuid)
    if removal.already:
        found.already += 1
        return
    found.rows += 1
    found.related += removal.related
    found.texts.add(removal.text)
    if removal.labelled:
        found.labelled = min(found.labelled or removal.labelled, removal.labelled)


def _keep_only_gone(store: Store, texts: set[str]) -> int:
    """Drop from the removed texts those that other rows still have, and return how many rows those are."""
    rows, listed = 0, list(texts)
    for start in range(0, len(listed), BATCH):
        batch = listed[start : start + BATCH]
        counted = select(data.c.text, func.count()).where(data.c.text.in_(batch)).group_by(data.c.text)
        with store.reading() as connection:
            for text, count in connection.execute(counted):
                texts.discard(text)
                rows += count
    return rows


def tombstones(store: Store) -> Tombstones:
    """Read all tombstones; raises UnavailableError if the database fails."""
    with store.reading() as connection:
        rows = connection.execute(select(forgotten.c.salt, forgotten.c.digest))
        return Tombstones(frozenset((salt, digest) for salt, digest in rows))


def _remove(connection: Connection, row: str, salt: str) -> Removal | None:
    """Remove a row inside a transaction, and leave its tombstone."""
    found = connection.execute(select(data).where(data.c.uuid == row).with_for_update()).one_or_none()
    before = connection.scalar(select(forgotten.c.date).where(forgotten.c.uuid == row))
    if found is None:
        return Removal(before, already=True, uuid=row) if before else None
    related = _remove_related(connection, [row])
    connection.execute(delete(data).where(data.c.uuid == row))
    now = datetime.now(UTC)
    if not before:
        digest = _digest(salt, seen_key(clean(found.text)))
        connection.execute(insert(forgotten).values(uuid=row, date=now, salt=salt, digest=digest))
    known = (found.model_name, found.model_version, row, found.text, found.labeled_at)
    return Removal(now, False, related, 0, *known)


def _remove_related(connection: Connection, uuids: Sequence[str]) -> int:
    """Remove and count the rows of other tables that belong to some rows."""
    tables = (shadow_verdicts, labels, truth)
    return sum(connection.execute(delete(table).where(table.c.uuid.in_(uuids))).rowcount for table in tables)


def _salt(connection: Connection) -> str:
    """Return the one salt of a store, so that a training hashes each of its messages once."""
    return connection.scalar(select(func.min(forgotten.c.salt))) or secrets.token_hex(_SALT_BYTES)


def _digest(salt: str, key: str) -> str:
    """Return the salted sha256 of a key."""
    return hashlib.sha256(f"{salt}\0{key}".encode("utf-8", "surrogatepass")).hexdigest()


# Purge removed texts from the files of a database, and report what prevents that.

PATIENCE_S = 10.0
_AT_A_TIME = 2**26
_PIECE = 16  # characters: what moved leaves a part of itself, and pages break long messages up
_MANY = 10_000  # removed texts from which on the file is built anew unseen, which gives its room back, too
_MOST_ASKED = 200


def purge(store: Store, texts: Iterable[str], patience_s: float = PATIENCE_S) -> Iterator[str]:
    """Purge removed texts from the database's files; yield, in words, where their bytes are left, and until when.

    SQLite writes zeros over what a row leaves (`secure_delete`). Rows that moved under an older release may have left
    a trace all the same: it is looked for, and the file built anew (VACUUM) if there is one. PostgreSQL is told to
    vacuum; its log, its replicas and its backups are its own affair, which `spamctl help forgetting` says. Raises
    nothing: what fails is among what is left. No other store of this process may be open on the file.
    """
    name = store.address.name
    if not store.address.file:
        yield from _vacuum(store, name, "VACUUM data")
        return
    if not fold_log(store, patience_s):
        yield (
            f"{name}: a reader holds on to what was there before, so bytes of it are left in the file and its log: "
            "end the reader; a running spamctl serve, or the next command that opens the store, then takes them out"
        )
        return
    gone = list(texts)
    store.close()  # closing a plain file drops the locks that this process holds on the database; it opens again
    if len(gone) > _MANY or _left_behind(store, store.address.file, gone):
        yield from _vacuum(store, name, "VACUUM")
        if not fold_log(store, patience_s):
            yield f"{name}: a reader came between: type the command again"


def _left_behind(store: Store, file: Path, texts: Sequence[str]) -> bool:
    """Return whether a database file contains parts of removed texts that no row has."""
    pieces = {encode_text(text[start : start + _PIECE]) for text in texts for start in range(0, len(text), _PIECE)}
    left = _found(file, {piece.encode("utf-8", "replace"): piece for piece in pieces})
    if len(left) > _MOST_ASKED:
        return True
    with store.reading() as connection:
        return any(
            not connection.scalar(select(func.count()).select_from(data).where(func.instr(data.c.text, piece) > 0))
            for piece in left
        )


def _found(file: Path, pieces: Mapping[bytes, str]) -> set[str]:
    """Return which pieces of text a file holds; those of less than 8 bytes say nothing, and are not looked for."""
    wanted, found, before = Inside(pieces), set[str](), b""
    with file.open("rb", buffering=0) as opened:
        while part := opened.read(_AT_A_TIME):
            whole = before + part
            found.update(pieces[whole[start:end]] for start, end in wanted.find(whole))
            before = part[-8 * _PIECE :]
    return found


def _vacuum(store: Store, name: str, statement: str) -> Iterator[str]:
    """Rebuild what contained removed rows; yield why not, if that fails."""
    try:
        # Python's SQLite driver begins nothing here; told to commit by itself, it would begin transactions later.
        engine = store.bare if store.address.file else store.bare.execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
    except DBAPIError as error:
        fault = fault_of(error)
        yield f"{name}: {statement} failed, and bytes of it may be left: {fault.words}: {fault.cure}"
