"""Score many messages with the engine that serves, a chunk after the other, and capture the verdicts if asked."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from spamctl.data.score_input import Incoming
from spamctl.schema.serve import Release
from spamctl.serving import explain
from spamctl.serving.deployment import Deployment
from spamctl.serving.scorer import Scored
from spamctl.store.capture import Capture
from spamctl.store.rows import CapturedRow, row_uuid

SOURCE = "score"
CHUNK_ROWS = 1_000  # an interrupted run loses no more than the verdicts of some of these
CHUNK_CHARACTERS = 2**22
CACHED_ROWS = 10_000
_IN_FLIGHT = 2  # chunks: the engine need not wait for the next one to be read
_CAPTURE_S = 60.0


@dataclass(frozen=True, slots=True)
class Chunk:
    """Messages in the order of the input, and the scores of those that could be read."""

    first: int  # the number of its first message, counted from 0
    messages: Sequence[Incoming]
    scores: Sequence[Scored | None]
    latency_ms: float  # of a message


@dataclass(slots=True)
class _Submitted:
    first: int
    messages: Sequence[Incoming]
    future: Future[list[Scored]]
    began: float = field(default_factory=time.perf_counter)

    def chunk(self) -> Chunk:
        """Wait for the scores."""
        scored = iter(self.future.result())
        scores = [None if one.fault else next(scored) for one in self.messages]
        rows = max(1, len(self.messages))
        return Chunk(self.first, self.messages, scores, 1000 * (time.perf_counter() - self.began) / rows)


class BulkScorer:
    """Served version that scores chunks of messages; close it when it is no longer needed."""

    def __init__(self, release: Release, *, threads: int, out_of_reach: Any) -> None:
        """Verify, compile and warm the version as a server does; raise as `Deployment` does."""
        self.release = release
        self._deployment = Deployment(release, threads=threads, cached_rows=CACHED_ROWS, out_of_reach=out_of_reach)
        self.threshold = self._deployment.threshold
        self.digest = self._deployment.digest

    def score(self, messages: Iterable[Incoming], first: int = 0) -> Iterator[Chunk]:
        """Yield the messages with their scores in order, a chunk at a time; `first` is the number of the first one."""
        waiting: deque[_Submitted] = deque()
        for chunk in chunks(messages):
            texts = [one.text for one in chunk if not one.fault]
            waiting.append(_Submitted(first, chunk, self._deployment.submit(texts)))
            first += len(chunk)
            if len(waiting) > _IN_FLIGHT:
                yield waiting.popleft().chunk()
        while waiting:
            yield waiting.popleft().chunk()

    def words(self, text: str, scored: Scored) -> str:
        """Return the words that push a message most, by leaving out each in turn."""
        without = explain.variants(text)
        others = self._deployment.submit(without.texts).result()
        return explain.told(without, scored.logit, [other.logit for other in others])

    def row(self, one: Incoming, scored: Scored | None) -> dict[str, Any]:
        """Return a message as it is written: where it came from, and its verdict, or the fault that left it without."""
        told: dict[str, Any] = {"source": one.source, "place": one.place, "fault": one.fault or None}
        if scored is None:
            return told
        verdict = scored.verdict
        return told | {
            "classification": verdict.classification,
            "probability": verdict.probability,
            "threshold": self.threshold,
            "model_name": self.release.name,
            "model_version": self.release.version,
            "in_reach": verdict.in_reach,
            "truncated": verdict.truncated,
        }

    def close(self) -> None:
        """Let the engine go."""
        self._deployment.close()


class Capturer:
    """Writer of scored messages into a store, under uuids that a run makes again when it is continued."""

    def __init__(self, address: str, scorer: BulkScorer, run: str) -> None:
        """Open or create the store; raise as `Capture` does."""
        self._capture = Capture(address, timeout_s=_CAPTURE_S)
        self._scorer = scorer
        self._request_id = f"{SOURCE}-{run}"

    def keep(self, chunk: Chunk) -> list[str | None]:
        """Store a chunk, and return a uuid for each message that has a verdict once all are on the disk.

        Raises UnavailableError if they are not known to be stored: the run stops, and can be continued.
        """
        now = datetime.now(UTC)
        rows = [
            None if scored is None else self._row(chunk.first + place, one, scored, now, chunk.latency_ms)
            for place, (one, scored) in enumerate(zip(chunk.messages, chunk.scores, strict=True))
        ]
        self._capture.submit([row for row in rows if row]).result()
        return [row.uuid if row else None for row in rows]

    def _row(self, number: int, one: Incoming, scored: Scored, now: datetime, latency_ms: float) -> CapturedRow:
        release, verdict = self._scorer.release, scored.verdict
        return CapturedRow(
            uuid=row_uuid(self._request_id, number, one.text),
            date=now,
            text=one.text,
            classification=verdict.classification,
            probability=verdict.probability,
            model_name=release.name,
            model_version=release.version,
            threshold=self._scorer.threshold,
            request_id=self._request_id,
            latency_ms=latency_ms,
            source=SOURCE,
            package_sha256=self._scorer.digest,
            in_reach=verdict.in_reach,
        )

    def close(self) -> None:
        """Write what is queued, and close the store."""
        self._capture.close()


def chunks(messages: Iterable[Incoming]) -> Iterator[list[Incoming]]:
    """Yield messages in chunks of a thousand, or fewer long ones."""
    chunk: list[Incoming] = []
    characters = 0
    for one in messages:
        chunk.append(one)
        characters += len(one.text) + len(one.raw)
        if len(chunk) == CHUNK_ROWS or characters > CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk
