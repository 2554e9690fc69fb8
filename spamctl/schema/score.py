"""Define the result of a scoring: its counts, the messages that are shown, and what explains a single one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from spamctl.schema.codec import EMPTY
from spamctl.schema.message import Label
from spamctl.schema.serve import Release
from spamctl.schema.traffic import Rates


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """A scored message, the `number`-th of the input from 0; `text` is cut, and hostile until it is escaped."""

    number: int
    source: str
    place: int
    classification: Label
    probability: float
    in_reach: bool
    label: Label | None
    text: str


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """Counts of verdicts, counts by label, and the first messages in an order: of a part of the input, or of all."""

    counts: Mapping[str, int]
    labelled: Mapping[str, int]
    shown: tuple[ShownMessage, ...]


@dataclass(frozen=True, slots=True)
class Explained:
    """What is behind the verdict on a single message: the words that push it most, and the hosts of its links."""

    classification: Label
    probability: float
    in_reach: bool
    truncated: bool
    words: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """Result of a scoring. `continued` messages had been scored by an interrupted run; `seconds` are of this one.

    `output` and `maildir` are paths or `none`, `captured` is a store or empty, `unreadable` says what was wrong with
    messages that could not be read. What holds words of messages, `shown` and `explained`, is passed apart from the
    log: in the file `left`, which the command reads and removes.
    """

    release: Release
    threshold: float
    input: str
    messages: int
    counts: Mapping[str, int]
    scores: Rates
    labelled: Mapping[str, int]
    unreadable: str
    continued: int
    output: str
    maildir: str
    captured: str
    left: str = ""
    seconds: float = 0.0
    shown: tuple[ShownMessage, ...] = ()
    explained: Explained | None = field(default=None, metadata=EMPTY)
