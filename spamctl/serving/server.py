"""Run one server process: load, listen, follow the registry, log, and shut down gracefully."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from spamctl.engine.manifest import UNSEALED
from spamctl.errors import ArtefactError, UsageError
from spamctl.serving import activity
from spamctl.serving.access import Access
from spamctl.serving.activity import Figures, Metrics, shared_folder
from spamctl.serving.app import create_app
from spamctl.serving.limits import Connection, ConnectionLimiter
from spamctl.serving.log import Tell, rate_limited_log
from spamctl.serving.registry_watcher import LATE_S, Pulse, read_releases
from spamctl.serving.spamd import Spamd
from spamctl.serving.state import Archive, Deployments, Service, Settings
from spamctl.store.capture import Capture
from spamctl.store.database import fold_log, log_is_idle, open_store

TICK_S = 1.0
LOOK_S = 0.2  # how soon a release that the follower wrote down is noticed: it costs two calls of stat
FOLD_S = 5.0
BACKLOG = 2048


def listen(host: str, port: int, option: str = "") -> socket.socket:
    """Return a socket that listens; raise UsageError if the address is not available.

    `option` is the one that names both, where it is not --host and --port.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        listener = socket.socket(family, kind)
    except OSError as error:
        raise UsageError(f"{option or f'--host {host}'}: is no address here: {error.strerror}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        where = option or f"--port {port}"
        raise UsageError(f"{where}: is not available on {host}: {error.strerror}; choose another") from None
    listener.set_inheritable(True)
    return listener


@dataclass(frozen=True, slots=True)
class Loaded:
    """What is loaded before a server can answer, and the metrics that its scoring updates."""

    deployments: Deployments
    metrics: Metrics


def load(settings: Settings) -> Loaded:
    """Load what is to be served; raise ArtefactError if it cannot be."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    metrics = Metrics()
    deployments = Deployments(
        settings.release,
        settings.shadow,
        threads=settings.threads,
        cached_rows=settings.cached_rows,
        out_of_reach=settings.out_of_reach,
        on_batch=metrics.on_batch,
    )
    return Loaded(deployments, metrics)


def serve(
    settings: Settings,
    listener: socket.socket,
    tell: Tell,
    ready: Callable[[], None],
    loading: Callable[[Settings], Loaded] = load,
    for_mail: socket.socket | None = None,
) -> signal.Signals:
    """Answer until SIGINT or SIGTERM, and return which of them it was; `ready` is called once it answers.

    `for_mail` listens for the spamd protocol, where it is wanted.

    Raises UsageError or UnavailableError if the store cannot be used, ArtefactError if the release cannot be served.
    """
    with contextlib.ExitStack() as stack:
        archive = stack.enter_context(_archive(settings))
        loaded = loading(settings)
        deployments, metrics = loaded.deployments, loaded.metrics
        stack.callback(deployments.close)
        metrics.serve(settings.release.name, settings.release.version)
        service = Service(deployments, archive, settings.limits, metrics, siblings=shared_folder())
        server = Server(service, settings, tell, ready, for_mail)
        gc.freeze()  # what has been made so far stays: collecting rubbish need not look at it
        with asyncio.Runner(loop_factory=_loop_factory()) as runner, contextlib.suppress(asyncio.CancelledError):
            runner.run(server.among_siblings(listener))
        if archive:
            archive.capture.close(server.patience_s)
    return server.stopped_by


class Server(uvicorn.Server):
    """uvicorn's server with our own signals, and with our tasks beside it."""

    def __init__(
        self,
        service: Service,
        settings: Settings,
        tell: Tell,
        ready: Callable[[], None],
        for_mail: socket.socket | None = None,
    ) -> None:
        self._service, self._settings, self._tell, self._ready = service, settings, tell, ready
        self.stopped_by = signal.SIGTERM
        self._door = ConnectionLimiter()
        self._for_mail = for_mail
        self._spamd = Spamd(service, self._door) if for_mail else None
        app = create_app(service, Access(settings.token, settings.hosts))
        super().__init__(
            uvicorn.Config(
                app,
                http=functools.partial(Connection, self._door),  # type: ignore[arg-type]  # it makes one
                loop="none",  # ours already runs
                lifespan="off",
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                backlog=BACKLOG,
                timeout_graceful_shutdown=max(1, round(settings.limits.drain_s)),
            )
        )

    async def among_siblings(self, listener: socket.socket) -> None:
        """Serve, and share recent answers with the other workers, if there are any."""
        folder, recent = self._service.siblings, self._service.recent
        beside = (
            activity.answering_siblings(folder, lambda: recent.activity().to_json())
            if folder
            else contextlib.nullcontext()
        )
        async with beside:
            with rate_limited_log(self._door.occasions):
                await self.serve(sockets=[listener])

    @property
    def patience_s(self) -> float:
        """Return the grace period for the store at shutdown, in seconds; 0 after two signals."""
        return 0.0 if self.force_exit else max(1.0, self._settings.limits.drain_s)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Shut down at the first signal, at once at the second; the caller distinguishes SIGINT from SIGTERM."""
        loop = asyncio.get_running_loop()
        self._serving = asyncio.current_task()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop, number)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and report it."""
        await super().startup(sockets)
        if self._spamd and self._for_mail:
            await self._spamd.start(self._for_mail)
        self._tasks = [asyncio.create_task(each) for each in (self._follow(), self._log(), self._fold())]
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish pending answers, then end the background tasks."""
        self._service.stopping = True
        mail = [self._spamd.stop(self._settings.limits.drain_s)] if self._spamd else []
        await asyncio.gather(super().shutdown(sockets), *mail)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._service.settle()

    def _stop(self, number: signal.Signals) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True
        self.stopped_by = number
        if self.force_exit and self._serving:
            self._serving.cancel()  # uvicorn would still wait for connections to close

    async def _follow(self) -> None:
        """Serve the releases that the follower reports."""
        path, seen = Path(self._settings.releases), 0
        pulse = Pulse(path)
        while self._settings.releases:
            await asyncio.sleep(LOOK_S)
            if words := pulse.told():
                self._tell(words)
            if (now := _written(path)) != seen:
                seen = now
                await self._exchange(path)

    async def _exchange(self, path: Path) -> None:
        metrics, deployments = self._service.metrics, self._service.deployments
        before, fault, began = deployments.current.release, "", time.monotonic()
        try:
            told = read_releases(path)
            if told is None or not await asyncio.to_thread(deployments.exchange, told.served, told.shadow):
                return
        except ArtefactError as error:
            fault = str(error)
        except Exception as error:  # out of memory or threads: the next version may find them
            fault = f"{type(error).__name__}: {error}"
        metrics.exchanges.labels("failed" if fault else "done").inc()
        current, shadow = deployments.current.release, deployments.shadow
        if current != before or not fault:
            metrics.serve(current.name, current.version)
            beside = f", version {shadow.release.version} shadows it" if shadow else ""
            again = before != current and before.version == current.version
            was = "another package of this number" if again else before.version
            self._tell(f"now serving {current.name} version {current.version} (before: {was}){beside}")
            if (took := time.monotonic() - began) > LATE_S:
                self._tell(f"loading version {current.version} took {took:.0f} s: this machine is busy")
            if not current.sealed:
                self._tell(f"version {current.version}: {UNSEALED}")
        if fault:
            self._tell(f"version {current.version} stays: another one cannot be served: {fault}")

    async def _fold(self) -> None:
        """Checkpoint the store's write-ahead log while nothing is written: a removal beside a reader could not."""
        archive = self._service.archive
        while archive:
            await asyncio.sleep(FOLD_S)
            if log_is_idle(archive.store, FOLD_S):
                await asyncio.to_thread(fold_log, archive.store)

    async def _log(self) -> None:
        """Log once a second what was done in it, if anything was, and what was refused before any route."""
        told = self._service.recent.rows
        while True:
            await asyncio.sleep(TICK_S)
            for line in self._door.occasions.lines():
                self._tell(line)
            rows, figures = self._service.recent.rows, Figures.of([self._service.recent.activity(TICK_S)])
            if rows != told and figures.p50_ms is not None and figures.p99_ms is not None:
                share = f"{figures.spam_share:.0%} spam, " if figures.spam_share is not None else ""
                waiting = self._service.deployments.current.waiting
                self._tell(
                    f"{rows - told:,} answered, {share}p50 {figures.p50_ms:.0f} ms, p99 {figures.p99_ms:.0f} ms"
                    + (f", {waiting:,} waiting" if waiting else "")
                )
            told = rows


@contextlib.contextmanager
def _archive(settings: Settings) -> Iterator[Archive | None]:
    """Open the store of the answers, and close it at the end."""
    if settings.capture == "off":
        yield None
        return
    capture = Capture(settings.datastore_uri, mode=settings.capture, timeout_s=settings.capture_seconds)
    try:
        with open_store(settings.datastore_uri) as store:
            yield Archive(capture, store, store.address.name)
    finally:
        capture.close(1.0)  # nothing waits any more


def _written(path: Path) -> int:
    """Return when a file was written, in nanoseconds; 0 if it has not been."""
    return path.stat().st_mtime_ns if path.is_file() else 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return uvloop's event loop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop
