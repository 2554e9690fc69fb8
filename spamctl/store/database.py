"""Open a store: verify and migrate it, provide durable connections, and translate database errors."""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.pool import NullPool

from spamctl.errors import SpamctlError, UnavailableError, UsageError
from spamctl.store.address import Address, parse
from spamctl.store.migrations import migrate, version_of

# Translate database errors into words that reveal neither SQL nor where the database is.


class NotKeptError(UnavailableError):
    """Error of a database that accepted rows which are missing afterwards."""


class Fault(enum.Enum):
    """What can be wrong with a database, and what to do about it."""

    LOCKED = ("it is locked by another program", "wait for that program, or stop it")
    FULL = ("its disk is full", "make room")
    BROKEN = ("its disk cannot be read or written", "look at the disk")
    DENIED = ("it may not be written", "give this user the right to write there, or choose another address")
    FOREIGN = ("it is not a SQLite database", "move the file away, or choose another address")
    DAMAGED = ("it is damaged", "put a copy in its place, or move it away")
    LOGIN = ("it refused the user or the password", "correct the address")
    ABSENT = ("it does not answer", "start it, or correct the address")
    UNKNOWN = ("there is no such database", "create it, or correct the address")
    REFUSED = ("it refused the values", "report this as a bug of spamctl")
    NOT_KEPT = ("it takes rows and does not keep them", "remove the trigger or the rule that another program made")
    OTHER = ("it refused the statement", "look at its own log")

    @property
    def words(self) -> str:
        """Describe the fault."""
        return str(self.value[0])

    @property
    def cure(self) -> str:
        """Describe the remedy."""
        return str(self.value[1])


_SQLITE = {
    "SQLITE_BUSY": Fault.LOCKED,
    "SQLITE_LOCKED": Fault.LOCKED,
    "SQLITE_FULL": Fault.FULL,
    "SQLITE_IOERR": Fault.BROKEN,
    "SQLITE_READONLY": Fault.DENIED,
    "SQLITE_CANTOPEN": Fault.DENIED,
    "SQLITE_PERM": Fault.DENIED,
    "SQLITE_AUTH": Fault.DENIED,
    "SQLITE_NOTADB": Fault.FOREIGN,
    "SQLITE_CORRUPT": Fault.DAMAGED,
}

# https://www.postgresql.org/docs/current/errcodes-appendix.html; a longer code goes first.
_SQLSTATES = {
    "53100": Fault.FULL,
    "58": Fault.BROKEN,
    "42501": Fault.DENIED,
    "25006": Fault.DENIED,
    "XX001": Fault.DAMAGED,
    "XX002": Fault.DAMAGED,
    "28": Fault.LOGIN,
    "3D000": Fault.UNKNOWN,
    "55P03": Fault.LOCKED,
    "57014": Fault.LOCKED,
    "40": Fault.LOCKED,
    "08": Fault.ABSENT,
    "57P": Fault.ABSENT,
    "53": Fault.ABSENT,
}


def fault_of(error: DBAPIError) -> Fault:
    """Classify an error of a database."""
    name = getattr(error.orig, "sqlite_errorname", None) or ""
    for start, fault in _SQLITE.items():
        if name.startswith(start):
            return fault
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None) or ""
    for start, fault in _SQLSTATES.items():
        if state.startswith(start):
            return fault
    if isinstance(error, IntegrityError | DataError):
        return Fault.REFUSED
    if error.connection_invalidated or (isinstance(error, OperationalError) and not name and not state):
        return _connection_fault(str(error.orig))
    return Fault.OTHER


def fault_behind(error: BaseException) -> Fault | None:
    """Classify a database error, or an error raised because of one; return None for any other."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return Fault.FULL
    if isinstance(error, NotKeptError):
        return Fault.NOT_KEPT
    cause = error if isinstance(error, DBAPIError) else error.__cause__
    return fault_of(cause) if isinstance(cause, DBAPIError) else None


def is_of_values(error: Exception) -> bool:
    """Return whether the values are at fault rather than the store: a retry would not help."""
    if isinstance(error, DBAPIError | SpamctlError | OSError):
        return fault_behind(error) in {Fault.REFUSED, Fault.NOT_KEPT}
    return True


def _connection_fault(words: str) -> Fault:
    """Parse libpq's English text, since a failed connection has no error code."""
    if "authentication failed" in words or "no pg_hba.conf entry" in words or "no password supplied" in words:
        return Fault.LOGIN
    if "does not exist" in words and "database" in words:
        return Fault.UNKNOWN
    return Fault.ABSENT


PATIENCE_S = 5.0
WAL_LIMIT = 4 * 2**20  # bytes that SQLite's write-ahead log keeps once it was copied into the database
_CHECK_WATCH_S = 0.02
_CHECK_S = 1.5  # a damaged page that is not found by then is found when it is read
_RETRY_S = 0.05
_FOLD_AGAIN_S = 0.2
_BEGIN = "spamctl_begin"
_LIBPQ: dict[str, Any] = {
    "application_name": "spamctl",
    "client_encoding": "utf8",
    "connect_timeout": 3,
    "keepalives_count": 3,
    "keepalives_idle": 10,
    "keepalives_interval": 2,
    "tcp_user_timeout": 5000,
}


class Store:
    """Open, checked and migrated database; close it, or use it in a `with`."""

    def __init__(self, engine: Engine, address: Address) -> None:
        self.engine = engine
        self.address = address
        self.writer = engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
        self.bare = engine.execution_options(**{_BEGIN: ""})  # outside of transactions, for SQLite's own upkeep

    def reading(self) -> contextlib.AbstractContextManager[Connection]:
        """Yield a connection inside a read-only transaction; raise UnavailableError if the database fails.

        Keep it short: while it lasts, SQLite's write-ahead log cannot shrink.
        """
        return self._lending(self.engine)

    def writing(self) -> contextlib.AbstractContextManager[Connection]:
        """Yield a connection inside a transaction that is on the disk when the block ends.

        SQLite's one write lock is taken at the start, after at most the store's patience. Raises UnavailableError if
        the database fails: then nothing was written, unless the connection broke in the very commit.
        """
        return self._lending(self.writer)

    @contextlib.contextmanager
    def _lending(self, engine: Engine) -> Iterator[Connection]:
        try:
            with engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            fault = fault_of(error)
            raise UnavailableError(f"{self.address.name}: {fault.words}: {fault.cure}") from error

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def open_store(address: str, *, create: bool = False, patience_s: float = PATIENCE_S) -> Store:
    """Open the store at an address and migrate an older one; `create` makes one where there is none.

    `patience_s` is how long a statement waits for another program's lock, in seconds. Raises UsageError, with nothing
    changed, if there is no store, or it is another program's, a newer one, damaged, not writable or not reachable;
    UnavailableError if it stays locked.
    """
    where = parse(address)
    if where.file and not create and not where.file.exists():
        raise _no_store(where)
    store = open_address(where, patience_s=patience_s, create=create)
    fold_log(store)  # which a removal could not do while somebody read on
    return store


def fold_log(store: Store, patience_s: float = 0.0) -> bool:
    """Checkpoint SQLite's write-ahead log; return False if others prevent that till the end.

    What was removed stays in the file, and in the log, for as long as somebody reads what was there before. Never keeps
    writers waiting for more than a tenth of a second. Other databases need none of it, and get True.
    """
    log = Path(f"{store.address.file}-wal")
    deadline = time.monotonic() + patience_s
    while store.address.file and log.exists() and log.stat().st_size:
        try:
            with store.bare.connect() as connection:
                connection.detach()  # it is not lent again with so little patience
                connection.exec_driver_sql("PRAGMA busy_timeout = 100")  # milliseconds for which writers may wait
                busy, *_ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
        except DBAPIError:  # a disk that is full, a file that is gone: who writes next says so
            return False
        if busy and time.monotonic() >= deadline:
            return False
        time.sleep(_FOLD_AGAIN_S if busy else 0)
    return True


def require_usable(address: str) -> str:
    """Raise as `open_store` does where a store cannot be used or made, and return the name to show for it.

    A file that could be made is not made yet: who is refused for something else leaves none behind.
    """
    where = parse(address)
    if not where.file or where.file.exists() or not os.access(where.file.parent, os.W_OK):
        open_address(where, patience_s=PATIENCE_S, create=True).close()
    return where.name


def open_address(
    where: Address, *, patience_s: float, create: bool = True, check_pages: bool = True, pool_size: int = 5
) -> Store:
    """Open the store at an address that was read before; raise as `open_store` does."""
    try:
        if where.file and where.file.exists():
            examine(where, patience_s, create=create, check_pages=check_pages)
        elif where.file:
            _make_private(where.file)
        engine = _sqlite(where, patience_s, pool_size) if where.file else _postgresql(where, patience_s, pool_size)
        store = Store(engine, where)
        try:
            _patiently(patience_s, lambda: _prepare(store, create=create))
        except BaseException:
            store.close()
            raise
    except ModuleNotFoundError as error:
        raise UsageError(f"{where.name}: needs the package {error.name}: install it, or leave out +driver") from None
    except DBAPIError as error:
        raise _refusal(where, error) from error
    return store


def log_is_idle(store: Store, seconds: float) -> bool:
    """Return whether SQLite's write-ahead log is not empty and has not grown for some seconds."""
    try:
        status = Path(f"{store.address.file}-wal").stat()
    except FileNotFoundError:
        return False
    return status.st_size > 0 and time.time() - status.st_mtime >= seconds


def _make_private(file: Path) -> None:
    """Create an empty file that only its owner can read, since it will contain messages; SQLite copies its mode."""
    with contextlib.suppress(OSError):  # SQLite says what is wrong, or another process was first
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def examine(where: Address, patience_s: float, *, create: bool, check_pages: bool) -> None:
    """Refuse, by reading only, a SQLite file that is not our store, or damaged.

    Never read it by other means: closing a plain file would drop the locks that this process holds on the database.
    """
    assert where.file  # noqa: S101 - for the type checker
    source = f"{where.file.as_uri()}?mode=ro"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(source, uri=True, timeout=patience_s, isolation_level=None, check_same_thread=False)

    engine = create_engine("sqlite+pysqlite://", creator=connect, poolclass=NullPool)
    with engine.connect() as connection:
        if not version_of(connection, where.name) and not create:
            raise _no_store(where)
        if check_pages:
            _check_pages(connection, where)


def _check_pages(connection: Connection, where: Address) -> None:
    """Check every page for damage, until the time is up or so much was written that others wait for this reader.

    SQLite cannot copy its write-ahead log past what a reader still sees: the log grows for as long as a check lasts.
    """
    raw = connection.connection.dbapi_connection
    assert isinstance(raw, sqlite3.Connection)  # noqa: S101 - for the type checker
    log, ended, deadline = Path(f"{where.file}-wal"), threading.Event(), time.monotonic() + _CHECK_S
    most = _size(log) + WAL_LIMIT

    def watch() -> None:
        while not ended.wait(_CHECK_WATCH_S):
            if time.monotonic() > deadline or _size(log) > most:
                raw.interrupt()

    watcher = threading.Thread(target=watch, name="store-check", daemon=True)
    watcher.start()
    try:
        answer = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    except DBAPIError as error:
        if getattr(error.orig, "sqlite_errorname", "") != "SQLITE_INTERRUPT":
            raise
        answer = "ok"  # so far
    finally:
        ended.set()
        watcher.join()
    if answer != "ok":
        raise UsageError(f"{where.name}: {Fault.DAMAGED.words}: {Fault.DAMAGED.cure}")


def _size(path: Path) -> int:
    """Return a file's size in bytes, 0 if it is not there."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _prepare(store: Store, *, create: bool) -> None:
    """Check the features of a database, then migrate it."""
    name = store.address.name
    with store.writer.begin() as connection:
        if store.address.file and connection.exec_driver_sql("PRAGMA journal_mode").scalar() != "wal":
            raise UsageError(f"{name}: its file system has no shared memory: choose a local disk")
        if not store.address.file and connection.scalar(text("SHOW server_encoding")) != "UTF8":
            raise UsageError(f"{name}: cannot hold every language: create the database with ENCODING 'UTF8'")
        if not create and not version_of(connection, name):
            raise _no_store(store.address)
        migrate(connection, name)


def _sqlite(where: Address, patience_s: float, pool_size: int) -> Engine:
    """Create an engine whose transactions begin and end where SQLAlchemy says, tables included."""
    engine = create_engine(
        where.url,
        connect_args={"timeout": patience_s, "isolation_level": None},  # None: Python's driver begins nothing itself
        hide_parameters=True,
        max_overflow=0,
        pool_size=pool_size,
    )
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    """Set the pragmas: durable commits, readers independent of the writer, and a write-ahead log that shrinks.

    Zeros go over what is removed or moved by any change: a label makes a row longer, and it may leave its place.
    """
    connection.execute("PRAGMA journal_mode = WAL").fetchone()
    connection.execute("PRAGMA secure_delete = ON").fetchone()
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA journal_size_limit = 4194304")  # WAL_LIMIT


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock at once where one is needed: a reader that upgrades would fail without waiting."""
    if begin := connection.get_execution_options().get(_BEGIN, "BEGIN"):
        connection.exec_driver_sql(begin)


def _postgresql(where: Address, patience_s: float, pool_size: int) -> Engine:
    """Create an engine that notices a dead server within seconds; the address's own settings take precedence."""
    libpq = where.url.get_driver_name() in {"psycopg", "psycopg2"}
    settings = {name: value for name, value in _LIBPQ.items() if name not in where.url.query} if libpq else {}
    engine = create_engine(
        where.url,
        connect_args=settings,
        hide_parameters=True,
        max_overflow=0,
        pool_pre_ping=True,
        pool_size=pool_size,
    )

    def set_up(connection: Any, _record: object) -> None:
        """Limit the wait for locks, and make commits synchronous whatever the server's default is."""
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, false)", [f"{round(patience_s * 1000)}ms"])
            cursor.execute("SELECT current_setting('synchronous_commit')")
            if cursor.fetchone()[0] == "off":
                cursor.execute("SET synchronous_commit = on")
        connection.commit()

    event.listen(engine, "connect", set_up)
    return engine


def _patiently(patience_s: float, action: Callable[[], None]) -> None:
    """Retry while another program holds the lock: SQLite does not wait when two create a file's first page."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return action()
        except DBAPIError as error:
            if fault_of(error) is not Fault.LOCKED or time.monotonic() > deadline:
                raise
        time.sleep(_RETRY_S)


def _no_store(where: Address) -> UsageError:
    """Describe a store that does not exist yet: the reader came before the writer."""
    return UsageError(f"{where.name}: there is no store yet: spamctl serve makes it, or correct the address")


def _refusal(where: Address, error: DBAPIError) -> SpamctlError:
    """Describe why a database cannot be opened."""
    fault = fault_of(error)
    kind = UnavailableError if fault is Fault.LOCKED else UsageError
    return kind(f"{where.name}: {fault.words}: {fault.cure}")
