"""Translate database errors into words that reveal neither SQL nor where the database is."""

from __future__ import annotations

import enum
import errno

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError

from spamctl.errors import SpamctlError, UnavailableError


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
