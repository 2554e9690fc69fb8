"""Score many messages in order, capture them where it is wanted, and count their verdicts."""

from __future__ import annotations

import contextlib
import heapq
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from spamctl.data import score_input, score_output, shards
from spamctl.data.score_input import MOST_PLACES, Incoming, InputRequest, Survey
from spamctl.data.score_output import Maildir, Parts, ScoredRow, marked
from spamctl.data.shard_output import PartFolder
from spamctl.errors import DataError
from spamctl.progress import ProgressUpdate
from spamctl.schema.codec import from_json, to_json
from spamctl.schema.message import SPAM, Label
from spamctl.schema.score import Explained, ScoreSummary, Shard, ShardSummary, ShownMessage
from spamctl.schema.serve import Release
from spamctl.schema.traffic import Rates
from spamctl.serving import explain
from spamctl.serving.batcher import Scored
from spamctl.serving.state import Deployment
from spamctl.store.capture import Capture
from spamctl.store.tables import CapturedRow, row_uuid
from spamctl.traffic.results import Verdicts

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


# Count the verdicts of a scoring, compare them with labels, and keep the few messages that a terminal shows.

Order = Literal["probability", "input"]
UNREADABLE, OUT_OF_REACH, TRUNCATED = "unreadable", "out of reach", "truncated"
UNKNOWN_LABEL = "label of no known meaning"
MAIL, PLAIN = "mail", "text"  # media
EXCERPT = 300  # characters of a message that is shown


@dataclass(slots=True)
class ScoreTally:
    """Counts of verdicts, of verdicts by label, and the first `most` messages in an order.

    They are added in chunks, or as the summaries of finished parts.
    """

    order: Order
    most: int
    counts: Counter[str] = field(default_factory=Counter)
    labelled: Counter[str] = field(default_factory=Counter)  # by the fields of Verdicts
    shown: list[ShownMessage] = field(default_factory=list)
    media: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, chunk: Chunk, meanings: Mapping[str, Label]) -> None:
        """Count a chunk; `meanings` are those of the words for labels."""
        candidates: list[ShownMessage] = []
        found: dict[str, Counter[str]] = {}
        for place, (one, scored) in enumerate(zip(chunk.messages, chunk.scores, strict=True)):
            counts = found.setdefault(MAIL if one.is_mail else PLAIN, Counter())
            if scored is None:
                counts[UNREADABLE] += 1
                continue
            verdict, label = scored.verdict, label_of(one, meanings)
            counts[verdict.classification] += 1
            counts[OUT_OF_REACH] += not verdict.in_reach
            counts[TRUNCATED] += verdict.truncated
            counts[UNKNOWN_LABEL] += bool(meanings and one.label is not None and label is None)
            if label:
                self.labelled["spam" if label == SPAM else "rest"] += 1
                self.labelled["caught" if label == SPAM else "flagged"] += verdict.classification == SPAM
            if self.most:
                candidates.append(_shown(chunk.first + place, one, scored, label))
        for medium, counts in found.items():
            self.counts.update(counts)
            self.media.setdefault(medium, Counter()).update(counts)
        self._keep(candidates)

    def merge(self, part: ScoreSummary) -> None:
        """Add the summary of another part."""
        self.counts.update(part.counts)
        self.labelled.update(part.labelled)
        for medium, counts in part.media.items():
            self.media.setdefault(medium, Counter()).update(counts)
        self._keep(part.shown)

    def summary(self) -> ScoreSummary:
        """Return the tally as it is now; it holds excerpts of messages."""
        media = {medium: dict(counts) for medium, counts in self.media.items()}
        return ScoreSummary(dict(self.counts), dict(self.labelled), tuple(self.shown), media)

    def scores(self) -> Rates:
        """Return accuracy, recall and false-positive rate with their 95 % intervals, where labels tell of them."""
        return Verdicts(**self.labelled).scores()

    def _keep(self, rows: Sequence[ShownMessage]) -> None:
        """Keep the first of some messages, and of those that were kept so far."""
        self.shown = heapq.nsmallest(self.most, [*self.shown, *rows], key=self._rank)

    def _rank(self, row: ShownMessage) -> tuple[float, int]:
        return (-row.probability if self.order == "probability" else 0.0, row.number)


def label_of(one: Incoming, meanings: Mapping[str, Label]) -> Label | None:
    """Return what the word of a label column means, if there is one and it is known."""
    return None if one.label is None else meanings.get(one.label.casefold())


def _shown(number: int, one: Incoming, scored: Scored, label: Label | None) -> ShownMessage:
    verdict = scored.verdict
    where = number, one.source, one.place
    return ShownMessage(
        *where, verdict.classification, verdict.probability, verdict.in_reach, label, one.text[:EXCERPT]
    )


# Score all messages of an input, part by part: what is finished is on the disk before the next part is.


@dataclass(slots=True)
class ScoreJob:
    """Input, version, and where verdicts go: to parts of an output, into a Maildir, into a store, or nowhere."""

    request: InputRequest
    survey: Survey
    scorer: BulkScorer
    tally: ScoreTally
    parts: Parts | None = None
    maildir: Maildir | None = None
    capturer: Capturer | None = None
    with_text: bool = False
    explained: Explained | None = None  # of an input that is one message

    def run(self) -> Generator[ProgressUpdate, None, int]:
        """Score what no finished part holds, yield a tick a chunk, and return how many messages were finished before.

        Raises DataError if the input is not what it was when it was surveyed, UnavailableError as `Capturer` does.
        """
        before = self.parts.rows if self.parts else 0
        for summary in self.parts.summaries if self.parts else ():
            self.tally.merge(from_json(ScoreSummary, summary))
        done = before
        for chunk in self.scorer.score(islice(score_input.read(self.request), before, None), before):
            self._finish(chunk)
            done += len(chunk.messages)
            yield ProgressUpdate("scoring", done, self.survey.rows, "messages")
        if done != self.survey.rows:
            raise DataError(f"{self.request.messages}: has changed while it was read: score it again")
        return before

    def write(self, path: Path, *, overwrite: bool) -> None:
        """Write the finished parts as one file."""
        assert self.parts  # noqa: S101 - for the type checker: there are parts where there is an output
        score_output.write(path, self.parts.read(), with_text=self.with_text, overwrite=overwrite)

    def _finish(self, chunk: Chunk) -> None:
        """Deliver, capture and count a chunk, then make it a finished part."""
        if self.survey.rows == 1:
            self._explain(chunk)
        if self.maildir:
            self._deliver(self.maildir, chunk)
        uuids = self.capturer.keep(chunk) if self.capturer else [None] * len(chunk.messages)
        tally = ScoreTally(self.tally.order, self.tally.most)
        tally.add(chunk, self.survey.meanings)
        self.tally.merge(tally.summary())
        if self.parts:
            rows = _written(self.scorer, chunk, uuids, self.survey.meanings, with_text=self.with_text)
            self.parts.add(rows, to_json(tally.summary()))

    def _deliver(self, maildir: Maildir, chunk: Chunk) -> None:
        """Copy the mails of a chunk into a Maildir; one that could not be read is left out."""
        for number, (one, scored) in enumerate(zip(chunk.messages, chunk.scores, strict=True), chunk.first):
            if scored is not None:
                version = self.scorer.release.version
                maildir.deliver(number, marked(one.raw, scored.verdict, self.scorer.threshold, version))

    def _explain(self, chunk: Chunk) -> None:
        """Keep what is behind the verdict on a single message."""
        (one,), (scored,) = chunk.messages, chunk.scores
        if scored is not None:
            verdict = scored.verdict
            told = verdict.classification, verdict.probability, verdict.in_reach, verdict.truncated
            self.explained = Explained(*told, self.scorer.words(one.text, scored), tuple(score_input.hosts_of(one)))


def _written(
    scorer: BulkScorer, chunk: Chunk, uuids: Sequence[str | None], meanings: Mapping[str, Label], *, with_text: bool
) -> Iterator[ScoredRow]:
    """Yield the messages of a chunk as they are written."""
    for one, scored, uuid in zip(chunk.messages, chunk.scores, uuids, strict=True):
        row = scorer.row(one, scored) | {"label": label_of(one, meanings), "uuid": uuid}
        yield row | {"text": one.text} if with_text else row


# Score shards of an input, each into a part of its own; what is whole already is not scored again.


@dataclass(slots=True)
class ShardJob:
    """Shards of one worker, and where their verdicts go: to parts of a folder, and into a store if one is named."""

    request: InputRequest
    shards: Sequence[Shard]
    scorer: BulkScorer
    output: PartFolder
    task: str = "scoring"
    store: str = ""
    with_text: bool = False

    def run(self) -> Generator[ProgressUpdate, None, ShardSummary]:
        """Score what no whole part holds, yield a tick a chunk, and return what was counted of all.

        Raises DataError if the input is not what it was for the plan, UnavailableError as `Capturer` does.
        """
        found: list[ShardSummary] = []
        done = 0
        for number, shard in enumerate(self.shards):
            whole = self.output.summary(shard)
            part = replace(whole, continued=whole.rows) if whole else (yield from self._score(shard, number, done))
            found.append(part)
            done += part.rows
            yield self._tick(number + 1, done)
        return combined(found)

    def _score(self, shard: Shard, number: int, done: int) -> Generator[ProgressUpdate, None, ShardSummary]:
        """Score a shard into its part; what a killed run has captured of it is not captured again."""
        meanings, survey, tally = self.output.begun.plan.meanings, Survey(), ScoreTally("input", 0)
        with contextlib.ExitStack() as stack:
            part = stack.enter_context(self.output.writing(shard, with_text=self.with_text))
            keep = self._capturing(shard, stack)
            for chunk in self.scorer.score(shards.read(shard, self.request)):
                for one in chunk.messages:
                    survey.add(one)
                tally.add(chunk, meanings)
                part.add(list(_written(self.scorer, chunk, keep(chunk), meanings, with_text=self.with_text)))
                yield self._tick(number, done + survey.rows)
            places = {fault: tuple(first) for fault, first in survey.faults.items()}
            summary = ShardSummary(survey.rows, tally.summary(), survey.counts, places)
            part.finish(summary)
        return summary

    def _capturing(self, shard: Shard, stack: contextlib.ExitStack) -> Callable[[Chunk], Sequence[str | None]]:
        """Return what stores a chunk and returns its uuids; where nothing is stored, there are none."""
        if not self.store:
            return lambda chunk: [None] * len(chunk.messages)
        capturer = Capturer(self.store, self.scorer, f"{self.output.begun.run}-{shard.digest}")
        stack.callback(capturer.close)
        return capturer.keep

    def _tick(self, parts: int, rows: int) -> ProgressUpdate:
        """Return how far the work is: in messages, or in parts where their number is not known beforehand."""
        every = [shard.rows for shard in self.shards]
        if -1 in every:
            return ProgressUpdate(self.task, parts, len(every), "parts")
        return ProgressUpdate(self.task, sum(every) if parts == len(every) else min(rows, sum(every)), sum(every))


def combined(found: Iterable[ShardSummary]) -> ShardSummary:
    """Return what was counted of several shards."""
    tally, survey, continued = ScoreTally("input", 0), Survey(), 0
    for part in found:
        tally.merge(part.verdicts)
        survey.rows += part.rows
        continued += part.continued
        for fault, count in part.faults.items():
            survey.counts[fault] = survey.counts.get(fault, 0) + count
            survey.faults[fault] = [*survey.faults.get(fault, []), *part.places.get(fault, ())][:MOST_PLACES]
    places = {fault: tuple(first) for fault, first in survey.faults.items()}
    return ShardSummary(survey.rows, tally.summary(), survey.counts, places, continued)
