"""Write rows in groups, one transaction each, over one connection that is reopened whenever it breaks."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Insert, Table, false, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from spamctl.errors import UnavailableError
from spamctl.store import tables
from spamctl.store.address import Address
from spamctl.store.database import WAL_LIMIT, Fault, NotKeptError, Store, fault_of, open_address
from spamctl.store.queries import RowValues, among, has_triggers, require_kept
from spamctl.store.tables import CapturedRow, Earlier, Kept, ShadowVerdict, values

# A lock that another program holds is waited for in slices, so that between two of them deadlines are looked at.
SLICE_S = 0.2
TIDY_AGAIN_S = 10.0
ROOM = 2**20  # bytes

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that one transaction writes."""

    rows: Sequence[CapturedRow] = ()
    shadows: Sequence[ShadowVerdict] = ()


class Sink:
    """Owner of the one connection that writes captures; used by one thread only."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._store: Store | None = None
        self._connection: Connection | None = None
        self._rows, self._shadows = (_insert(address, table) for table in (tables.data, tables.shadow_verdicts))
        self._wal = f"{address.file}-wal" if address.file else ""
        self._paths = (str(address.file), self._wal) if address.file else ()
        self._files: tuple[tuple[int, int], ...] = ()
        self._tidy_from = 0.0
        self._triggered = False  # another program runs something when we write

    def write(self, claim: Callable[[], Group]) -> tuple[int, Earlier]:
        """Write, in one transaction, what `claim` returns once the lock is held.

        Return how many rows were new and, unless all were, what the store keeps of each: a row that is there already
        stays as it is, and is the answer to whoever asks again. When it returns, all of them are on the disk, in the
        file that the address names. Raises DBAPIError, SpamctlError or OSError if they may not be: write them again.
        """
        connection = self._opened()
        try:
            with connection.begin():
                group = claim()
                new = self._insert(self._rows, [values(row) for row in group.rows])
                earlier = _kept(connection, group.rows) if new < len(group.rows) else Earlier()
                self._insert(self._shadows, [values(shadow) for shadow in group.shadows])
            self._check_files()
        except NotKeptError:
            self._triggered = True
            raise
        except DBAPIError as error:
            if fault_of(error) not in {Fault.LOCKED, Fault.REFUSED}:
                self.close()
            raise
        return new, earlier

    def _insert(self, statement: Insert, rows: Sequence[RowValues]) -> int:
        """Insert rows and return how many were new; raise NotKeptError if one is not there afterwards."""
        if not rows:
            return 0
        assert self._connection  # noqa: S101 - for the type checker
        new = self._connection.execute(statement, rows).rowcount
        if new < len(rows) or self._triggered:
            assert isinstance(statement.table, Table)  # noqa: S101 - for the type checker
            require_kept(self._connection, statement.table, rows)
        return new

    def probe(self) -> None:
        """Check whether the store accepts writes, by one that changes nothing; raise as `write` does."""
        done, file = tables.spamctl_store, self._address.file
        if file and shutil.disk_usage(file.parent).free < ROOM:  # this write may still fit, the next group would not
            raise OSError(errno.ENOSPC, "no room for the next group")
        connection = self._opened()
        try:
            with connection.begin():
                connection.execute(update(tables.data).where(false()).values(text=tables.data.c.text))  # its lock
                connection.execute(update(done).where(done.c.version == 1).values(name=done.c.name))  # its disk
            self._check_files()
        except DBAPIError:
            self.close()
            raise

    def tidy(self) -> None:
        """Checkpoint SQLite's write-ahead log when it has grown.

        Without a reader that stays for long, the log stays under twice its limit and one group of rows. A copy that
        fails loses nothing; it is tried again later.
        """
        size = _size(self._wal) if self._wal and self._store else 0
        if size <= WAL_LIMIT or not self._store or time.monotonic() < self._tidy_from:  # =: a log that was copied
            return
        try:
            with self._lent() as connection:
                _, pages, copied = connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").one()
                if copied == pages and size >= 2 * WAL_LIMIT:  # only readers of its end keep it: wait a slice for them
                    connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").all()
        except DBAPIError as error:
            self._tidy_from = time.monotonic() + TIDY_AGAIN_S
            logger.warning("the write-ahead log stays as it is for now: %s", fault_of(error).words)

    def close(self) -> None:
        """Close the connection; the next write opens another."""
        self._give_back()
        if self._store:
            self._store.close()
            self._store = None

    def _give_back(self) -> None:
        """Return the connection to the pool, which holds no other."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def _opened(self) -> Connection:
        """Return the connection that writes; open the store, with all checks of the schema, if it is not."""
        if self._store is None:
            self._store = open_address(self._address, patience_s=SLICE_S, check_pages=False, pool_size=1)
            try:
                with self._lent() as connection:
                    if self._wal:
                        connection.exec_driver_sql("PRAGMA wal_autocheckpoint = 0")  # `tidy` does it, after the answer
                    self._files = self._identities()
                    self._triggered = has_triggers(connection, tables.data, tables.shadow_verdicts)
            except BaseException:
                self.close()
                raise
        if not self._wal:
            self._give_back()  # a server is asked whether it is there before anything is claimed
        if self._connection is None:
            self._connection = self._store.writer.connect()
        return self._connection

    @contextlib.contextmanager
    def _lent(self) -> Iterator[Connection]:
        """Yield the writing connection itself, outside of transactions."""
        assert self._store  # noqa: S101 - for the type checker
        self._give_back()
        with self._store.bare.connect() as connection:
            yield connection

    def _check_files(self) -> None:
        """Refuse a commit into a file that was deleted: SQLite would not notice."""
        if self._files == self._identities():
            if self._paths and not _size(self._paths[0]):  # what the log holds is not enough to make it whole
                raise UnavailableError("the store's file was emptied")
            return
        logger.warning("the store's file was moved, deleted or replaced; capture goes on in the one at its address")
        self._rescue()
        self.close()
        raise UnavailableError("the store's file was moved, deleted or replaced")

    def _rescue(self) -> None:
        """Copy a deleted write-ahead log into the database file, if that is still ours."""
        with contextlib.suppress(DBAPIError), self._lent() as connection:  # it may be gone as well
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").all()

    def _identities(self) -> tuple[tuple[int, int], ...]:
        """Identify the current database file and its log at the address."""
        try:
            return tuple((status.st_dev, status.st_ino) for status in map(os.stat, self._paths))
        except FileNotFoundError:
            return ((0, 0),)


def _kept(connection: Connection, rows: Sequence[CapturedRow]) -> Earlier:
    """Read the stored state of some rows."""
    columns = [tables.data.c[name] for name in Kept._fields]
    statement = select(*columns).where(among(connection, [row.uuid for row in rows]))
    return {row.uuid: Kept(*row) for row in connection.execute(statement)}


def _insert(address: Address, table: Table) -> Insert:
    """Insert rows that are missing."""
    insert = sqlite.insert if address.file else postgresql.insert
    return insert(table).on_conflict_do_nothing().execution_options(preserve_rowcount=True)


def _size(path: str) -> int:
    """Return a file's size in bytes, 0 if it is not there."""
    try:
        return os.stat(path).st_size  # noqa: PTH116 - after each answer: a Path costs more than the call
    except FileNotFoundError:
        return 0
