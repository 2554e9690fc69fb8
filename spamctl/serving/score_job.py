"""Score all messages of an input, part by part: what is finished is on the disk before the next part is."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from spamctl.data import score_input, score_output
from spamctl.data.marked_mail import Maildir, marked
from spamctl.data.score_input import Incoming, InputRequest, Survey
from spamctl.data.score_output import ScoredRow
from spamctl.data.score_parts import Parts
from spamctl.errors import DataError
from spamctl.model.tick import Tick
from spamctl.serving.bulk import BulkScorer, Capturer, Chunk
from spamctl.serving.score_tally import ScoreTally, label_of
from spamctl.serving.scorer import Scored


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
    explained: dict[str, Any] = field(default_factory=dict)  # of an input that is one message

    def run(self) -> Generator[Tick, None, int]:
        """Score what no finished part holds, yield a tick a chunk, and return how many messages were finished before.

        Raises DataError if the input is not what it was when it was surveyed, UnavailableError as `Capturer` does.
        """
        before = self.parts.rows if self.parts else 0
        for summary in self.parts.summaries if self.parts else ():
            self.tally.merge(summary)
        done = before
        for chunk in self.scorer.score(islice(score_input.read(self.request), before, None), before):
            self._finish(chunk)
            done += len(chunk.messages)
            yield Tick("scoring", done, self.survey.rows, "messages")
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
        self.tally.merge(tally.as_dict())
        if self.parts:
            pairs = zip(chunk.messages, chunk.scores, uuids, strict=True)
            self.parts.add((self._row(*pair) for pair in pairs), tally.as_dict())

    def _row(self, one: Incoming, scored: Scored | None, uuid: str | None) -> ScoredRow:
        """Return a message as it is written."""
        row = self.scorer.row(one, scored) | {"label": label_of(one, self.survey.meanings), "uuid": uuid}
        return row | {"text": one.text} if self.with_text else row

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
            self.explained = {
                "classification": scored.verdict.classification,
                "probability": scored.verdict.probability,
                "in_reach": scored.verdict.in_reach,
                "truncated": scored.verdict.truncated,
                "words": self.scorer.words(one.text, scored),
                "hosts": list(score_input.hosts_of(one)),
            }
