"""Send batches of messages to a server, several in parallel, and parse its answers.

A batch goes out under one `X-Request-Id` however often it is sent, so a server that keeps its answers keeps them once.
It is sent again only where no answer came, or where the server asked for patience (408, 425, 429, 502, 503, 504), a
bounded number of times and within one deadline. Once several batches in a row met nobody, the server is taken for gone
and the rest is not sent.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import queue
import re
import ssl
import threading
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Literal
from urllib.parse import urlsplit

import httpx

from spamctl.schema.message import Prediction

# Parse a server's answer to a batch, and explain what deviates from the wire format.

_ERROR_CODE = re.compile(r"[A-Z][A-Z_]{1,39}")


def read_answers(body: bytes, messages: int) -> list[Prediction] | str:
    """Return the answers to so many messages, or say in a few words how the body strays from the wire format."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return "the answer is no JSON"
    rows = told.get("predictions") if isinstance(told, dict) else None
    if not isinstance(rows, list):
        return "the answer has no list of predictions"
    if len(rows) != messages:
        return f"{len(rows):,} predictions for {messages:,} messages"
    try:
        found = list(map(Prediction.from_wire, rows))
    except ValueError as stray:
        return str(stray)
    return found if len({one.uuid for one in found}) == messages else "two predictions have the same uuid"


def error_code(body: bytes) -> str:
    """Return the code in words of an error's body, such as INVALID_PARAMETER_VALUE; nothing if it has none."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    code = told.get("error_code") if isinstance(told, dict) else None
    return code if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else ""


Fate = Literal["answered", "refused", "garbled", "unanswered"]

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
AGAIN = frozenset({408, 425, 429, 502, 503, 504})
GONE = 3  # batches in a row that met nobody: no batch after them will fare better
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 4.0
_LARGEST_ANSWER = 32 * 2**20  # bytes
_UNSENT = "not sent, the server is gone"


@dataclass(frozen=True, slots=True)
class Target:
    """Address, token ("" for none), timeout and number of retries of a sender."""

    uri: str
    token: str = ""
    timeout_s: float = 60.0
    retries: int = 5


@dataclass(frozen=True, slots=True)
class Pace:
    """Most requests under way at once, and most messages per second (0: no limit)."""

    concurrency: int = 4
    rate: float = 0.0


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts of one request, and the id that it keeps when it is sent again."""

    request_id: str
    texts: tuple[str, ...]

    def body(self) -> bytes:
        """Return the request in JSON, ASCII only, which holds any text."""
        return json.dumps({"inputs": [{"text": text} for text in self.texts]}).encode()


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a numbered batch: its answers, or why there are none; the latency is the last attempt's."""

    number: int
    fate: Fate
    reason: str = ""
    answers: tuple[Prediction, ...] = ()
    latency_s: float = 0.0
    tries: int = 0


@dataclass(frozen=True, slots=True)
class _Try:
    """Result of one attempt, and how many seconds to wait before the next (None: there is none)."""

    outcome: Outcome
    pause_s: float | None = None


def send(batches: Iterable[Batch], target: Target, pace: Pace) -> Generator[Outcome, None, None]:
    """Send all batches and yield the result of each, in order of completion.

    The requests are made in a thread of their own, so what the reader does in between delays none of them. A reader
    that stops early stops the sending.
    """
    outcomes: queue.SimpleQueue[Outcome | BaseException | None] = queue.SimpleQueue()
    loop = asyncio.new_event_loop()
    sending = loop.create_task(_Sender(batches, target, pace, outcomes).run())

    def work() -> None:
        try:
            loop.run_until_complete(sending)
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            outcomes.put(error)
        outcomes.put(None)

    thread = threading.Thread(target=work, name="sender", daemon=True)
    thread.start()
    try:
        while (outcome := outcomes.get()) is not None:
            if isinstance(outcome, BaseException):
                raise outcome
            yield outcome
    finally:
        loop.call_soon_threadsafe(sending.cancel)
        thread.join()
        loop.close()


class _Sender:
    """Sender of batches in one event loop."""

    def __init__(
        self,
        batches: Iterable[Batch],
        target: Target,
        pace: Pace,
        outcomes: queue.SimpleQueue[Outcome | BaseException | None],
    ) -> None:
        self._batches = enumerate(batches)
        self._target, self._pace, self._outcomes = target, pace, outcomes
        self._sent = 0  # messages
        self._silent = 0  # batches in a row that met nobody

    async def run(self) -> None:
        """Run as many workers as there may be requests, each taking batch after batch."""
        self._began = time.monotonic()
        trusted = httpx.create_ssl_context()  # it takes a while, and all may use the same
        async with asyncio.TaskGroup() as workers:
            for _ in range(self._pace.concurrency):
                workers.create_task(self._work(trusted))

    async def _work(self, trusted: ssl.SSLContext) -> None:
        """Send batches over one connection; a shared pool would search all connections for each request."""
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "spamctl"}
        if self._target.token:
            headers["Authorization"] = f"Bearer {self._target.token}"
        async with httpx.AsyncClient(
            headers=headers,
            timeout=None,  # noqa: S113 - one deadline holds for a batch with all its tries
            trust_env=urlsplit(self._target.uri).hostname not in LOOPBACK,  # no proxy leads to this machine
            verify=trusted,
        ) as client:
            for number, batch in self._batches:
                await self._take(client, number, batch)

    async def _take(self, client: httpx.AsyncClient, number: int, batch: Batch) -> None:
        """Send a batch when it is its turn, unless the server is gone, and report the result."""
        if self._silent >= GONE:
            self._outcomes.put(Outcome(number, "unanswered", _UNSENT))
            return
        await self._turn(len(batch.texts))
        outcome = await self._deliver(client, number, batch)
        self._silent = self._silent + 1 if outcome.fate == "unanswered" else 0
        self._outcomes.put(outcome)

    async def _turn(self, messages: int) -> None:
        """Wait until the rate limit allows that many messages."""
        due = self._began + self._sent / self._pace.rate if self._pace.rate else 0.0
        self._sent += messages
        await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _deliver(self, client: httpx.AsyncClient, number: int, batch: Batch) -> Outcome:
        """Send one batch until it has an answer, or its time or retries run out."""
        deadline = time.monotonic() + self._target.timeout_s
        for tries in itertools.count(1):
            tried = await self._try(client, number, batch, deadline)
            outcome = replace(tried.outcome, tries=tries)
            if tried.pause_s is None or tries > self._target.retries:
                break
            pause_s = max(tried.pause_s, min(_FIRST_PAUSE_S * 2 ** (tries - 1), _LONGEST_PAUSE_S))
            if time.monotonic() + pause_s >= deadline:
                break
            await asyncio.sleep(pause_s)
        return outcome

    async def _try(self, client: httpx.AsyncClient, number: int, batch: Batch, deadline: float) -> _Try:
        """Make one attempt at a batch."""
        began = time.perf_counter()
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                status, headers, body = await _post(client, self._target.uri, batch)
        except TimeoutError:
            return _Try(Outcome(number, "unanswered", f"no answer within {self._target.timeout_s:g} s"))
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
            return _Try(Outcome(number, "unanswered", _cause(error)), 0.0)
        latency_s = time.perf_counter() - began
        if status != HTTPStatus.OK:
            outcome = Outcome(number, "refused", _named(status, body), latency_s=latency_s)
            return _Try(outcome, _patience(headers) if status in AGAIN else None)
        answers = read_answers(body, len(batch.texts)) if body is not None else "the answer is too large"
        if isinstance(answers, str):
            return _Try(Outcome(number, "garbled", answers, latency_s=latency_s))
        return _Try(Outcome(number, "answered", "", tuple(answers), latency_s))


async def _post(client: httpx.AsyncClient, uri: str, batch: Batch) -> tuple[int, httpx.Headers, bytes | None]:
    """Send one request; return status, headers and body, None instead of one that is too large to be an answer."""
    headers = {"X-Request-Id": batch.request_id}
    async with client.stream("POST", uri, content=batch.body(), headers=headers) as answer:
        body = bytearray()
        async for chunk in answer.aiter_bytes():
            body += chunk
            if len(body) > _LARGEST_ANSWER:
                return answer.status_code, answer.headers, None
    return answer.status_code, answer.headers, bytes(body)


def _named(status: int, body: bytes | None) -> str:
    """Describe an error by its status, and by the server's own word for it or HTTP's."""
    known = status in HTTPStatus._value2member_map_
    return f"{status} {error_code(body or b'') or (HTTPStatus(status).phrase if known else '')}".rstrip()


def _patience(headers: httpx.Headers) -> float:
    """Return how many seconds the server asks to be left alone: `Retry-After: 3`, or the date when it is over."""
    asked = headers.get("Retry-After", "").strip()
    if asked.isascii() and asked.isdigit():
        return float(asked[:9])
    try:
        until = parsedate_to_datetime(asked)
    except ValueError:
        return 0.0
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _cause(error: Exception) -> str:
    """Describe in a few words why there is no answer."""
    if isinstance(error, httpx.ConnectError):
        return "no connection"
    return "the connection broke" if isinstance(error, httpx.TransportError | OSError) else "no HTTP"
