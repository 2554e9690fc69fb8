"""Say what a database's error means, in words that give away neither SQL nor where the database is."""

from __future__ import annotations

import enum
import errno

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError

from spamctl.errors import SpamctlError


class Fault(enum.Enum):
    """Name what can be wrong with a database, each with what to do about it."""

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
    OTHER = ("it refused the statement", "look at its own log")

    @property
    def words(self) -> str:
        """Say what is wrong."""
        return str(self.value[0])

    @property
    def cure(self) -> str:
        """Say what to do."""
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
    """Tell what an error of a database means."""
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
    """Tell what an error means that is a database's own, or was raised because of one; None if it is neither."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return Fault.FULL
    cause = error if isinstance(error, DBAPIError) else error.__cause__
    return fault_of(cause) if isinstance(cause, DBAPIError) else None


def is_of_values(error: Exception) -> bool:
    """Tell whether the values are at fault, and not the store: waiting would not help."""
    if isinstance(error, DBAPIError | SpamctlError | OSError):
        return fault_behind(error) is Fault.REFUSED
    return True


def _connection_fault(words: str) -> Fault:
    """Read libpq's English, since an attempt to connect has no code."""
    if "authentication failed" in words or "no pg_hba.conf entry" in words or "no password supplied" in words:
        return Fault.LOGIN
    if "does not exist" in words and "database" in words:
        return Fault.UNKNOWN
    return Fault.ABSENT
