"""Count the verdicts of a scoring, compare them with labels, and keep the few messages that a terminal shows."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from spamctl.data.score_input import Incoming
from spamctl.message import SPAM, Label
from spamctl.schema.codec import JsonObject, to_json
from spamctl.serving.bulk import Chunk
from spamctl.serving.scorer import Scored
from spamctl.serving.tally import Verdicts

Order = Literal["probability", "input"]
UNREADABLE, OUT_OF_REACH, TRUNCATED = "unreadable", "out of reach", "truncated"
EXCERPT = 300  # characters of a message that is shown


@dataclass(slots=True)
class ScoreTally:
    """Counts of verdicts, of verdicts by label, and the first `most` messages in an order.

    A message that is shown is {"number", "source", "place", "classification", "probability", "in_reach", "label",
    "text"}, its text cut.
    """

    order: Order
    most: int
    counts: Counter[str] = field(default_factory=Counter)
    labelled: Counter[str] = field(default_factory=Counter)  # by the fields of Verdicts
    shown: list[dict[str, Any]] = field(default_factory=list)

    def add(self, chunk: Chunk, meanings: Mapping[str, Label]) -> None:
        """Count a chunk; `meanings` are those of the words for labels."""
        candidates: list[dict[str, Any]] = []
        for place, (one, scored) in enumerate(zip(chunk.messages, chunk.scores, strict=True)):
            if scored is None:
                self.counts[UNREADABLE] += 1
                continue
            verdict, label = scored.verdict, label_of(one, meanings)
            self.counts[verdict.classification] += 1
            self.counts[OUT_OF_REACH] += not verdict.in_reach
            self.counts[TRUNCATED] += verdict.truncated
            if label:
                self.labelled["spam" if label == SPAM else "rest"] += 1
                self.labelled["caught" if label == SPAM else "flagged"] += verdict.classification == SPAM
            candidates.append(_shown(chunk.first + place, one, scored, label))
        self._keep(candidates)

    def merge(self, told: Mapping[str, Any]) -> None:
        """Add what `as_dict` told of another part."""
        self.counts.update(told["counts"])
        self.labelled.update(told["labelled"])
        self._keep(told["shown"])

    def as_dict(self) -> dict[str, Any]:
        """Return the tally as plain JSON; it holds excerpts of messages."""
        return {"counts": dict(self.counts), "labelled": dict(self.labelled), "shown": self.shown}

    def scores(self) -> JsonObject:
        """Return accuracy, recall and false-positive rate with their 95 % intervals, where labels tell of them."""
        told: JsonObject = to_json(Verdicts(**self.labelled).scores())
        return told

    def _keep(self, rows: list[dict[str, Any]]) -> None:
        """Keep the first of some messages, and of those that were kept so far."""
        self.shown = heapq.nsmallest(self.most, [*self.shown, *rows], key=self._rank)

    def _rank(self, row: Mapping[str, Any]) -> tuple[float, int]:
        return (-row["probability"] if self.order == "probability" else 0.0, row["number"])


def label_of(one: Incoming, meanings: Mapping[str, Label]) -> Label | None:
    """Return what the word of a label column means, if there is one and it is known."""
    return None if one.label is None else meanings.get(one.label.casefold())


def _shown(number: int, one: Incoming, scored: Scored, label: Label | None) -> dict[str, Any]:
    verdict = scored.verdict
    return {
        "number": number,
        "source": one.source,
        "place": one.place,
        "classification": verdict.classification,
        "probability": verdict.probability,
        "in_reach": verdict.in_reach,
        "label": label,
        "text": one.text[:EXCERPT],
    }
