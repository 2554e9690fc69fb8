"""Limit the connections of a process, with timeouts, and close an idle one for the next when all places are taken."""

from __future__ import annotations

import asyncio
import heapq
import resource
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from spamctl.serving.telling import Occasions

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
class Patience:
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


class Door:
    """All connections of a process; used from the event loop only."""

    def __init__(self, most: int = 0, patience: Patience | None = None, occasions: Occasions | None = None) -> None:
        """Allow that many connections, by default nearly as many as the process may have files."""
        self.most = most or most_connections()
        self.patience = patience or Patience()
        self.occasions = occasions or Occasions()
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
