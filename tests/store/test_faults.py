"""An error of a database is told in words that fit it, by the code that the database gives."""

import errno
import sqlite3

from psycopg import errors
from sqlalchemy.exc import OperationalError

from spamctl.store.database import Fault, fault_behind, fault_of
from tests.each import each


def raised(error):
    """Return a driver's error as SQLAlchemy raises it."""
    return OperationalError("INSERT", {}, error)


@each(
    ("sqlstate", "fault"),
    [
        ("53100", Fault.FULL),
        ("53200", Fault.ABSENT),  # out of memory: of the same class, and not of the disk
        ("53300", Fault.ABSENT),
        ("58030", Fault.BROKEN),
        ("42501", Fault.DENIED),
        ("25006", Fault.DENIED),
        ("XX001", Fault.DAMAGED),
        ("XX002", Fault.DAMAGED),
        ("28P01", Fault.LOGIN),
        ("3D000", Fault.UNKNOWN),
        ("55P03", Fault.LOCKED),
        ("57014", Fault.LOCKED),
        ("40001", Fault.LOCKED),
        ("40P01", Fault.LOCKED),
        ("08006", Fault.ABSENT),
        ("57P01", Fault.ABSENT),
        ("42601", Fault.OTHER),
    ],
)
def test_a_code_of_postgresql_has_its_fault(sqlstate, fault):
    error = raised(errors.lookup(sqlstate)("words"))
    assert error.orig.sqlstate == sqlstate
    assert fault_of(error) is fault_behind(error) is fault


@each(
    ("name", "fault"),
    [
        ("SQLITE_FULL", Fault.FULL),
        ("SQLITE_IOERR_WRITE", Fault.BROKEN),
        ("SQLITE_BUSY_SNAPSHOT", Fault.LOCKED),
        ("SQLITE_READONLY_DBMOVED", Fault.DENIED),
        ("SQLITE_CANTOPEN", Fault.DENIED),
        ("SQLITE_NOTADB", Fault.FOREIGN),
        ("SQLITE_CORRUPT_INDEX", Fault.DAMAGED),
        ("SQLITE_ERROR", Fault.OTHER),
    ],
)
def test_a_name_of_sqlite_has_its_fault(name, fault):
    error = sqlite3.OperationalError("words")
    error.sqlite_errorname = name
    assert fault_of(raised(error)) is fault


def test_a_disk_without_room_is_full_whoever_says_so():
    assert fault_behind(OSError(errno.ENOSPC, "words")) is Fault.FULL
    assert fault_behind(OSError(errno.EIO, "words")) is None
    assert "disk is full" in Fault.FULL.words
