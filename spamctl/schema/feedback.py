"""Define what a training or a recalibration took from labelled answers, in counts and without a text."""

from __future__ import annotations

from dataclasses import dataclass

from spamctl.schema.message import NOT_SPAM, SPAM, Label


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """Numbers of labelled messages, and of those of them that are labelled spam."""

    rows: int
    spam: int


@dataclass(frozen=True, slots=True)
class DoubtfulLabel:
    """A labelled answer that was set aside, without its text; `probability` is of spam, as it was answered."""

    uuid: str
    label: str
    source: str
    probability: float


@dataclass(frozen=True, slots=True)
class Side:
    """A surface pattern whose answers are nearly all of one class: how many, what balances them, and the weights.

    `answers` are learnt with `answer_weight` each, and `counterparts` of the dataset, of the other class and the same
    look, with `counterpart_weight`. The look is `new` if its answers outweigh what the dataset held of this class.
    """

    look: str
    label: Label
    answers: int
    counterparts: int
    answer_weight: float
    counterpart_weight: float
    new: bool

    @property
    def other(self) -> Label:
        """Return the class of which this look has no answers."""
        return NOT_SPAM if self.label == SPAM else SPAM


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Labelled answers that were read from a store: what was taken, left out and set aside.

    `rows` counts all labelled answers of the accepted sources; `left_out` and `passed_over` count those that were not
    taken, by reason. `doubt` is the share, 0 to 1, of labels that were set aside as `doubtful`. Moments are ISO 8601;
    `sha256` is that of all that was taken. `forgotten` counts the messages of the dataset that were left out.
    """

    forgotten: int = 0
    store: str
    sources: dict[str, int]
    rows: int = 0
    left_out: dict[str, int]
    passed_over: dict[str, int]
    recent: ClassCounts
    set_aside: tuple[DoubtfulLabel, ...] = ()
    doubtful: int
    doubt: float
    newest: str
    recent_since: str = ""
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LearntAnswers(Answers):
    """Labelled answers that a training took, to learn from, to choose by and to be held out."""

    train: ClassCounts
    validation: ClassCounts
    one_sided: tuple[Side, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedAnswers(Answers):
    """Labelled answers that calibration and threshold were fitted to, and those that were held out."""

    fitted: ClassCounts


@dataclass(frozen=True, slots=True)
class NoAnswers:
    """No labelled answer was asked for; `forgotten` counts the messages of the dataset that were left out."""

    forgotten: int = 0


FeedbackSummary = LearntAnswers | NoAnswers
