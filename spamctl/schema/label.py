"""Define labels, their sources, and the result of a labelling."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from spamctl.schema.codec import ABSENT
from spamctl.schema.message import Label

LabelSource = Literal["oracle", "file", "review", "user", "simulated"]
Action = Literal["predictions", "truth", "file", "review", "export"]

ORACLE: Final = "oracle"  # the truth that traffic kept
FILE: Final = "file"
REVIEW: Final = "review"  # a person at the terminal
USER: Final = "user"  # whoever sent POST /feedback
SIMULATED: Final = "simulated"  # made from the verdict itself: agreement with it, and never accuracy
SOURCES: Final[tuple[LabelSource, ...]] = (ORACLE, FILE, REVIEW, USER, SIMULATED)


def is_trusted(label: str | None, source: str | None) -> bool:
    """Return whether a label may measure quality: there is one, and it was not simulated from the verdict."""
    return bool(label) and source != SIMULATED


@dataclass(frozen=True, slots=True)
class SourceTally:
    """Labels from one source, and how many equal the model's verdict."""

    source: str
    rows: int
    agreeing: int


@dataclass(frozen=True, slots=True)
class Conflict:
    """A row whose label differs from the file's."""

    uuid: str
    label: Label
    source: str
    given: Label


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of two annotators on the rows that both judged; no kappa where both gave one label only."""

    first: str
    second: str
    rows: int
    agreeing: int
    kappa: float | None


@dataclass(frozen=True, slots=True)
class ReviewQuestion:
    """A message that a person is asked about, the `number`-th `of` all, with the model's verdict.

    `copies` counts further rows of the very text, `twins` near duplicates that are not asked; `words` names those
    behind the verdict, `stands` the label that the answer would replace. `in_reach` of None is unknown.
    """

    text: str
    classification: Label
    probability: float
    threshold: float
    model_version: str
    in_reach: bool | None
    number: int
    of: int
    copies: int
    twins: int
    words: str
    stands: str


@dataclass(frozen=True, slots=True)
class ReviewCounts:
    """What a person decided: questions asked and decided, rows labelled, rows that others labelled meanwhile."""

    asked: int = 0
    decided: int = 0
    labelled: int = 0
    taken: int = 0
    annotator: str = ""


@dataclass(frozen=True, slots=True)
class LabelResult:
    """Outcome of a labelling or an export: rows selected, rows without a label at first and now, labels by source.

    What an action does not count is None: `quality` and `noise` are probabilities as asked for, `known` counts rows
    whose truth was kept, and the counts from `most` on are of the labels of a file.
    """

    action: Action
    store: str
    rows: int
    found: int
    left: int = 0
    sources: tuple[SourceTally, ...] = ()
    labelled: int = 0
    quality: float | None = field(default=None, metadata=ABSENT)
    known: int | None = field(default=None, metadata=ABSENT)
    noise: float | None = field(default=None, metadata=ABSENT)
    file: str | None = field(default=None, metadata=ABSENT)
    most: int | None = field(default=None, metadata=ABSENT)
    overwrite: bool | None = field(default=None, metadata=ABSENT)
    replaced: int | None = field(default=None, metadata=ABSENT)
    standing: int | None = field(default=None, metadata=ABSENT)
    conflicts: int | None = field(default=None, metadata=ABSENT)
    unknown: int | None = field(default=None, metadata=ABSENT)
    first_conflicts: tuple[Conflict, ...] | None = field(default=None, metadata=ABSENT)
    first_unknown: tuple[str, ...] | None = field(default=None, metadata=ABSENT)
    agreements: tuple[Agreement, ...] | None = field(default=None, metadata=ABSENT)
    exported: int | None = field(default=None, metadata=ABSENT)
    review: ReviewCounts | None = field(default=None, metadata=ABSENT)
