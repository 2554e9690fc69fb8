"""Run the real server in a thread, with a tiny model and a store of its own."""

import asyncio
import contextlib
import socket
import threading
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from spamctl.serving.access import Access
from spamctl.serving.activity import Metrics
from spamctl.serving.app import create_app
from spamctl.serving.state import Archive, Deployments, Limits, Release, Service
from spamctl.store.capture import Capture
from spamctl.store.database import open_store
from tests import tiny_packages


@dataclass(frozen=True)
class Served:
    """Hold a running server: its address, what its routes share, and where its answers are kept."""

    address: str
    service: Service
    database: Path


@contextlib.contextmanager
def served(folder, *, access=None, limits=None, capture=True, out_of_reach="deliver", **changes):
    """Serve version 1 of the model spam from a new folder while the block runs; changes are to its manifest."""
    package = tiny_packages.write(folder / "package", **changes)
    database = folder / "spam.db"
    with contextlib.ExitStack() as stack:
        release = Release("spam", "1", "champion", str(package))
        deployments = Deployments(release, None, threads=1, cached_rows=0, out_of_reach=out_of_reach)
        stack.callback(deployments.close)
        archive = stack.enter_context(archive_at(database)) if capture else None
        service = Service(deployments, archive, limits or Limits(), Metrics())
        address = stack.enter_context(_running(create_app(service, access or Access())))
        yield Served(address, service, database)


@contextlib.contextmanager
def archive_at(database):
    """Open a store to write answers into, and end its writer."""
    writer = Capture(str(database))
    try:
        with open_store(str(database)) as store:
            yield Archive(writer, store, database.name)
    finally:
        writer.close(10)


@contextlib.contextmanager
def _running(app):
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(app, lifespan="off", ws="none", log_config=None, timeout_graceful_shutdown=2)
    )
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=30)
        listener.close()
