"""Write answers in group commits: concurrent requests share one transaction, and are answered after it.

What is promised, for each `submit`:

* True means that its rows are in the database and on the disk, whatever is killed next.
* An answer comes within the timeout and a tenth of a second, even if the database hangs: a clock of its own sees to it.
* A failure means "not known to be stored", never "known not to be": a commit that was under way when the time ran out,
  or whose connection broke, may stand. Such a row exists unacknowledged; a retry under the same request id has the
  same uuid and writes nothing twice. What had not been handed to the database by then is never written later. Rows
  whose commit outlived their deadline are counted as `late`.
* A store that has failed for longer than the timeout is known to be down: from then on a request waits for a moment
  only, while the writer goes on trying; it recovers unaided.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy.exc import DBAPIError

from spamctl.errors import SpamctlError, UnavailableError
from spamctl.store.address import Address, parse
from spamctl.store.database import Fault, examine, fault_behind, fault_of, is_of_values, open_store
from spamctl.store.tables import CapturedRow, Earlier, ShadowVerdict
from spamctl.store.writer import Group, Sink

# Track one request's rows until it is answered, exactly once: stored in time, or not known to be.


@dataclass(slots=True, eq=False)
class Waiting:
    """A pending request; `settled` changes once, under capture's lock, and whoever changes it answers."""

    group: Group
    deadline: float  # by time.monotonic()
    earlier: Earlier = field(default_factory=dict)  # is told what was there already
    future: Future[bool] = field(default_factory=Future)
    settled: bool = False
    alone: bool = False  # in a transaction of its own: something in the group it was in is refused

    @property
    def rows(self) -> int:
        """Count the rows, of both tables."""
        return len(self.group.rows) + len(self.group.shadows)

    @property
    def characters(self) -> int:
        """Count the characters of the messages."""
        return sum(len(row.text) for row in self.group.rows)


# Check a store's file periodically while it is written: a failing disk or another program may damage it.
#
# What writes holds its pages in memory, and SQLite's log hides those of the file, so no write needs to notice.

EVERY_S = 15.0  # between two looks
SHARE = 50  # the times that a look's duration is waited for until the next: it takes 2 % of a core at most
LONGEST_S = 45.0

_DAMAGES = {Fault.DAMAGED, Fault.FOREIGN, Fault.BROKEN}

logger = logging.getLogger(__name__)


class Inspector:
    """Periodic integrity check of the SQLite file in its own thread, until closed; servers check their own databases.

    A file that takes longer than a second and a half is looked at for as long: `database.examine` says how.
    """

    def __init__(self, address: Address) -> None:
        self._address, self._every_s = address, EVERY_S
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="store-inspector", daemon=True)
        self.fault = ""  # may be shown to anyone
        if address.file:
            self._thread.start()

    def close(self) -> None:
        """Stop checking; a check that has begun ends by itself."""
        self._closed.set()

    def _look_on(self) -> None:
        pause_s = self._every_s
        while not self._closed.wait(pause_s):
            began = time.monotonic()
            self._tell(self._look())
            pause_s = max(self._every_s, min(LONGEST_S, SHARE * (time.monotonic() - began)))

    def _look(self) -> tuple[str, str]:
        """Return what is wrong with the file, for anyone and for the log; nothing if it is sound or cannot be read."""
        file = self._address.file
        assert file  # noqa: S101 - for the type checker
        try:
            if file.stat().st_size == 0:
                return "it was emptied", f"its file was emptied: {Fault.DAMAGED.cure}"
            examine(self._address, 1.0, create=False, check_pages=True)
        except DBAPIError as error:
            fault = fault_of(error)
            return (fault.words, f"{fault.words}: {fault.cure}") if fault in _DAMAGES else ("", "")
        except SpamctlError as error:
            return Fault.DAMAGED.words, str(error)
        except OSError:  # it is gone, which the next write notices
            return "", ""
        return "", ""

    def _tell(self, found: tuple[str, str]) -> None:
        before, (self.fault, why) = self.fault, found
        if self.fault and not before:
            logger.error("the store is not sound, and nothing more is written into it: %s", why)
        elif before and not self.fault:
            logger.warning("the store is sound again")


Mode = Literal["required", "best-effort"]

# A transaction must fit into a small write-ahead log. A row's uuid is random, so it may cost a page of the index.
_GROUP_ROWS = 1_000
_GROUP_CHARACTERS = 2**20
_TICK_S = 0.1
_MOMENT_S = 0.5
_UNREADY_S = 1.0


@dataclass(frozen=True, slots=True)
class CaptureStats:
    """Counts of captured rows since the start, and the state of the store; `fault` may be shown to anyone."""

    stored: int  # written
    repeated: int  # there already: a retry
    failed: int  # not acknowledged
    late: int  # of the failed, committed after all
    waiting: int
    reachable: bool
    fault: str


@dataclass(slots=True)
class _Counts:
    """Rows by what became of them, as in `CaptureStats`; read and written under the lock."""

    stored: int = 0
    repeated: int = 0
    failed: int = 0
    late: int = 0
    waiting: int = 0


class Capture:
    """Queue of rows from any thread, written by one thread of its own; create one per process, after the fork."""

    def __init__(
        self, address: str, *, mode: Mode = "required", timeout_s: float = 5.0, most_waiting: int = 64_000
    ) -> None:
        """Open or create the store at an address, and start the writer.

        `timeout_s` is how long a request may wait for its commit, `most_waiting` how many rows may wait at once.
        Raises UsageError or UnavailableError, as `open_store` does, if the store cannot be used now.
        """
        open_store(address, create=True).close()
        self._sink = Sink(parse(address))
        self._inspector = Inspector(parse(address))
        self._mode = mode
        self._timeout_s = timeout_s
        self._most_waiting = most_waiting
        self._lock = threading.Condition()
        self._queue: deque[Waiting] = deque()
        self._writing: list[Waiting] = []
        self._counts = _Counts()
        self._failing_since = 0.0  # 0: it works
        self._fault = self._why = ""
        self._told = False
        self._closing = False
        self._stopped = threading.Event()
        self._writer = threading.Thread(target=self._write_on, name="capture-writer", daemon=True)
        self._clock = threading.Thread(target=self._watch, name="capture-clock", daemon=True)
        self._writer.start()
        self._clock.start()

    def submit(
        self, rows: Sequence[CapturedRow], shadows: Sequence[ShadowVerdict] = (), earlier: Earlier | None = None
    ) -> Future[bool]:
        """Queue the rows of one request; the future is True once all of them are on the disk.

        A request that is sent again finds its rows there: what was answered is told to `earlier` by then.
        If they are not by the timeout, or too many rows wait, or capture is closing, the future raises
        UnavailableError (mode required; its words may be shown to anyone) or is False (best-effort). It cannot be
        cancelled. Never blocks.
        """
        group, deadline = Group(tuple(rows), tuple(shadows)), time.monotonic() + self._patience_s()
        waiting = Waiting(group, deadline, {} if earlier is None else earlier)
        waiting.future.set_running_or_notify_cancel()
        with self._lock:
            refusal = self._refusal(waiting.rows)
            self._counts.waiting += waiting.rows
            if waiting.rows and not refusal:
                self._queue.append(waiting)
                self._lock.notify_all()
        if refusal:
            self._fail([waiting], refusal)
        elif not waiting.rows:
            waiting.future.set_result(True)
        return waiting.future

    def stats(self) -> CaptureStats:
        """Return the counts so far; `reachable` is False once the store has failed for a second."""
        with self._lock:
            counts = self._counts
            unsound = self._inspector.fault
            reachable = self._failing_s() < _UNREADY_S and not unsound
            return CaptureStats(
                stored=counts.stored,
                repeated=counts.repeated,
                failed=counts.failed,
                late=counts.late,
                waiting=counts.waiting,
                reachable=reachable,
                fault=unsound or self._fault,
            )

    def close(self, timeout_s: float = 30.0) -> bool:
        """Accept no more, write what is queued, and close the store; return whether the writer finished.

        All futures are settled when it returns. It lasts no longer than `timeout_s`, in seconds: a database that hangs
        is left to hang. Calling it again is harmless.
        """
        self._inspector.close()
        with self._lock:
            self._closing = True
            self._lock.notify_all()
        self._writer.join(timeout_s)
        self._stopped.set()
        self._clock.join()
        with self._lock:
            left = [*self._queue, *self._writing]
        self._fail(left, "capture is closing")
        return not self._writer.is_alive()

    # The writer's thread

    def _write_on(self) -> None:
        """Write group after group until closed; probe a failed store while nothing is queued."""
        while (group := self._take()) is not None:
            try:
                if not group:
                    self._sink.probe()
                if not group or self._write(group):
                    self._recovered()
                self._sink.tidy()
            except (DBAPIError, SpamctlError, OSError) as error:
                fault = fault_behind(error)
                self._failing(
                    fault.words if fault else "it is not the store that it was", str(error) if not fault else ""
                )
                self._stopped.wait(0.01 if fault is Fault.LOCKED else _TICK_S)  # a lock was waited for already
        self._sink.close()

    def _take(self) -> list[Waiting] | None:
        """Wait for requests and return as many as one transaction holds; an empty group: probe the store; None: end."""
        with self._lock:
            while not self._queue:
                if self._closing:
                    return None
                if not self._lock.wait(_MOMENT_S if self._failing_since else None):
                    return []
            rows = characters = 0
            while self._queue and not (self._writing and (self._queue[0].alone or self._writing[-1].alone)):
                self._writing.append(self._queue.popleft())
                rows += self._writing[-1].rows
                characters += self._writing[-1].characters
                if rows >= _GROUP_ROWS or characters >= _GROUP_CHARACTERS:
                    break
            return list(self._writing)

    def _write(self, group: list[Waiting]) -> bool:
        """Write a group and settle it, and return whether any of it was still wanted.

        If that fails, put back what is still wanted, and raise. A transaction that wrote nothing proves nothing.
        """
        claimed: list[Waiting] = []

        def claim() -> Group:
            with self._lock:
                claimed[:] = [waiting for waiting in group if not waiting.settled]
            return Group(
                [row for waiting in claimed for row in waiting.group.rows],
                [shadow for waiting in claimed for shadow in waiting.group.shadows],
            )

        try:
            new, earlier = self._sink.write(claim)
        except Exception as error:
            if not is_of_values(error):
                self._put_back(group)
                raise
            self._part(group, error)
            return False
        self._acknowledge(claimed, new, earlier)
        return bool(claimed)

    def _part(self, group: list[Waiting], error: Exception) -> None:
        """Find the request whose values are refused, so that it fails alone; the error itself would show its text."""
        if len(group) == 1:
            fault = fault_behind(error) or Fault.REFUSED
            told = f"{type(error).__name__}: the store refuses the values" if fault is Fault.REFUSED else str(error)
            logger.error("%s of a request of %d rows", told, group[0].rows)
            self._fail(group, fault.words)
            self._put_back(group)
            return
        for waiting in group:
            waiting.alone = True
        self._put_back(group)

    def _put_back(self, group: list[Waiting]) -> None:
        """Requeue the rows that are still wanted for the next transaction."""
        with self._lock:
            self._writing.clear()
            self._queue.extendleft(waiting for waiting in reversed(group) if not waiting.settled)

    def _acknowledge(self, claimed: list[Waiting], new: int, earlier: Earlier) -> None:
        """Answer what was committed in time; count what was not."""
        with self._lock:
            self._writing.clear()
            self._counts.stored += new
            self._counts.repeated += sum(len(waiting.group.rows) for waiting in claimed) - new
            answered = []
            for waiting in claimed:
                self._counts.late += waiting.rows * waiting.settled
                self._counts.waiting -= waiting.rows * (not waiting.settled)
                if not waiting.settled:
                    waiting.settled = True
                    answered.append(waiting)
        for waiting in answered:
            waiting.earlier.update({row.uuid: earlier[row.uuid] for row in waiting.group.rows if row.uuid in earlier})
            waiting.future.set_result(True)

    def _recovered(self) -> None:
        """Record that the store works again, and log it if its failure was logged."""
        with self._lock:
            failed_s, told = self._failing_s(), self._told
            self._failing_since, self._fault, self._told = 0.0, "", False
        if told:
            logger.warning("capture works again after %.1f s", failed_s)

    # The clock's thread

    def _watch(self) -> None:
        """Fail requests that have timed out, even while the writer hangs."""
        while not self._stopped.wait(_TICK_S):
            now = time.monotonic()
            with self._lock:
                waiting_now = (*self._queue, *self._writing)
                expired = [one for one in waiting_now if one.deadline <= now and not one.settled]
                if expired:
                    self._failing(self._fault or "it does not answer in time")
                    self._queue = deque(waiting for waiting in self._queue if waiting.deadline > now)
                words, why = self._fault, self._why
                tell = self._failing_s() > _UNREADY_S and not self._told
                self._told |= tell
            if tell:
                logger.warning("capture waits for the store: %s", why)
            self._fail(expired, words)

    # Any thread

    def _failing(self, words: str, for_the_log: str = "") -> None:
        """Record that the store fails, since when, and why."""
        with self._lock:
            self._failing_since = self._failing_since or time.monotonic()
            self._fault, self._why = words, for_the_log or words

    def _refusal(self, rows: int) -> str:
        """Return why no more rows are accepted, or an empty string."""
        if unready := "capture is closing" if self._closing else self._inspector.fault:
            return unready
        return "too many rows wait for the store" if self._counts.waiting + rows > self._most_waiting else ""

    def _fail(self, requests: list[Waiting], words: str) -> None:
        """Answer that requests are not known to be stored."""
        with self._lock:
            failed = [waiting for waiting in requests if not waiting.settled]
            for waiting in failed:
                waiting.settled = True
                self._counts.failed += waiting.rows
                self._counts.waiting -= waiting.rows
        for waiting in failed:
            if self._mode == "required":
                waiting.future.set_exception(UnavailableError(f"the answer could not be stored: {words}"))
            else:
                waiting.future.set_result(False)

    def _failing_s(self) -> float:
        """Return for how long the store has failed, in seconds."""
        since = self._failing_since
        return time.monotonic() - since if since else 0.0

    def _patience_s(self) -> float:
        """Return how long a request may wait, in seconds: briefly if the store is known to be down."""
        return min(_MOMENT_S, self._timeout_s) if self._failing_s() > self._timeout_s else self._timeout_s
