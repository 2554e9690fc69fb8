"""Parse the address of a store: `spam.db` for a SQLite file, or the URL of a SQLite or PostgreSQL database."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from spamctl.errors import UsageError
from spamctl.sqlite_url import file_of, has_query

EXAMPLES = "use a file such as spam.db, or postgresql://user:password@host/database"
_LONGEST_SHOWN = 80
_SQLITE = {"sqlite", "sqlite+pysqlite"}  # the only spellings that mean Python's own driver
_ALIASES = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}


@dataclass(frozen=True, slots=True)
class Address:
    """Location of a store; `name` may be shown to anyone who may see the machine: it has no user and no secret."""

    url: URL
    name: str
    file: Path | None


def parse(address: str) -> Address:
    """Parse an address as a user types it.

    `spam.db` and `sqlite:///spam.db` are the same file, whose folder must exist; `postgres://` and `postgresql://` mean
    the driver psycopg. Nothing is opened. What an address says and the store would not do, such as to encrypt, is
    refused. Raises UsageError with what to type instead.
    """
    shown = _shown(address)
    if not address.strip():
        raise UsageError(f"the store's address is empty: {EXAMPLES}")
    if "://" not in address:
        return _file(address, shown)
    if (file := file_of(address)) and not has_query(address):
        return _file(str(file), _shown(str(file)))
    try:
        url = make_url(address)
        url = url.set(drivername=_ALIASES.get(url.drivername, url.drivername))
        dialect = url.get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise UsageError(f"{_scheme(shown)}…: not an address of a database: {EXAMPLES}") from None
    if url.get_backend_name() == "sqlite":
        if url.drivername not in _SQLITE or url.username or url.password or url.port:
            raise UsageError(
                f"{_scheme(shown)}…: spamctl writes files of SQLite in clear, it would drop driver, user and password: "
                "use the file's path, such as spam.db, on an encrypted disk if need be"
            )
        raise UsageError(f"{_scheme(shown)}…: not a file that outlives the program: use its path, such as spam.db")
    if not issubclass(dialect, PGDialect) or dialect.is_async:
        raise UsageError(
            f"{_scheme(shown)}…: spamctl keeps its promise to lose nothing only in SQLite and PostgreSQL: {EXAMPLES}"
        )
    return _server(url)


def _file(path: str, shown: str) -> Address:
    """Resolve a SQLite file through symbolic links, since its companions (-wal, -shm) lie beside the real one."""
    try:
        file = Path(os.path.expanduser(path)).resolve()  # noqa: PTH111 - Path.expanduser raises for an unknown ~user
        is_folder, has_folder = file.is_dir(), file.parent.is_dir()
        is_special = file.exists() and not (is_folder or file.is_file())
    except (OSError, ValueError, RuntimeError):
        raise UsageError(f"{shown}: not a path of a file: {EXAMPLES}") from None
    if path.startswith("file:") or path == ":memory:":
        raise UsageError(f"{shown}: not a file that outlives the program: use its plain path, such as spam.db")
    if is_folder:
        raise UsageError(f"{shown}: is a folder: name a file in it, such as {_shown(os.path.join(path, 'spam.db'))}")  # noqa: PTH118
    if is_special:  # a pipe would be waited for, for ever
        raise UsageError(f"{shown}: is a pipe or a device, not a file: remove it, or choose another address")
    if not has_folder:
        raise UsageError(f"{shown}: its folder does not exist: create the folder, or choose another address")
    return Address(URL.create("sqlite+pysqlite", database=str(file)), shown, file)


def _server(url: URL) -> Address:
    """Name a database server without its user, its password and its options."""
    host = url.host or str(url.query.get("host") or "")
    name = _shown(f"{url.get_backend_name()}://{host}{f':{url.port}' if url.port else ''}/{url.database or ''}")
    if not url.database:
        raise UsageError(f"{name}: names no database: add it, such as postgresql://host/spam")
    return Address(url, name, None)


def _scheme(shown: str) -> str:
    """Return what stands before the first secret."""
    return shown.partition("://")[0] + "://"


def _shown(text: str) -> str:
    """Escape hostile text for a terminal, on one line."""
    safe = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return safe if len(safe) <= _LONGEST_SHOWN else f"{safe[:_LONGEST_SHOWN]}…"
