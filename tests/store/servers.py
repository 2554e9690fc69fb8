"""Start a PostgreSQL server of our own, for tests and benchmarks."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import psycopg
from psycopg import sql

MISSING = "no PostgreSQL server here: install its programs (Debian: apt-get install postgresql)"


class Postgres:
    """Run a server of its own in a folder, as another user where root may not."""

    def __init__(self, programs, folder, user):
        self.programs, self.folder, self.user = programs, folder, user
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.databases = 0
        self.common = ""

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

    def empty_database(self):
        """Lend the one database that is emptied for each test: to make one takes half a second and 8 MB."""
        self.common = self.common or self.new_database()
        with psycopg.connect(self.common, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        return self.common


def server_programs():
    """Find the folder of the newest server programs, or nothing: distributions keep them off the PATH."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    if on_path := shutil.which("pg_ctl"):
        folders.append(Path(on_path).resolve().parent)
    return next((folder for folder in reversed(folders) if (folder / "initdb").exists()), None)


@contextlib.contextmanager
def a_server(*settings):
    """Start a server of one's own in a temporary folder, and leave nothing of it behind."""
    programs, user = server_programs(), None
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
        try:
            yield server
        finally:
            with contextlib.suppress(AssertionError):  # a test may have stopped it for good
                server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
