"""Run the real server of the spamd protocol, in a thread or as a process, with a tiny model and a store of its own."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from spamctl.serving.activity import Metrics
from spamctl.serving.limits import ConnectionLimiter
from spamctl.serving.spamd import Spamd
from spamctl.serving.state import Deployments, Limits, Release, Service, Settings
from spamctl.serving.worker import READY
from spamctl.store.database import open_store
from tests import tiny_packages
from tests.served import archive_at

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class MailServed:
    """Hold a running server: its port, what it shares with HTTP, and its database."""

    port: int
    service: Service
    database: Path

    def rows(self):
        with open_store(str(self.database)) as store, store.reading() as connection:
            return connection.exec_driver_sql(
                "SELECT uuid, text, classification, probability, ground_truth, label_source, source FROM data"
                " ORDER BY date"
            ).all()


@contextlib.contextmanager
def mail_served(folder, *, limits=None, capture=True, patience=None, most=0, out_of_reach="deliver", **changes):
    """Answer mail servers with version 1 of the model spam while the block runs; changes are to its manifest."""
    package = tiny_packages.write(folder / "package", **changes)
    database = folder / "spam.db"
    with contextlib.ExitStack() as stack:
        release = Release("spam", "1", "champion", str(package))
        deployments = Deployments(release, None, threads=1, cached_rows=0, out_of_reach=out_of_reach)
        stack.callback(deployments.close)
        archive = stack.enter_context(archive_at(database)) if capture else None
        service = Service(deployments, archive, limits or Limits(), Metrics())
        yield MailServed(stack.enter_context(_running(service, ConnectionLimiter(most, patience))), service, database)


@contextlib.contextmanager
def _running(service, door):
    """Run the server in a loop of its own, in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    loop, ended, begun = asyncio.new_event_loop(), asyncio.Event(), threading.Event()

    async def live():
        spamd = Spamd(service, door)
        await spamd.start(listener)
        begun.set()
        await ended.wait()
        await spamd.stop(2)

    thread = threading.Thread(target=lambda: loop.run_until_complete(live()))
    thread.start()
    try:
        assert begun.wait(30)
        yield port
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(timeout=30)
        loop.close()


@dataclass(frozen=True)
class MailProcess:
    """Hold a server process with its two ports."""

    process: subprocess.Popen
    port: int
    http_port: int
    folder: Path

    @property
    def database(self):
        return self.folder / "spam.db"

    def labels(self):
        """Return (label, its source, how the row came) of every row, the oldest first."""
        with open_store(str(self.database)) as store, store.reading() as connection:
            rows = connection.exec_driver_sql("SELECT ground_truth, label_source, source FROM data ORDER BY date")
            return [tuple(row) for row in rows]


@contextlib.contextmanager
def mail_process(folder, package, **changes):
    """Run a worker of `spamctl serve --spamd` as a process of its own while the block runs."""
    with socket.create_server(("127.0.0.1", 0)) as http, socket.create_server(("127.0.0.1", 0)) as mail:
        port, http_port = mail.getsockname()[1], http.getsockname()[1]
        settings = Settings(
            release=Release("spam", "1", "champion", str(package)),
            datastore_uri=str(folder / "spam.db"),
            spamd=f"127.0.0.1:{port}",
            threads=1,
            **changes,
        )
        numbers = [http.fileno(), mail.fileno()]
        with (folder / "server.err").open("w", encoding="utf-8") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "spamctl.serving.worker", *map(str, numbers)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                pass_fds=numbers,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )
    try:
        process.stdin.write(settings.to_json() + "\n")
        process.stdin.flush()
        line = process.stdout.readline().strip()
        assert line == READY, f"{line}\n{(folder / 'server.err').read_text(encoding='utf-8')}"
        yield MailProcess(process, port, http_port, folder)
    finally:
        process.kill()
        process.communicate()
