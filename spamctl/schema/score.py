"""Define the shards of a scoring, and its result: counts, the messages that are shown, what explains a single one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

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
    """Counts of verdicts, counts by label, and the first messages in an order: of a part of the input, or of all.

    `media` holds the counts of verdicts of each medium, mail or text.
    """

    counts: Mapping[str, int]
    labelled: Mapping[str, int]
    shown: tuple[ShownMessage, ...]
    media: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


PieceKind = Literal["file", "lines", "rows", "mbox", "mail", "mails"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A file of messages, or the part of one from `start` to `end`: bytes of lines or of an mbox, rows of a table.

    `before` messages of the file, or of all mails, come before it, and `key` mails of its mbox; it has about `rows`
    messages, -1 if that is not known. `sha256` is that of its bytes; of rows, that of the file's footer.
    """

    file: str
    kind: PieceKind
    sha256: str
    start: int = 0
    end: int = 0
    before: int = 0
    rows: int = -1
    folder: str = ""  # of mails
    key: int = 0
    encoding: str = ""  # of lines


@dataclass(frozen=True, slots=True)
class Shard:
    """Pieces that are scored together into one part of the output, which is named by the shard's digest."""

    digest: str
    pieces: tuple[Piece, ...]

    @property
    def rows(self) -> int:
        """Return about how many messages it has, -1 if that is not known."""
        return -1 if any(piece.rows < 0 for piece in self.pieces) else sum(piece.rows for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """The shards of an input, the sha256 of all of it, and what the words of its label column mean."""

    sha256: str
    meanings: Mapping[str, Label]
    shards: tuple[Shard, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ShardSummary:
    """What was counted of a shard, or of several: messages, verdicts, and the first places of each fault."""

    rows: int
    verdicts: ScoreSummary
    faults: Mapping[str, int]
    places: Mapping[str, tuple[str, ...]]
    continued: int = 0  # of the rows, those that an earlier run has scored


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
    messages that could not be read, `media` are counts of verdicts by medium. What holds words of messages, `shown`
    and `explained`, is passed apart from the log: in the file `left`, which the command reads and removes.
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
    media: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    parts: int = 0  # of an output that is a folder
    workers: int = 1
    shown: tuple[ShownMessage, ...] = ()
    explained: Explained | None = field(default=None, metadata=EMPTY)
