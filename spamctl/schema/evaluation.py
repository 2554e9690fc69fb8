"""Define how a package is evaluated on the test part: scores, groups of messages, mistakes, suites and parity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from spamctl.errors import ArtefactError
from spamctl.schema.message import Label
from spamctl.schema.rates import Interval, Score

TOLERANCE = 1e-4  # of probability, against single rows with no more padding than fills a vector lane


@dataclass(frozen=True, slots=True)
class Parity:
    """Largest change of a probability over all batchings of `rows` messages, and the number of changed verdicts."""

    rows: int
    max_delta: float
    changed: int

    @property
    def holds(self) -> bool:
        """Return whether no verdict changed and no probability moved by the tolerance."""
        return not self.changed and self.max_delta < TOLERANCE

    def require(self) -> None:
        """Raise ArtefactError if the package is not what was measured."""
        if not self.holds:
            raise ArtefactError(
                f"the packaged model is not registered: batching changes {self.changed} of {self.rows} verdicts "
                f"and moves a probability by {self.max_delta:.2g} (allowed: {TOLERANCE:g}); padding is read somewhere"
            )


@dataclass(frozen=True, slots=True)
class Reach:
    """Counts of the rows of a part that are out of reach, and of what delivering them costs.

    `limit` is the novelty, 0 to 1, beyond which a message is out of reach. `caught` is the spam called spam by its
    probability, `lost` those of them that are delivered because they are out of reach. Without a row nothing was
    counted: every message is in reach.
    """

    limit: float = 0.0
    good: int = 0
    good_out: int = 0
    spam: int = 0
    spam_out: int = 0
    caught: int = 0
    lost: int = 0

    @property
    def is_measured(self) -> bool:
        """Return whether any row was counted."""
        return bool(self.good or self.spam)


@dataclass(frozen=True, slots=True)
class Slice:
    """Error rates of a model on one kind of message; None where no row shows one."""

    name: str
    rows: int
    spam: int
    recall: Interval | None
    false_positive_rate: Interval | None


@dataclass(frozen=True, slots=True)
class Mistake:
    """A message with the wrong verdict; `text` is hostile until it is escaped."""

    text: str
    label: Label
    probability: float


@dataclass(frozen=True, slots=True)
class GroupScore:
    """Error rates of a filter on one group of messages; None where no row shows one. Intervals are Wilson's, 95 %.

    `view` is what the messages are grouped by, such as their medium, and `name` the group.
    """

    view: str
    name: str
    rows: int
    spam: int
    recall: Interval | None
    false_positive_rate: Interval | None
    roc_auc: float | None


@dataclass(frozen=True, slots=True)
class GroupScores:
    """Scores of the model and of the linear baseline on the same groups."""

    model: tuple[GroupScore, ...] = ()
    baseline: tuple[GroupScore, ...] = ()


@dataclass(frozen=True, slots=True)
class UnseenScore:
    """Ranking of natural messages of unseen kinds: the area, and recall at a false-positive rate of 1 %."""

    expert: str
    medium: str
    rows: int
    spam: int
    roc_auc: float
    recall: float


@dataclass(frozen=True, slots=True)
class SuiteLine:
    """One line of a suite: how many of its rows were called spam, with Wilson's 95 % interval of that share."""

    suite: str
    name: str
    rows: int
    called_spam: Interval
    fault: str  # why a filter with this result cannot lead, or nothing


@dataclass(frozen=True, slots=True)
class Invariance:
    """One harmless change: the share of messages whose verdict it does not change, with Wilson's 95 % interval."""

    change: str
    rows: int
    unchanged: Interval


@dataclass(frozen=True, slots=True)
class SuiteReport:
    """Results of all suites; empty if none was run. `deciding` are the faults that keep a version from leading."""

    lines: tuple[SuiteLine, ...] = ()
    invariances: tuple[Invariance, ...] = ()
    faults: tuple[str, ...] = ()
    deciding: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Test probabilities (rows,) of rows scored one by one, their scores, and the check that batching changes nothing.

    The scores are of probabilities alone; `reach` counts what a server that delivers messages out of reach would call
    otherwise. `truncated` counts the messages that were cut to the model's window.
    """

    probabilities: list[float]
    score: Score
    parity: Parity
    slices: tuple[Slice, ...]
    mistakes: tuple[Mistake, ...]
    truncated: int
    reach: Reach = field(default_factory=Reach)


def of_views(scores: tuple[GroupScore, ...], views: tuple[str, ...]) -> Iterator[GroupScore]:
    """Yield the scores of the groups of some views."""
    return (one for one in scores if one.view in views)
