"""Start a PostgreSQL server for the tests that need one, and make stores in both databases."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from spamctl.store.database import open_store

CURE = "install PostgreSQL's server programs (Debian: apt-get install postgresql)"


class Postgres:
    """Run a server of its own in a folder, as another user where root may not."""

    def __init__(self, programs, folder, user):
        self.programs, self.folder, self.user = programs, folder, user
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.databases = 0

    def call(self, program, *words):
        command = [str(self.programs / program), *words]
        done = subprocess.run(
            command, user=self.user, cwd=self.folder, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def create(self, *settings):
        self.call("initdb", "-D", "data", "-U", "spamctl", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
        with (self.folder / "data" / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = ''\n")
            file.write("shared_buffers = 16MB\nmax_connections = 40\nsynchronous_commit = off\n")
            file.writelines(f"{setting}\n" for setting in settings)

    def start(self):
        self.call("pg_ctl", "-D", "data", "-w", "-l", "server.log", "start")

    def stop(self, how="fast"):
        self.call("pg_ctl", "-D", "data", "-w", "-m", how, "stop")

    def url(self, database):
        return f"postgresql://spamctl@127.0.0.1:{self.port}/{database}"

    def new_database(self, encoding="UTF8"):
        self.databases += 1
        name = f"spam{self.databases}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE 'C' LC_CTYPE 'C'")
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.format(sql.Identifier(name), sql.Literal(encoding)))
        return self.url(name)


def server_programs():
    """Find the folder of the newest server programs, or nothing."""
    if on_path := shutil.which("pg_ctl"):
        return Path(on_path).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None, key=lambda folder: float(folder.parent.name))


@contextlib.contextmanager
def a_server(*settings):
    programs = server_programs()
    if programs is None or not (programs / "initdb").exists():
        pytest.skip(f"no PostgreSQL server here: {CURE}")
    user = None
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        users = {entry.pw_name for entry in pwd.getpwall()}
        user = next(name for name in ("postgres", "nobody") if name in users)
    folder = Path(tempfile.mkdtemp(prefix="spamctl-postgres-"))
    if user:
        shutil.chown(folder, user)
    server = Postgres(programs, folder, user)
    try:
        server.create(*settings)
        server.start()
        yield server
        with contextlib.suppress(AssertionError):  # a test may have stopped it for good
            server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres():
    """Lend one server to all tests; each makes databases of its own."""
    with a_server("fsync = off") as server:
        yield server


@pytest.fixture
def mortal_postgres():
    """Lend a server that may be stopped."""
    with a_server() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def address(request, tmp_path):
    """Name a store that does not exist yet, in both databases."""
    if request.param == "sqlite":
        return str(tmp_path / "spam.db")
    return request.getfixturevalue("postgres").new_database()


@pytest.fixture
def store(address):
    """Open a fresh store, in both databases."""
    with open_store(address, create=True) as opened:
        yield opened


@pytest.fixture
def sqlite_store(tmp_path):
    """Open a fresh SQLite store."""
    with open_store(str(tmp_path / "spam.db"), create=True) as opened:
        yield opened
