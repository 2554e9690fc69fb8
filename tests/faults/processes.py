"""Start real servers, each a process of its own, and look at them from outside."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text

from spamctl.serving.server import listen
from spamctl.serving.state import Release, Settings
from spamctl.serving.worker import READY
from spamctl.store.database import open_store

ROOT = Path(__file__).parents[2]
CYCLES = int(os.environ.get("RELIABILITY_CYCLES", "2"))
SECONDS = float(os.environ.get("RELIABILITY_SECONDS", "1"))
AT_LENGTH = SECONDS >= 60  # on a machine that does nothing else: then it is timed, too
REFUSED_S = 5.0
PATIENCE_S = 120  # what takes a moment takes a minute where others work, too


@dataclass(frozen=True)
class Server:
    """Hold a server that runs, or ran."""

    process: subprocess.Popen
    port: int
    errors: Path

    @property
    def told(self):
        """Return what it wrote to standard error."""
        return self.errors.read_text(encoding="utf-8")

    def end(self, number=signal.SIGTERM):
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def memory(self, which="VmRSS"):
        """Return how much memory it takes, or took at most (VmHWM), in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        (kib,) = (line.split()[1] for line in status.splitlines() if line.startswith(f"{which}:"))
        return int(kib) * 1024

    def files(self):
        """Count its open files, connections included."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))


def release(package, version="1"):
    """Name a package as a version of the model spam."""
    return Release("spam", version, "", str(package))


def start(settings, program="spamctl.serving.worker", stderr=None):
    """Start a server in a new process on a free port, and return it with the first line that it says.

    Its errors go to a file of its own, unless another one is given.
    """
    errors = Path(f"server-{time.monotonic_ns()}.err")
    with listen("127.0.0.1", 0) as listener, errors.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", program, str(listener.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr or file,
            text=True,
            pass_fds=[listener.fileno()],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        port = listener.getsockname()[1]
    process.stdin.write(settings.to_json() + "\n")
    process.stdin.flush()
    return Server(process, port, errors.absolute()), process.stdout.readline().strip()


@contextlib.contextmanager
def a_server(package, program="spamctl.serving.worker", stderr=None, **changes):
    """Run a server while the block lasts, then see that it ends in good order; the block may have ended it itself."""
    server, line = start(Settings(release=release(package), **changes), program, stderr)
    try:
        assert line == READY, f"{line}\n{server.told}"
        yield server
        if server.process.poll() is None:
            assert server.end() == 0, server.told
    finally:
        server.process.kill()
        server.process.communicate()


def refused(package, address):
    """Start a server that cannot be; return its exit code and its one line."""
    began = time.monotonic()
    server, line = start(Settings(release=release(package), datastore_uri=address))
    code = server.process.wait(PATIENCE_S)
    assert not AT_LENGTH or time.monotonic() - began < REFUSED_S
    server.process.communicate()
    assert "Traceback" not in server.told
    return code, line


def is_alive(pid):
    """Tell whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(true, within_s=PATIENCE_S):
    """Wait until something is true."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@contextlib.contextmanager
def locked(database):
    """Hold what another program may: SQLite's one write lock, or a lock on PostgreSQL's table against all writers."""
    if "://" in database:
        with open_store(database) as store, store.writing() as connection:
            connection.execute(text("LOCK TABLE data IN EXCLUSIVE MODE"))
            yield
        return
    with contextlib.closing(sqlite3.connect(database, timeout=PATIENCE_S, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def is_there(pid):
    """Tell whether a process runs; one that ended and was not asked for its exit code does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def children_of(pid):
    """Return the processes that a process has started and that run."""
    listing = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listing.splitlines()]
    return {child for child, parent in pairs if parent == pid and is_there(child)}
