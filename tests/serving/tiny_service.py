"""Make the real service of a tiny model, and run applications on a real port, in this process."""

import contextlib
import socket
import threading
import time

import uvicorn

from spamctl.engine.engine import GOLDEN
from spamctl.serving.state import Archive, Deployments, Release, Service
from spamctl.store.capture import Capture
from spamctl.store.database import open_store
from tests import tiny_packages


@contextlib.contextmanager
def open_service(folder):
    """Lend a service that answers with version 7 of a tiny model and captures into a file."""
    address = str(folder / "spam.db")
    package = tiny_packages.write(folder / "package", "", *GOLDEN)
    deployments = Deployments(Release("spam", "7", "champion", str(package)), None, threads=1, cached_rows=0)
    capture = Capture(address)
    try:
        with open_store(address) as store:
            yield Service(deployments, Archive(capture, store, "spam.db"))
    finally:
        capture.close()
        deployments.close()


@contextlib.contextmanager
def listening(app):
    """Serve an application as `spamctl serve` does, and lend its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            app, http="httptools", ws="none", lifespan="off", log_config=None, access_log=False, server_header=False
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()
