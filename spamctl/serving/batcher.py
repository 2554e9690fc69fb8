"""Batch queued rows, the oldest first, cache the logits of repeated ones, and score them in threads.

Rows of one padded width share a batch, whichever requests they come from; while the engine works, the next rows gather,
so nobody waits for a batch to fill. A row's turn is when its request came, and a little later for each row before it
in that request: a long request does not hold up the short ones behind it.

The engine scores several batches at a time once it has its streams. They take memory, so they are opened only where
rows keep waiting behind the batch that is scored.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from spamctl.engine.engine import TOKENS_PER_BATCH, Engine, rounded_up
from spamctl.engine.tokens import TokenRow
from spamctl.errors import SpamctlError
from spamctl.schema.message import Verdict

# Cache the logits of recent messages: a campaign sends the same one again and again.


class LogitCache:
    """LRU cache of logits, keyed by everything that they are computed from; used by one thread at a time.

    Texts that were cut share their tokens, and may differ in what the n-grams beyond them say: the margin counts, too.
    """

    def __init__(self, rows: int) -> None:
        """Create a cache of that many rows; 0 disables it."""
        self._rows = rows
        self._logits: OrderedDict[tuple[float, ...], float] = OrderedDict()

    def get(self, row: TokenRow) -> float | None:
        """Return the logit of a row with the same tokens and the same margin."""
        if not self._rows:
            return None
        logit = self._logits.get(key := (row.margin, *row.ids))
        if logit is not None:
            self._logits.move_to_end(key)
        return logit

    def put(self, row: TokenRow, logit: float) -> None:
        """Add a row, and evict the least recently used one."""
        if self._rows:
            self._logits[row.margin, *row.ids] = logit
            if len(self._logits) > self._rows:
                self._logits.popitem(last=False)


ROW_TURN_S = 0.005  # about what a row costs
PRESSED = 50  # so many more batches with rows waiting behind them than without

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Scored:
    """A verdict, the raw logit that it is based on, and how many tokens of the message the model read."""

    verdict: Verdict
    logit: float
    tokens: int


@dataclass(slots=True, eq=False)
class _Job:
    """Texts of one request, until each has its logit."""

    texts: Sequence[str]
    came: float  # by time.monotonic()
    future: Future[list[Scored]] = field(default_factory=Future)
    rows: list[TokenRow] = field(default_factory=list)
    logits: list[float | None] = field(default_factory=list)
    missing: int = 0
    over: bool = False  # answered, or being answered by one thread


@dataclass(frozen=True, slots=True, order=True)
class _Waiting:
    """A queued row, ordered by its turn."""

    turn: float
    number: int
    job: _Job = field(compare=False)
    index: int = field(compare=False)

    @property
    def row(self) -> TokenRow:
        """Return the row's tokens."""
        return self.job.rows[self.index]


class Scorer:
    """Batching front of an engine for texts of any thread; close it when it is no longer needed."""

    def __init__(
        self, load: Callable[[], Engine], *, cached_rows: int = 0, on_batch: Callable[[int, float], None] | None = None
    ) -> None:
        """Load the engine and start; raise what `load` raises.

        `cached_rows` verdicts are remembered by their tokens, `on_batch` hears of rows and seconds.
        """
        self._loaded: Future[None] = Future()
        self._cache = LogitCache(cached_rows)
        self._on_batch = on_batch or (lambda _rows, _seconds: None)
        self._lock = threading.RLock()
        self._first, self._others = threading.Condition(self._lock), threading.Condition(self._lock)
        self._resting = False  # the first thread
        self._inbox: list[_Job] = []
        self._queues: dict[int, list[_Waiting]] = {}  # by padded width
        self._number = itertools.count()
        self._rows = 0  # that have no verdict yet
        self._pressure = 0
        self._closing = False
        self._thread = threading.Thread(target=self._live, args=(load,), name="scorer", daemon=True)
        self._thread.start()
        self._loaded.result()

    @property
    def waiting(self) -> int:
        """Count the rows that have no verdict yet."""
        return self._rows

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a short text, while the version is held."""
        return len(self._engine.tokenize([text])[0].ids)

    def submit(self, texts: Sequence[str]) -> Future[list[Scored]]:
        """Queue the texts of one request; the future holds one score a text, in order.

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
                self._rows += len(texts)
                self._wake_one()
        if closed:
            job.future.set_exception(SpamctlError("this version is not served any more"))
        return job.future

    def close(self) -> None:
        """Score what is queued, then end the thread."""
        with self._lock:
            self._closing = True
            self._first.notify_all()
            self._others.notify_all()
        self._thread.join()

    def _live(self, load: Callable[[], Engine]) -> None:
        """Load, score until closed, and close the engine, all in this thread; others only help.

        OpenVINO gives the thread that compiles a model a stack for its signals, and takes it back in the thread that
        drops the model. Were these two, the next signal would end the process; the main thread gets the signals.
        """
        try:
            self._engine = load()
        except BaseException as error:
            self._loaded.set_exception(error)
            return
        self._loaded.set_result(None)
        others: list[threading.Thread] = []
        while self._gather(first=True):
            self._score_next()
            if not others and self._pressure >= PRESSED:
                others = self._start_others()
        for other in others:
            other.join()
        del self._engine

    def _start_others(self) -> list[threading.Thread]:
        """Start more scoring threads, so that batches are scored in parallel."""
        numbers = range(1, self._engine.most_streams)
        others = [threading.Thread(target=self._help, name=f"scorer-{number}", daemon=True) for number in numbers]
        for other in others:
            other.start()
        if others:
            try:
                self._engine.open_streams()
            except Exception as error:  # out of memory: batches take turns
                logger.warning("batches are scored one after the other: %s", error)
        return others

    def _help(self) -> None:
        """Score batches as one of the other threads."""
        while self._gather(first=False):
            self._score_next()

    def _score_next(self) -> None:
        if batch := self._next_batch():
            self._score(batch)

    def _wake_one(self) -> None:
        """Wake the first thread if it is idle, since its cache is warm; else one of the others."""
        (self._first if self._resting else self._others).notify()

    def _gather(self, *, first: bool) -> bool:
        """Take in new requests, waiting for one if there is nothing to do; return whether there is any work."""
        with self._lock:
            while not (self._inbox or self._queues or self._closing):
                self._resting |= first
                (self._first if first else self._others).wait()
            self._resting &= not first
            jobs, self._inbox = self._inbox, []
            any_work = bool(jobs or self._queues)  # later, another thread may have done it
        for job in jobs:
            try:
                self._tokenize(job)
            except Exception as error:
                self._count(len(job.texts))
                self._fail(job, error)
        return any_work

    def _tokenize(self, job: _Job) -> None:
        """Put a request's rows into their queues; cached ones need no turn."""
        job.rows = self._engine.tokenize(job.texts)
        with self._lock:
            job.logits = [self._cache.get(row) for row in job.rows]
            missing = [index for index, logit in enumerate(job.logits) if logit is None]
            job.missing = len(missing)
            for place, index in enumerate(missing, 1):
                waiting = _Waiting(job.came + place * ROW_TURN_S, next(self._number), job, index)
                heapq.heappush(
                    self._queues.setdefault(rounded_up(len(job.rows[index].ids), self._engine.step), []), waiting
                )
            self._rows -= len(job.rows) - len(missing)
        if not missing:
            self._settle(job)

    def _next_batch(self) -> list[_Waiting]:
        """Take the row whose turn it is, and the next of its width, up to the batch size."""
        batch: list[_Waiting] = []
        with self._lock:
            if not self._queues:
                return batch
            width = min(self._queues, key=lambda width: self._queues[width][0])
            queue = self._queues[width]
            while queue and len(batch) < max(1, TOKENS_PER_BATCH // width):
                waiting = heapq.heappop(queue)
                if waiting.job.future.done():  # given up, or failed
                    self._rows -= 1
                else:
                    batch.append(waiting)
            if not queue:
                del self._queues[width]
            if self._queues:
                self._wake_one()
            self._pressure = max(0, self._pressure + (1 if self._queues else -1))
        return batch

    def _score(self, batch: list[_Waiting]) -> None:
        """Run one batch, and answer the requests that are complete with it."""
        began = time.perf_counter()
        rows = [waiting.row for waiting in batch]
        try:
            logits = self._engine.logits(rows, batches=[range(len(rows))]).tolist()
        except Exception as error:
            self._count(len(batch))
            for waiting in batch:
                self._fail(waiting.job, error)
            return
        complete = []
        with self._lock:
            self._rows -= len(batch)
            for waiting, logit in zip(batch, logits, strict=True):
                job = waiting.job
                job.logits[waiting.index] = logit
                self._cache.put(waiting.row, logit)
                job.missing -= 1
                if not job.missing:
                    complete.append(job)
        for job in complete:
            self._settle(job)
        self._on_batch(len(batch), time.perf_counter() - began)

    def _count(self, rows: int) -> None:
        """Count rows that do not wait any more."""
        with self._lock:
            self._rows -= rows

    def _settle(self, job: _Job) -> None:
        """Answer a request all of whose rows have their logit, unless it was cancelled."""
        pairs = zip(job.rows, job.logits, strict=True)
        scores = [
            Scored(self._engine.verdict(row, logit), logit, len(row.ids)) for row, logit in pairs if logit is not None
        ]
        if self._mine(job):
            job.future.set_result(scores)

    def _fail(self, job: _Job, error: Exception) -> None:
        """Answer a request with an error, once."""
        if self._mine(job):
            job.future.set_exception(error)

    def _mine(self, job: _Job) -> bool:
        """Return whether this thread still has to answer a request: another may have done so, or it was cancelled."""
        with self._lock:
            before, job.over = job.over, True
        return not before and job.future.set_running_or_notify_cancel()
