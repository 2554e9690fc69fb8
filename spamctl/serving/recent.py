"""Keep recent answers for the page and the log: the newest verdicts, the rate, the latency."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from spamctl.schema.codec import from_json, to_json

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


class Recent:
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
