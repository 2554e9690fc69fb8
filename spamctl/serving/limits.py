"""Limit the connections of a process, and the size and the duration of everything on each."""

from __future__ import annotations

import asyncio
import heapq
import resource
import uuid
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from spamctl.serving.access import HEADERS, Refusal, answer, of_status
from spamctl.serving.log import EventCounters

# Limit the connections of a process, with timeouts, and close an idle one for the next when all places are taken.

MOST_CONNECTIONS = 1024  # each may hold 64 KiB of a head, and as much of a body, that no other bound counts
LEAST_CONNECTIONS = 8
SPARE = 32  # places beyond the bound: who asks whether the process lives is answered even if all are at work
OTHER_FILES = 128  # left to the store, to a version that is being loaded, and to connections that are just closing
CANDIDATES = 64

MADE_ROOM = "connections closed to make room for new ones, since all places were taken"
NO_ROOM = "connections refused, since all places were taken and at work"
OVERDUE = "connections closed that took too long over a request or an answer"
NO_HTTP = "requests refused that were no HTTP, or that had too much around their body"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Timeouts of a client in seconds, by what it has to do."""

    idle_s: float = 74.0  # to ask, or to ask again; the second that is left is that of the watch
    request_s: float = 30.0  # to end a head that it began, or a body that was answered before its end
    answer_s: float = 30.0  # to take what it is sent
    last_s: float = 10.0  # to read a refusal, and to stop sending


class Guest(Protocol):
    """A connection, as the door sees it."""

    def waiting_since(self) -> float | None:
        """Return since when the client is waited for, by the loop's clock; None while it waits for us."""

    def look(self, now: float) -> bool:
        """Close the connection if the client timed out; return whether it did."""

    def abort(self) -> None:
        """Close the connection at once."""


class ConnectionLimiter:
    """All connections of a process; used from the event loop only."""

    def __init__(self, most: int = 0, patience: Timeouts | None = None, occasions: EventCounters | None = None) -> None:
        """Allow that many connections, by default nearly as many as the process may have files."""
        self.most = most or most_connections()
        self.patience = patience or Timeouts()
        self.occasions = occasions or EventCounters()
        self._guests: set[Guest] = set()
        self._next_to_go: deque[tuple[float, Guest]] = deque()
        self._watch: asyncio.TimerHandle | None = None

    def enter(self, guest: Guest, loop: asyncio.AbstractEventLoop) -> None:
        """Admit a connection; if all places are taken, end one that waits for its client instead."""
        self._guests.add(guest)
        if self._watch is None:
            self._watch = loop.call_later(self._tick_s, self._look, loop)
        if len(self._guests) > self.most:
            if self._make_room(guest):
                self.occasions.count(MADE_ROOM)
            elif len(self._guests) > self.most + SPARE:
                self.occasions.count(NO_ROOM)
                guest.abort()

    def leave(self, guest: Guest) -> None:
        """Remove a closed connection."""
        self._guests.discard(guest)

    @property
    def _tick_s(self) -> float:
        times = self.patience
        return min(1.0, times.idle_s / 4, times.request_s / 4, times.answer_s / 4, times.last_s / 4)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Check each connection, and again in a moment while there are any."""
        now = loop.time()
        for guest in list(self._guests):
            if guest.look(now):
                self.occasions.count(OVERDUE)
        self._watch = loop.call_later(self._tick_s, self._look, loop) if self._guests else None

    def _make_room(self, newcomer: Guest) -> bool:
        """Close the connection whose client has been waited for longest; return whether there was one."""
        for _ in range(2):
            while self._next_to_go:
                since, guest = self._next_to_go.popleft()
                if guest is not newcomer and guest in self._guests and guest.waiting_since() == since:
                    self._guests.discard(guest)
                    guest.abort()
                    return True
            self._next_to_go = self._longest_waiting()  # many at once: newcomers may come by the thousand
        return False

    def _longest_waiting(self) -> deque[tuple[float, Guest]]:
        """Find some connections that wait for their clients, and since when, the longest waiting first."""
        waiting = ((since, id(guest), guest) for guest in self._guests if (since := guest.waiting_since()) is not None)
        return deque((since, guest) for since, _, guest in heapq.nsmallest(CANDIDATES, waiting))


def most_connections() -> int:
    """Return how many connections this process can have, by the number of files that it may open."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(LEAST_CONNECTIONS, min(MOST_CONNECTIONS, files - OTHER_FILES - SPARE))


# Apply back-pressure to clients, and write an answer in one piece.


class Flow(FlowControl):
    """Flow control: nothing more is read from a client while requests of it wait for their turn."""

    def __init__(self, transport: asyncio.Transport, queue: deque[Any]) -> None:
        super().__init__(transport)
        self._queue = queue

    def resume_reading(self) -> None:
        """Resume reading, if nothing waits."""
        if not self._queue:
            super().resume_reading()


class OnePiece:
    """Transport that writes head and body of an answer at once; uvicorn would send two packets."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held: bytes | None = None

    def write(self, data: bytes) -> None:
        """Buffer the head for the data after it, or write it soon if none comes."""
        if self._held is None:
            self._held = data
            self._loop.call_soon(self.flush)
        else:
            self._held, held = b"", self._held
            self._transport.write(held + data if held else data)

    def flush(self) -> None:
        """Write what is buffered."""
        if self._held:
            self._held, held = b"", self._held
            self._transport.write(held)

    def close(self) -> None:
        """Close the connection after the buffered data."""
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Return whether the connection has ended, or will."""
        return self._transport.is_closing()


MOST_BYTES = 64 * 1024
MOST_LINES = 200  # of a head: each costs many times its length
MOST_LEFT_BYTES = 64 * 2**20  # of a body that comes after its answer; a connection that brings more ends
PIECE = 4096
BREATH_S = 0.05  # between two looks at what a client sends that has been refused
MOST_QUEUED = 16  # requests that wait for the answer to an earlier one, before the rest is left unread
FREE = 8  # bytes of chunk sizes and their like that a byte of a body may bring with it

_UPGRADE = frozenset({b"upgrade", b"http2-settings"})


class Connection(HttpToolsProtocol):
    """uvicorn's HTTP protocol with limits on how long a client is waited for and how large a head or trailer gets.

    The door times each state in which the client has something to do:

    * it has not asked, or it has been answered: `idle_s`, whatever comes that is no request;
    * it has begun a head, or has been answered before the end of its body: `request_s`;
    * it does not take its answer: `answer_s`;
    * it has been refused, and may read that: `last_s`.

    While a route reads a body or makes an answer, the route keeps the time.
    """

    def __init__(self, door: ConnectionLimiter, **more: Any) -> None:
        super().__init__(**more)
        self._door = door
        self._since = 0.0  # when the present state began
        self._stalled: float | None = None  # since when the client takes nothing of its answer
        self._running: RequestResponseCycle | None = None  # `cycle` is the newest, this one is being answered
        self._in_head = self._in_body = self._upgrading = False
        self._around = 0  # bytes of a head, or of all that is no body since the last of it
        self._body = 0  # bytes of the body in the piece that is being parsed
        self._left = 0  # bytes of the body that came after the answer
        self._unparsed = memoryview(b"")
        self._deaf = self._ended = False  # we read no more; the client says no more
        self._last_words: Refusal | None = None

    # What the loop tells

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Start the timeout for a request."""
        super().connection_made(transport)
        self.flow = Flow(transport, self.pipeline)
        self._since = self.loop.time()
        self._door.enter(self, self.loop)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timeouts."""
        self._door.leave(self)
        self._deaf, self._unparsed = True, memoryview(b"")
        self._disconnect(self._running)  # uvicorn tells the newest only
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the data in small pieces, so that no count goes far over its limit."""
        if self._deaf:
            self.flow.pause_reading()
            self.loop.call_later(BREATH_S, self.flow.resume_reading)
        elif len(data) <= PIECE and not self._unparsed:
            self._parse(data)
            self._parse_on()
        else:
            self._unparsed = memoryview(bytes(self._unparsed) + data if self._unparsed else data)
            self._parse_on()

    def eof_received(self) -> bool:  # type: ignore[override]  # as asyncio has it
        """Answer complete requests of a client that has closed its sending side."""
        self._ended = True
        if self._in_body and self.pipeline:
            self.pipeline.popleft()  # this one will never be whole
        return self._is_at_work() and not self._awaits_body()

    def pause_writing(self) -> None:
        """Start the timeout for the client to read its answer."""
        self._stalled = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Resume the answer."""
        self._stalled = None
        super().resume_writing()

    def shutdown(self) -> None:
        """Close once pending requests are answered."""
        if self._deaf and not self._is_at_work():
            self.abort()
        else:
            super().shutdown()

    # What the door asks

    def waiting_since(self) -> float | None:
        """Return since when the client is waited for, by the loop's clock; None while it waits for us."""
        if self._stalled is not None:
            return self._stalled
        return None if self._is_at_work() and not self._awaits_body() else self._since

    def look(self, now: float) -> bool:
        """Close the connection if the client timed out; return whether it did so over a request or an answer."""
        term = self._term()
        if term is None or now - term[0] <= term[1]:
            return False
        overdue = not self._deaf and (self._in_head or self._in_body or self._stalled is not None)
        if self._in_head and not self._deaf and self._stalled is None and not self.transport.is_closing():
            self._refuse(of_status(408, "the head of the request did not come in time"))
        else:
            self.abort()
        return overdue

    def _term(self) -> tuple[float, float] | None:
        """Return since when the client is waited for, and for how many seconds it may be; None while it waits."""
        patience = self._door.patience
        if self._stalled is not None:
            return self._stalled, patience.answer_s
        if self._deaf and self._last_words is None:
            return self._since, patience.last_s
        if self._is_at_work():
            return None
        if self.transport.is_closing():
            return self._since, patience.answer_s
        return self._since, patience.request_s if self._in_head or self._in_body else patience.idle_s

    def abort(self) -> None:
        """Close the connection at once."""
        self._deaf = True
        self.transport.abort()

    # What the parser tells

    def on_message_begin(self) -> None:
        """Start the timeout for the head that has begun."""
        super().on_message_begin()
        self._in_head, self._around, self._since = True, 0, self.loop.time()

    def on_headers_complete(self) -> None:
        """Leave the body to the routes, which limit it."""
        if self.parser.should_upgrade():
            self._upgrading = True
            return
        self._in_head, self._around, self._left, self._since = False, 0, 0, self.loop.time()
        super().on_headers_complete()
        self._in_body = True
        self.headers = []  # trailers go there, and from there nowhere: whoever let the request through saw none of them

    def on_body(self, body: bytes) -> None:
        """Count what the routes will not read."""
        self._body += len(body)
        if self.cycle.response_complete:
            self._left += len(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for the answer, or for the next request."""
        if self._upgrading:
            return
        self._in_body, self._around = False, 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Continue with the next queued request, or wait for one."""
        self.server_state.total_requests += 1
        self._piece.flush()
        self._since = self.loop.time()
        if self.transport.is_closing():
            return
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._last_words is not None:
            self._say(self._last_words)
            return
        if not self.pipeline and self._unparsed:
            self._parse_on()
        self.flow.resume_reading()
        if self._ended and not self._is_at_work():
            self.transport.close()

    # The parsing itself

    def _parse_on(self) -> None:
        """Parse received data piece by piece, as long as few requests are queued."""
        while self._unparsed and len(self.pipeline) <= MOST_QUEUED:
            piece, self._unparsed = self._unparsed[:PIECE], self._unparsed[PIECE:]
            self._parse(piece)

    def _parse(self, piece: bytes | memoryview) -> None:
        """Parse a piece, and refuse invalid HTTP, or too much outside of bodies."""
        self._body = 0
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(bytes(piece[upgrade.args[0] :]))
            return
        except httptools.HttpParserError:
            self._refuse_noise("this is no HTTP that is read here: send HTTP/1.1")
            return
        self._around = max(0, self._around + len(piece) - (1 + FREE) * self._body)
        if self._around > MOST_BYTES:
            what = "what is around the body" if self._in_body else "the head of the request"
            self._refuse_noise(f"{what} is longer than {MOST_BYTES >> 10} KiB")
        elif len(self.headers or ()) > MOST_LINES and (self._in_head or self._in_body):
            self._refuse_noise(f"the request has more than {MOST_LINES} header lines")
        elif self._left > MOST_LEFT_BYTES:
            self._leave()

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Parse a head again without its upgrade request: the parser would take the body for the other protocol."""
        self._upgrading = False
        method, version = self.parser.get_method(), self.parser.get_http_version().encode("ascii")
        if method == b"CONNECT":
            self._refuse_noise("this is no proxy: send GET or POST", 405)
            return
        lines = [method + b" " + self.url + b" HTTP/" + version]
        lines += [name + b": " + value for name, value in self.headers if name not in _UPGRADE]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
        self._unparsed = memoryview(b"\r\n".join([*lines, b"", rest]) + bytes(self._unparsed))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running, self._piece = cycle, OnePiece(self.transport, self.loop)
        cycle.transport = self._piece  # type: ignore[assignment]  # all that it uses of one
        super()._start_asgi_task(cycle, app)

    def _is_at_work(self) -> bool:
        """Return whether an answer is being produced."""
        return self._running is not None and not self._running.response_complete

    def _awaits_body(self) -> bool:
        """Return whether the request that is being answered has not been received in full."""
        return self._in_body and self._running is self.cycle

    # The end

    def _refuse_noise(self, message: str, status: int = 400) -> None:
        """Refuse what no route could answer; it is counted, and not logged each time."""
        self._door.occasions.count(NO_HTTP)
        self._refuse(of_status(status, message))

    def _refuse(self, refusal: Refusal) -> None:
        """Answer a request that cannot go on, after all that came before it, and read no more."""
        self._deaf, self._unparsed = True, memoryview(b"")
        if self.transport.is_closing():
            return
        if self._in_body and self._running is not self.cycle:
            self.pipeline.popleft()
        if self._awaits_body():
            self._disconnect(self.cycle)
            if self.cycle.response_started:
                self._leave()
                return
        elif self._is_at_work():
            self._last_words = refusal
            return
        self._say(refusal)

    def _disconnect(self, cycle: RequestResponseCycle | None) -> None:
        """Notify a route that the client has gone: nothing more is received or sent."""
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()

    def _say(self, refusal: Refusal) -> None:
        """Write a refusal, and close."""
        self._last_words = None
        self.transport.write(answer(refusal, str(uuid.uuid4()), HEADERS))
        self._leave()

    def _leave(self) -> None:
        """Close our side, and drain the client's for a little while.

        If we ended at once, what the client is still sending would make its system throw our last words away.
        """
        self._deaf, self._unparsed, self._since = True, memoryview(b""), self.loop.time()
        if self._ended:
            self.transport.close()
        elif not self.transport.is_closing():
            self.flow.resume_reading()
            self.transport.write_eof()
