"""Run the server in the foreground: in this process, or in several that share its socket."""

from __future__ import annotations

import signal
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
    with listen(settings.host, settings.port) as listener, following(wish, environment, tell) as releases:
        if releases:
            settings = settings.following(releases)
        if settings.workers == 1:
            return serve(settings, listener, tell, ready, loading)
        with scratch.folder("metrics") as shared:
            return Workers(settings, listener, {**environment, SHARED_FOLDER: str(shared)}, tell).run(ready)
