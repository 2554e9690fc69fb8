"""Run the server in the foreground: in this process, or in several that share its socket."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable, Mapping

from spamctl.model import scratch
from spamctl.serving.follow import Wish, following
from spamctl.serving.metrics import SHARED_FOLDER
from spamctl.serving.server import Loaded, listen, load, serve
from spamctl.serving.settings import Settings
from spamctl.serving.telling import Tell
from spamctl.serving.workers import Workers


def run(
    settings: Settings,
    wish: Wish,
    environment: Mapping[str, str],
    tell: Tell,
    ready: Callable[[], None],
    loading: Callable[[Settings], Loaded] = load,
) -> signal.Signals:
    """Serve until SIGINT or SIGTERM and return which of them it was; `ready` is called once messages are answered.

    `environment` is that of the processes which are started beside: the follower of the registry, and the workers.
    Raises UsageError if the address or the store is not available, ArtefactError if the model cannot be served.
    """
    scratch.sweep()
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(listen(settings.host, settings.port))
        for_mail = stack.enter_context(listen_for_mail(settings.spamd)) if settings.spamd else None
        if releases := stack.enter_context(following(wish, environment, tell)):
            settings = settings.following(releases)
        if settings.workers == 1:
            return serve(settings, listener, tell, ready, loading, for_mail)
        shared = stack.enter_context(scratch.folder("metrics"))
        listeners = [listener, *([for_mail] if for_mail else [])]
        return Workers(settings, listeners, {**environment, SHARED_FOLDER: str(shared)}, tell).run(ready)


def listen_for_mail(address: str) -> socket.socket:
    """Return a socket that listens at HOST:PORT; raise UsageError if that is not available."""
    host, _, port = address.rpartition(":")
    return listen(host.strip("[]"), int(port), f"--spamd {address}")
