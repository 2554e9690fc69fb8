"""Split traffic into batches, and count a server's verdicts on messages with known labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spamctl.schema.message import SPAM, Label
from spamctl.store.truth import TrueRow
from spamctl.traffic.client import Answer, Batch, Outcome

PERCENTILES = (50, 95, 99)
_MOST_REASONS = 10
_OTHERS = "other reasons"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a message before it is sent: its label (None: unknown), and its group."""

    label: Label | None
    group: str


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Counts of labels against verdicts; spam is the positive class."""

    spam: int = 0
    caught: int = 0  # of the spam
    rest: int = 0
    flagged: int = 0  # of the rest

    @classmethod
    def of(cls, pairs: Iterable[tuple[Label, Label]]) -> Verdicts:
        """Count pairs of (truth, verdict)."""
        counts = Counter((truth == SPAM, verdict == SPAM) for truth, verdict in pairs)
        caught, flagged = counts[True, True], counts[False, True]
        return cls(caught + counts[True, False], caught, flagged + counts[False, False], flagged)

    def scores(self) -> dict[str, dict[str, float]]:
        """Return accuracy, recall and false-positive rate, each with its 95 % interval (Wilson 1927), where defined."""
        from spamctl.metrics.scores import proportion

        right = self.caught + self.rest - self.flagged
        shares = {
            "accuracy": (right, self.spam + self.rest),
            "recall": (self.caught, self.spam),
            "false_positive_rate": (self.flagged, self.rest),
        }
        return {name: proportion(hits, rows).as_dict() for name, (hits, rows) in shares.items() if rows}


class Tally:
    """Sum of the outcomes of all batches."""

    def __init__(self, known: Sequence[Known], batch_size: int) -> None:
        """Begin; `known` are the messages in the order in which they were put into batches of `batch_size`."""
        self._known, self._size = known, batch_size
        self._fates: Counter[tuple[str, str]] = Counter()  # messages by (fate, reason)
        self._pairs: list[tuple[Known, Answer]] = []
        self._latencies: list[float] = []  # seconds
        self._tried = self._repeated = 0  # messages that left at all; tries beyond the first

    def add(self, outcome: Outcome) -> list[tuple[int, Answer]]:
        """Count a batch, and return its answers, each with the place of its message in the traffic."""
        first = outcome.number * self._size
        known = self._known[first : first + self._size]
        self._fates[outcome.fate, outcome.reason] += len(known)
        self._tried += len(known) * bool(outcome.tries)
        self._repeated += max(0, outcome.tries - 1)
        if outcome.answers:
            self._latencies.append(outcome.latency_s)
            self._pairs += zip(known, outcome.answers, strict=True)
        return list(enumerate(outcome.answers, first))

    @property
    def messages(self) -> int:
        """Count the messages whose outcome is known."""
        return self._fates.total()

    def summary(self, seconds: float) -> dict[str, Any]:
        """Return all counts and scores as plain JSON; `seconds` is how long the sending took."""
        answers = [answer for _, answer in self._pairs]
        judged = [(known.group, known.label, answer) for known, answer in self._pairs if known.label is not None]
        called_spam = sum(answer.classification == SPAM for answer in answers)
        return {
            "samples": len(self._known),
            "sent": self._tried,
            "answered": len(answers),
            "captured": sum(answer.captured for answer in answers),
            **{fate: self._reasons(fate) for fate in ("refused", "garbled", "unanswered")},
            "repeated": self._repeated,
            "versions": dict(Counter(answer.model_version for answer in answers).most_common(_MOST_REASONS)),
            "latency_ms": self._percentiles(),
            "seconds": seconds,
            "spam_share": called_spam / len(answers) if answers else None,
            "true_spam_share": _share([label == SPAM for _, label, _ in judged]),
            "judged": len(judged),
            "scores": Verdicts.of((label, answer.classification) for _, label, answer in judged).scores(),
            "groups": [_group(name, judged) for name in sorted({group for group, _, _ in judged})],
        }

    def _reasons(self, fate: str) -> dict[str, int]:
        """Return how many messages met a fate, by reason, the commonest first."""
        counts = Counter({reason: rows for (each, reason), rows in self._fates.items() if each == fate}).most_common()
        rest = sum(rows for _, rows in counts[_MOST_REASONS:])
        return dict(counts[:_MOST_REASONS]) | ({_OTHERS: rest} if rest else {})

    def _percentiles(self) -> dict[str, float]:
        """Return percentiles of the latency of answered requests, in milliseconds."""
        import numpy as np

        if not self._latencies:
            return {}
        found = 1000 * np.percentile(self._latencies, PERCENTILES)
        return {f"p{percentile}": float(value) for percentile, value in zip(PERCENTILES, found, strict=True)}


def _share(marks: Sequence[bool]) -> float | None:
    return sum(marks) / len(marks) if marks else None


def _group(name: str, judged: Sequence[tuple[str, Label, Answer]]) -> dict[str, Any]:
    """Return what one group of messages met."""
    verdicts = Verdicts.of((label, answer.classification) for group, label, answer in judged if group == name)
    return {
        "name": name,
        "rows": verdicts.spam + verdicts.rest,
        "spam": verdicts.spam,
        "called_spam": verdicts.caught + verdicts.flagged,
        "scores": verdicts.scores(),
    }


# Split traffic into batches, and join what was known of each message with its answer.

# A message as it passes from step to step: {"text", "label" (None: unknown), "origin", "family", "drift_type", "dose"}.
Sample = Mapping[str, Any]

REPLAY = "replay"
NO_DRIFT = "none"


def replayed(rows: Iterable[tuple[str, Label | None]]) -> list[dict[str, Any]]:
    """Return a user's own messages as samples."""
    same = {"origin": REPLAY, "family": REPLAY, "drift_type": NO_DRIFT, "dose": 0.0}
    return [{"text": text, "label": label} | same for text, label in rows]


def split_batches(samples: Sequence[Sample], size: int, traffic_run: str) -> Iterator[Batch]:
    """Yield the samples in batches of `size`, the last one shorter; a run gives the same batches the same ids again."""
    for number, first in enumerate(range(0, len(samples), size)):
        texts = tuple(sample["text"] for sample in samples[first : first + size])
        yield Batch(f"traffic-{traffic_run}-{number}", texts)


def known_samples(samples: Iterable[Sample]) -> list[Known]:
    """Return what is known of each sample, grouped by where its text is from and by what it was subject to."""
    return [Known(sample["label"], _group_name(sample)) for sample in samples]


def true_rows(
    samples: Sequence[Sample], answered: Iterable[tuple[int, Answer]], seed: int, traffic_run: str
) -> list[TrueRow]:
    """Return the truth of answered samples, by the uuid of the answer; a sample without a label has none."""
    return [
        TrueRow(
            uuid=answer.uuid,
            seed=seed,
            traffic_run=traffic_run,
            **{name: value for name, value in samples[place].items() if name != "text"},
        )
        for place, answer in answered
        if samples[place]["label"] is not None
    ]


def _group_name(sample: Sample) -> str:
    origin, drift_type = sample["origin"], sample["drift_type"]
    return str(origin) if drift_type == NO_DRIFT else f"{origin}, {drift_type}"
