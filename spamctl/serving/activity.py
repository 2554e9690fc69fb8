"""Keep recent answers of this worker and its siblings, and the metrics for Prometheus."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from spamctl.schema.codec import from_json, to_json

if TYPE_CHECKING:
    from spamctl.store.tables import Kept

SCOPE = "this replica"  # what the figures are of; others behind the same proxy have their own
MOST_VERDICTS = 30
MOST_CHARACTERS = 500
WINDOW_S = 60.0
_MOST_REQUESTS = 10_000


@dataclass(frozen=True, slots=True)
class Shown:
    """An answered message as the page shows it; `text` is hostile, and cut.

    Of a message that is in the store the text is left there, and read when it is shown: who removes it there removes
    it here. Only one that was not captured has it here, for as long as it is among the newest.
    """

    date: str  # ISO 8601, UTC
    text: str
    classification: str
    probability: float
    uuid: str
    model_version: str
    captured: bool = False


@dataclass(frozen=True, slots=True)
class Activity:
    """Answers of one process in a window of time, with its newest verdicts first."""

    rows_ever: int
    rows: int
    spam: int
    seconds: float
    latencies_ms: tuple[float, ...]  # one a request
    verdicts: tuple[Shown, ...]

    def to_json(self) -> str:
        """Write it in ASCII: a message may hold half a character."""
        return json.dumps(to_json(self))

    @classmethod
    def from_json(cls, told: str) -> Activity:
        """Read what `to_json` wrote; raise ValueError if it is anything else."""
        return from_json(Activity, json.loads(told))


@dataclass(frozen=True, slots=True)
class Figures:
    """Load of a server in a window of time; the latencies are in milliseconds, None without a request."""

    requests: int
    rows: int
    rows_per_second: float
    spam_share: float | None
    p50_ms: float | None
    p99_ms: float | None

    @classmethod
    def of(cls, activities: Sequence[Activity]) -> Figures:
        """Aggregate the activity of several processes, each in its own time."""
        rows = sum(one.rows for one in activities)
        latencies = sorted(latency for one in activities for latency in one.latencies_ms)
        return cls(
            requests=len(latencies),
            rows=rows,
            rows_per_second=sum(one.rows / one.seconds for one in activities),
            spam_share=sum(one.spam for one in activities) / rows if rows else None,
            p50_ms=_quantile(latencies, 0.5),
            p99_ms=_quantile(latencies, 0.99),
        )


@dataclass(frozen=True, slots=True)
class _Request:
    at: float  # by time.monotonic()
    rows: int
    spam: int
    latency_ms: float


class RecentAnswers:
    """Ring buffer of this process's newest answers; used from the event loop only."""

    def __init__(self) -> None:
        self._verdicts: deque[Shown] = deque(maxlen=MOST_VERDICTS)
        self._requests: deque[_Request] = deque(maxlen=_MOST_REQUESTS)
        self._began = time.monotonic()
        self.rows = 0

    def add(self, answers: Sequence[Shown], spam: int, rows: int, latency_ms: float) -> None:
        """Remember one answered request; of its messages only the last few need to be given."""
        self._verdicts.extend(answers)
        self._requests.append(_Request(time.monotonic(), rows, spam, latency_ms))
        self.rows += rows

    def activity(self, window_s: float = WINDOW_S) -> Activity:
        """Return what was answered in the last `window_s` seconds, or since the start if that is shorter."""
        now = time.monotonic()
        requests = [request for request in self._requests if request.at >= now - window_s]
        seconds = min(window_s, max(now - self._began, 1.0))
        if len(requests) == self._requests.maxlen:
            seconds = max(now - requests[0].at, 1e-3)
        return Activity(
            rows_ever=self.rows,
            rows=sum(request.rows for request in requests),
            spam=sum(request.spam for request in requests),
            seconds=seconds,
            latencies_ms=tuple(round(request.latency_ms, 3) for request in requests),
            verdicts=tuple(reversed(self._verdicts)),
        )


def newest(activities: Sequence[Activity]) -> list[Shown]:
    """Return the newest verdicts of several processes, the newest first."""
    verdicts = [verdict for one in activities for verdict in one.verdicts]
    return sorted(verdicts, key=lambda verdict: verdict.date, reverse=True)[:MOST_VERDICTS]


def shown(text: str) -> str:
    """Cut a message to what a page shows of it."""
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "…"


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


# Share the latest answers among the workers of one server, so that any of them can report for all.
#
# Each listens on a socket in a folder that only its user may enter: no message is written anywhere for it.

PATIENCE_S = 0.5  # a sibling that is busy for longer is left out of one answer
MOST_BYTES = 2**22
SUFFIX = ".recent"

logger = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def answering_siblings(folder: Path, tell: Callable[[], str]) -> AsyncIterator[None]:
    """Serve what `tell` returns to sibling workers while the block runs; alone, with a warning, if that fails."""
    path = _own(folder)

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(tell().encode())
            writer.close()
            await writer.wait_closed()

    try:
        server = await asyncio.start_unix_server(answer, path)
    except OSError as fault:  # the path may be longer than a socket's may be
        logger.warning("GET /recent tells of one worker only: %s", fault.strerror or "its socket cannot be made")
        yield
        return
    try:
        async with server:
            yield
    finally:
        _forget(path)


async def ask_siblings(folder: Path) -> list[str]:
    """Return what each sibling says; those that are gone, or busy for too long, say nothing."""
    return [words for words in await asyncio.gather(*map(_ask, _others(folder))) if words]


def _own(folder: Path) -> Path:
    return folder / f"{os.getpid()}{SUFFIX}"


def _others(folder: Path) -> list[Path]:
    return sorted(set(folder.glob(f"*{SUFFIX}")) - {_own(folder)})


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)


async def _ask(path: Path) -> str:
    try:
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_unix_connection(path, limit=MOST_BYTES)
            with contextlib.closing(writer):
                return (await reader.read(-1)).decode()
    except ConnectionRefusedError:  # it was killed, and could not tidy up
        _forget(path)
    except (OSError, TimeoutError):
        pass
    return ""


# Collect the server's metrics for Prometheus.

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # where several workers write their figures; Prometheus's own name
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)


def shared_folder() -> Path | None:
    """Return the folder that the workers of one server share, if there are several."""
    return Path(os.environ[SHARED_FOLDER]) if SHARED_FOLDER in os.environ else None


class Metrics:
    """Prometheus metrics of one server."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        counter = functools.partial(Counter, registry=registry)
        self._served: tuple[str, str] | None = None
        self.requests = counter("spamctl_requests", "Requests by route and status.", ["route", "status"])
        self.rows = counter("spamctl_rows", "Messages classified, by verdict and version.", ["verdict", "version"])
        self.out_of_reach = counter(
            "spamctl_out_of_reach_rows", "Messages unlike all that was trained on.", ["version"]
        )
        self.seconds = Histogram(
            "spamctl_request_seconds", "Time from request to answer.", registry=registry, buckets=_SECONDS
        )
        self.batch_rows = Histogram(
            "spamctl_batch_rows", "Messages in one run of the engine.", registry=registry, buckets=_ROWS
        )
        self.batch_seconds = Histogram(
            "spamctl_batch_seconds", "Time of one run of the engine.", registry=registry, buckets=_SECONDS
        )
        self.in_flight = Gauge(
            "spamctl_in_flight", "Requests being answered.", registry=registry, multiprocess_mode="livesum"
        )
        self.waiting = Gauge(
            "spamctl_waiting_rows", "Messages that wait for the engine.", registry=registry, multiprocess_mode="livesum"
        )
        self.captured = counter("spamctl_captured_rows", "Answers stored before they were given.")
        self.capture_failures = counter("spamctl_capture_failed_rows", "Answers not known to be stored.")
        self.shadowed = counter(
            "spamctl_shadow_rows", "Messages scored by the shadow version, or left out.", ["outcome"]
        )
        self.exchanges = counter("spamctl_exchanges", "Attempts to serve another version, by outcome.", ["outcome"])
        self.version = Gauge(
            "spamctl_model_version",
            "1 for the version that is served, 0 for one that was.",
            ["model", "version"],
            registry=registry,
            multiprocess_mode="liveall",
        )

    def count_verdicts(self, verdicts: Iterable[Kept]) -> None:
        """Count the verdicts of one answer, each with the version that gave it."""
        for verdict in verdicts:
            self.rows.labels(verdict.classification, verdict.model_version).inc()
            if verdict.in_reach is False:
                self.out_of_reach.labels(verdict.model_version).inc()

    def on_batch(self, rows: int, seconds: float) -> None:
        """Count one run of the engine."""
        self.batch_rows.observe(rows)
        self.batch_seconds.observe(seconds)

    def serve(self, model: str, version: str) -> None:
        """Set the metric of the served version."""
        if self._served:
            self.version.labels(*self._served).set(0)
        self._served = (model, version)
        self.version.labels(*self._served).set(1)

    def page(self) -> bytes:
        """Return all figures in Prometheus's text format, summed over the workers if there are several."""
        if not shared_folder():
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
