"""Score rows that wait together in one batch, the oldest first, in one thread of its own.

Rows of one padded width share a batch, whichever requests they come from; while the engine works, the next rows gather,
so nobody waits for a batch to fill. A row's turn is when its request came, and a little later for each row before it
in that request: a long request does not hold up the short ones behind it.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from spamctl.errors import SpamctlError
from spamctl.message import Verdict
from spamctl.model.engine import TOKENS_PER_BATCH, Engine, in_lanes
from spamctl.model.tokens import TokenRow

ROW_TURN_S = 0.005  # about what a row costs


@dataclass(frozen=True, slots=True)
class Scored:
    """Hold a verdict, and the raw logit that it was made of."""

    verdict: Verdict
    logit: float


@dataclass(slots=True, eq=False)
class _Job:
    """Hold one request's texts until each has its logit."""

    texts: Sequence[str]
    came: float  # by time.monotonic()
    future: Future[list[Scored]] = field(default_factory=Future)
    rows: list[TokenRow] = field(default_factory=list)
    logits: list[float | None] = field(default_factory=list)
    missing: int = 0


@dataclass(frozen=True, slots=True, order=True)
class _Waiting:
    """Hold one row in its queue, ordered by its turn."""

    turn: float
    number: int
    job: _Job = field(compare=False)
    index: int = field(compare=False)

    @property
    def row(self) -> TokenRow:
        """Return the row's tokens."""
        return self.job.rows[self.index]


class Scorer:
    """Answer texts of any thread with an engine; close it when it is not needed any more."""

    def __init__(
        self, load: Callable[[], Engine], *, cached_rows: int = 0, on_batch: Callable[[int, float], None] | None = None
    ) -> None:
        """Load the engine and begin; raise what `load` raises.

        `cached_rows` verdicts are remembered by their tokens, `on_batch` hears of rows and seconds.
        """
        self._loaded: Future[None] = Future()
        self._cache = _Cache(cached_rows)
        self._on_batch = on_batch or (lambda _rows, _seconds: None)
        self._lock = threading.Condition()
        self._inbox: list[_Job] = []
        self._queues: dict[int, list[_Waiting]] = {}  # by padded width
        self._number = itertools.count()
        self._taken = self._finished = 0  # rows; each is counted by one side only
        self._closing = False
        self._thread = threading.Thread(target=self._live, args=(load,), name="scorer", daemon=True)
        self._thread.start()
        self._loaded.result()

    @property
    def waiting(self) -> int:
        """Count the rows that have no verdict yet."""
        return self._taken - self._finished

    def submit(self, texts: Sequence[str]) -> Future[list[Scored]]:
        """Hand over the texts of one request; the future holds one score a text, in order.

        Cancelling the future takes its rows out of the queue. It raises SpamctlError once the scorer is closed. Never
        blocks.
        """
        job = _Job(texts, time.monotonic())
        if not texts:
            job.future.set_result([])
            return job.future
        with self._lock:
            closed = self._closing
            if not closed:
                self._inbox.append(job)
                self._taken += len(texts)
                self._lock.notify()
        if closed:
            job.future.set_exception(SpamctlError("this version is not served any more"))
        return job.future

    def close(self) -> None:
        """Score what waits, then end the thread."""
        with self._lock:
            self._closing = True
            self._lock.notify()
        self._thread.join()

    def _live(self, load: Callable[[], Engine]) -> None:
        """Load, score until closed, and let the engine go, all in this thread.

        OpenVINO gives the thread that compiles a model a stack for its signals, and takes it back in the thread that
        drops the model. Were these two, the next signal would end the process; the main thread gets the signals.
        """
        try:
            self._engine = load()
        except BaseException as error:
            self._loaded.set_exception(error)
            return
        self._loaded.set_result(None)
        self._work()
        del self._engine

    def _work(self) -> None:
        while self._gather():
            batch = self._next_batch()
            if batch:
                self._score(batch)

    def _gather(self) -> bool:
        """Take in new requests, waiting for one if there is nothing to do; tell whether there is any work."""
        with self._lock:
            while not (self._inbox or self._queues or self._closing):
                self._lock.wait()
            jobs, self._inbox = self._inbox, []
        for job in jobs:
            try:
                self._tokenize(job)
            except Exception as error:
                self._finished += len(job.texts)
                self._fail(job, error)
        return bool(jobs or self._queues)

    def _tokenize(self, job: _Job) -> None:
        """Put a request's rows into their queues; what is remembered needs no turn."""
        job.rows = self._engine.tokenize(job.texts)
        job.logits = [self._cache.get(row) for row in job.rows]
        for index, row in enumerate(job.rows):
            if job.logits[index] is None:
                job.missing += 1
                waiting = _Waiting(job.came + job.missing * ROW_TURN_S, next(self._number), job, index)
                heapq.heappush(self._queues.setdefault(in_lanes(len(row.ids)), []), waiting)
        self._finished += len(job.rows) - job.missing
        if not job.missing:
            self._settle(job)

    def _next_batch(self) -> list[_Waiting]:
        """Take the row whose turn it is, and the next of its width, as many as a batch holds."""
        batch: list[_Waiting] = []
        if not self._queues:
            return batch
        width = min(self._queues, key=lambda width: self._queues[width][0])
        queue = self._queues[width]
        while queue and len(batch) < max(1, TOKENS_PER_BATCH // width):
            waiting = heapq.heappop(queue)
            if waiting.job.future.done():  # given up, or failed
                self._finished += 1
            else:
                batch.append(waiting)
        if not queue:
            del self._queues[width]
        return batch

    def _score(self, batch: list[_Waiting]) -> None:
        """Run one batch, and answer the requests that are complete with it."""
        began = time.perf_counter()
        rows = [waiting.row for waiting in batch]
        try:
            logits = self._engine.logits(rows, batches=[range(len(rows))]).tolist()
        except Exception as error:
            for waiting in batch:
                self._fail(waiting.job, error)
            return
        finally:
            self._finished += len(batch)
        for waiting, logit in zip(batch, logits, strict=True):
            job = waiting.job
            job.logits[waiting.index] = logit
            self._cache.put(waiting.row, logit)
            job.missing -= 1
            if not job.missing:
                self._settle(job)
        self._on_batch(len(batch), time.perf_counter() - began)

    def _settle(self, job: _Job) -> None:
        """Answer a request all of whose rows have their logit, unless it has been given up."""
        logits = np.array(job.logits, dtype=np.float64)
        verdicts = self._engine.verdicts(job.rows, logits)
        if job.future.set_running_or_notify_cancel():
            job.future.set_result([Scored(*pair) for pair in zip(verdicts, logits.tolist(), strict=True)])

    def _fail(self, job: _Job, error: Exception) -> None:
        """Answer a request with what went wrong, once."""
        if not job.future.done() and job.future.set_running_or_notify_cancel():
            job.future.set_exception(error)


class _Cache:
    """Remember the logits of the rows that were asked for last, by their tokens; used by one thread only."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._logits: OrderedDict[tuple[int, ...], float] = OrderedDict()

    def get(self, row: TokenRow) -> float | None:
        """Return the logit of a row with the same tokens."""
        if not self._rows:
            return None
        logit = self._logits.get(key := tuple(row.ids))
        if logit is not None:
            self._logits.move_to_end(key)
        return logit

    def put(self, row: TokenRow, logit: float) -> None:
        """Remember a row, and forget the one that was asked for longest ago."""
        if self._rows:
            self._logits[tuple(row.ids)] = logit
            if len(self._logits) > self._rows:
                self._logits.popitem(last=False)
