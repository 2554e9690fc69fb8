"""Run the server in the foreground, in this process or in several that share its socket."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from prometheus_client.multiprocess import mark_process_dead

from spamctl import folders
from spamctl.errors import SpamctlError
from spamctl.serving import child
from spamctl.serving.activity import SHARED_FOLDER
from spamctl.serving.log import Tell
from spamctl.serving.server import Loaded, listen, load, serve
from spamctl.serving.state import Settings
from spamctl.serving.worker import READY

WATCH_S = 0.1
AGAIN_S = 1.0


class Workers:
    """Supervisor of the worker processes: it starts them, replaces one that dies, and ends them all."""

    def __init__(
        self, settings: Settings, listeners: Sequence[socket.socket], environment: Mapping[str, str], tell: Tell
    ) -> None:
        """Prepare; `listeners` are for HTTP and, where it is wanted, spamd, `environment` is that of the workers."""
        self._settings, self._listeners, self._environment, self._tell = settings, listeners, environment, tell
        self._children: list[subprocess.Popen[str]] = []
        self._stopped_by: signal.Signals | None = None
        self._hurried = False

    def run(self, ready: Callable[[], None]) -> signal.Signals:
        """Serve until SIGINT or SIGTERM comes, and return it; `ready` is called once all of them answer.

        The first signal lets the workers answer what they are answering, the second ends them at once. Raises
        SpamctlError if one cannot start.
        """
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self._children = [self._start() for _ in range(self._settings.workers)]
            for worker in self._children:
                self._wait_until_ready(worker)
            if self._stopped_by is None:
                ready()
            while self._stopped_by is None:
                time.sleep(WATCH_S)
                self._replace_dead()
            return self._stopped_by
        finally:
            self._end()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, _frame: object) -> None:
        self._hurried = self._stopped_by is not None
        self._stopped_by = signal.Signals(number)

    def _start(self) -> subprocess.Popen[str]:
        """Start one worker on the shared sockets."""
        held = [listener.fileno() for listener in self._listeners]
        words, settings = [str(number) for number in held], self._settings.to_json()
        return child.start("spamctl.serving.worker", words, settings, self._environment, holds=held)

    def _wait_until_ready(self, worker: subprocess.Popen[str]) -> None:
        assert worker.stdout  # noqa: S101 - for the type checker
        line = worker.stdout.readline().strip()
        if line != READY and self._stopped_by is None:
            raise SpamctlError(f"a worker could not start: {line or f'exit code {worker.wait()}'}")

    def _replace_dead(self) -> None:
        for index, worker in enumerate(self._children):
            if worker.poll() is not None and self._stopped_by is None:
                self._count_out(worker.pid)
                self._tell(f"a worker died (exit code {worker.returncode}); another one takes its place")
                time.sleep(AGAIN_S)
                self._children[index] = self._start()
                threading.Thread(target=self._hear, args=(self._children[index],), daemon=True).start()

    def _count_out(self, pid: int) -> None:
        """Remove a dead worker's open requests from the metrics."""
        mark_process_dead(pid, self._environment[SHARED_FOLDER])  # type: ignore[no-untyped-call]

    def _hear(self, worker: subprocess.Popen[str]) -> None:
        """Report why a replacement worker could not start, if it gave a reason."""
        assert worker.stdout  # noqa: S101 - for the type checker
        line = worker.stdout.readline().strip()
        if line not in {"", READY}:
            self._tell(f"a worker could not start: {line}")

    def _end(self) -> None:
        """Stop the workers gracefully: pending requests are answered first."""
        for listener in self._listeners:
            listener.close()  # who calls now is refused, and not left waiting
        deadline = time.monotonic() + self._settings.limits.drain_s + 10.0
        for worker in self._children:
            worker.terminate()
        while any(worker.poll() is None for worker in self._children):
            if self._hurried or time.monotonic() > deadline:
                for worker in self._children:
                    worker.kill()
            time.sleep(WATCH_S)


# Run the server in the foreground: in this process, or in several that share its socket.


def run(
    settings: Settings,
    releases: Path | None,
    environment: Mapping[str, str],
    tell: Tell,
    ready: Callable[[], None],
    loading: Callable[[Settings], Loaded] = load,
) -> signal.Signals:
    """Serve until SIGINT or SIGTERM and return which of them it was; `ready` is called once messages are answered.

    `releases` is the file of `registry_watcher.following`, `environment` that of the workers.
    Raises UsageError if the address or the store is not available, ArtefactError if the model cannot be served.
    """
    folders.remove_abandoned()
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(listen(settings.host, settings.port))
        for_mail = stack.enter_context(listen_for_mail(settings.spamd)) if settings.spamd else None
        if releases:
            settings = settings.following(releases)
        if settings.workers == 1:
            return serve(settings, listener, tell, ready, loading, for_mail)
        shared = stack.enter_context(folders.temporary_folder("metrics"))
        listeners = [listener, *([for_mail] if for_mail else [])]
        return Workers(settings, listeners, {**environment, SHARED_FOLDER: str(shared)}, tell).run(ready)


def listen_for_mail(address: str) -> socket.socket:
    """Return a socket that listens at HOST:PORT; raise UsageError if that is not available."""
    host, _, port = address.rpartition(":")
    return listen(host.strip("[]"), int(port), f"--spamd {address}")
