"""Split traffic into batches, and count a server's verdicts on messages with known labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from spamctl.schema.message import SPAM, Label, Prediction
from spamctl.schema.rates import Interval
from spamctl.schema.traffic import Counts, GroupResult, Rates, Staged
from spamctl.store.truth import TrueRow
from spamctl.traffic.client import Batch, Outcome

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

    def scores(self) -> Rates:
        """Return accuracy, recall and false-positive rate, each with its 95 % interval (Wilson 1927), where defined."""
        right = self.caught + self.rest - self.flagged
        return Rates(
            accuracy=_rate(right, self.spam + self.rest),
            recall=_rate(self.caught, self.spam),
            false_positive_rate=_rate(self.flagged, self.rest),
        )


class Tally:
    """Sum of the outcomes of all batches."""

    def __init__(self, known: Sequence[Known], batch_size: int) -> None:
        """Begin; `known` are the messages in the order in which they were put into batches of `batch_size`."""
        self._known, self._size = known, batch_size
        self._fates: Counter[tuple[str, str]] = Counter()  # messages by (fate, reason)
        self._pairs: list[tuple[Known, Prediction]] = []
        self._latencies: list[float] = []  # seconds
        self._tried = self._repeated = 0  # messages that left at all; tries beyond the first

    def add(self, outcome: Outcome) -> list[tuple[int, Prediction]]:
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

    def summary(self, seconds: float) -> Counts:
        """Return all counts and scores; `seconds` is how long the sending took."""
        answers = [answer for _, answer in self._pairs]
        judged = [(known.group, known.label, answer) for known, answer in self._pairs if known.label is not None]
        called_spam = sum(answer.classification == SPAM for answer in answers)
        return Counts(
            samples=len(self._known),
            sent=self._tried,
            answered=len(answers),
            captured=sum(answer.captured for answer in answers),
            refused=self._reasons("refused"),
            garbled=self._reasons("garbled"),
            unanswered=self._reasons("unanswered"),
            repeated=self._repeated,
            versions=dict(Counter(answer.model_version for answer in answers).most_common(_MOST_REASONS)),
            latency_ms=self._percentiles(),
            seconds=seconds,
            spam_share=called_spam / len(answers) if answers else None,
            true_spam_share=_share([label == SPAM for _, label, _ in judged]),
            judged=len(judged),
            scores=Verdicts.of((label, answer.classification) for _, label, answer in judged).scores(),
            groups=tuple(_group(name, judged) for name in sorted({group for group, _, _ in judged})),
        )

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


def _rate(hits: int, rows: int) -> Interval | None:
    from spamctl.metrics.scores import proportion

    if not rows:
        return None
    found = proportion(hits, rows)
    return Interval(found.value, found.low, found.high)


def _group(name: str, judged: Sequence[tuple[str, Label, Prediction]]) -> GroupResult:
    """Return what one group of messages met."""
    verdicts = Verdicts.of((label, answer.classification) for group, label, answer in judged if group == name)
    return GroupResult(
        name=name,
        rows=verdicts.spam + verdicts.rest,
        spam=verdicts.spam,
        called_spam=verdicts.caught + verdicts.flagged,
        scores=verdicts.scores(),
    )


# Split traffic into batches, and join what was known of each message with its answer.

REPLAY = "replay"
NO_DRIFT = "none"


def replayed(rows: Iterable[tuple[str, Label | None]]) -> list[Staged]:
    """Return a user's own messages as samples."""
    return [Staged(text, label, REPLAY, REPLAY, NO_DRIFT, 0.0) for text, label in rows]


def split_batches(samples: Sequence[Staged], size: int, traffic_run: str) -> Iterator[Batch]:
    """Yield the samples in batches of `size`, the last one shorter; a run gives the same batches the same ids again."""
    for number, first in enumerate(range(0, len(samples), size)):
        texts = tuple(sample.text for sample in samples[first : first + size])
        yield Batch(f"traffic-{traffic_run}-{number}", texts)


def known_samples(samples: Iterable[Staged]) -> list[Known]:
    """Return what is known of each sample, grouped by where its text is from and by what it was subject to."""
    return [Known(sample.label, _group_name(sample)) for sample in samples]


def true_rows(
    samples: Sequence[Staged], answered: Iterable[tuple[int, Prediction]], seed: int, traffic_run: str
) -> list[TrueRow]:
    """Return the truth of answered samples, by the uuid of the answer; a sample without a label has none."""
    rows = []
    for place, answer in answered:
        sample = samples[place]
        if sample.label is not None:
            told = (sample.label, sample.origin, sample.family, sample.drift_type, sample.dose)
            rows.append(TrueRow(answer.uuid, *told, seed, traffic_run))
    return rows


def _group_name(sample: Staged) -> str:
    return sample.origin if sample.drift_type == NO_DRIFT else f"{sample.origin}, {sample.drift_type}"
