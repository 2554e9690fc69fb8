"""Lend ports of this machine where nobody answers."""

import contextlib
import socket


def closed_port():
    """Return a port where nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def silent_port():
    """Lend a port that takes every call and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:  # the system takes the calls
        yield server.getsockname()[1]
