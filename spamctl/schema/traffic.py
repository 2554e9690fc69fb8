"""Define simulated messages and the result of a traffic run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from spamctl.schema.codec import ABSENT, EMPTY
from spamctl.schema.message import Label, Message
from spamctl.schema.rates import Interval


@dataclass(frozen=True, slots=True)
class Staged:
    """A message ready to be sent, with the truth about it; a label of None is unknown.

    `origin` says where the text is from: a row of the test part as it stands, or written or rewritten here.
    `drift_type` and `dose` in [0, 1] say what the message was subject to (`none` and 0 outside the drifted share); a
    message of the share may well come out of it as it went in, at a low dose, or as spammers' tricks are not for it.
    """

    text: str
    label: Label | None
    origin: str
    family: str
    drift_type: str
    dose: float


@dataclass(frozen=True, slots=True)
class Change:
    """A message of the test part, and its replacement under drift."""

    before: Message
    after: Staged


@dataclass(frozen=True, slots=True)
class Preview:
    """Messages before and after drift, of which none was sent."""

    preview: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Rates:
    """Rates of verdicts on messages with known labels; None where no message can tell."""

    accuracy: Interval | None = field(default=None, metadata=ABSENT)
    recall: Interval | None = field(default=None, metadata=ABSENT)
    false_positive_rate: Interval | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class GroupResult:
    """Verdicts on one group of messages with known labels: rows, spam, rows called spam, and their rates."""

    name: str
    rows: int
    spam: int
    called_spam: int
    scores: Rates


@dataclass(frozen=True, slots=True)
class Source:
    """Where messages are from; of a dataset its sha256, its test part's, and the rows of that part."""

    origin: str
    sha256: str | None = field(default=None, metadata=ABSENT)
    test_sha256: str | None = field(default=None, metadata=ABSENT)
    test: int | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class Drift:
    """Drift that was asked for: its type, the share of messages subject to it, its strength in [0, 1], the seed."""

    drift_type: str
    drift_proportion: float
    strength: float
    seed: int


@dataclass(frozen=True, slots=True)
class KeptTruth:
    """True labels that a run keeps in a store, and how many of them have a stored answer."""

    store: str
    rows: int
    joined: int


@dataclass(frozen=True, slots=True)
class Counts:
    """Answers of a server to a run's messages.

    `refused`, `garbled` and `unanswered` count messages by reason, `repeated` tries beyond the first. `latency_ms`
    holds percentiles of a request's milliseconds (p50, p95, p99), `seconds` is how long the sending took. Shares are of
    the answered messages (`spam_share`) and of those with a known label, the `judged` ones (`true_spam_share`).
    """

    samples: int
    sent: int
    answered: int
    captured: int
    refused: Mapping[str, int]
    garbled: Mapping[str, int]
    unanswered: Mapping[str, int]
    repeated: int
    versions: Mapping[str, int]
    latency_ms: Mapping[str, float]
    seconds: float
    spam_share: float | None
    true_spam_share: float | None
    judged: int
    scores: Rates
    groups: tuple[GroupResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficResult(Counts):
    """Counts of a run, where its messages were sent, from where they are, and where their truth is kept.

    `start` is the command that starts a server at the target, `run` the id under which the truth is kept.
    """

    target: str
    start: str
    data: Source
    drift: Drift
    run: str
    truth: KeptTruth | None = field(default=None, metadata=EMPTY)
