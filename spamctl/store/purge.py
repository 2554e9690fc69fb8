"""Purge removed texts from the files of a database, and report what prevents that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from spamctl.store import text as stored
from spamctl.store.database import Store, fold_log
from spamctl.store.faults import fault_of
from spamctl.store.redaction import Inside
from spamctl.store.tables import data

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
    pieces = {stored.encode(text[start : start + _PIECE]) for text in texts for start in range(0, len(text), _PIECE)}
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
