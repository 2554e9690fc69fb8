"""Define what is measured of a filter: each rate with its 95 % interval, and the counts behind it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True)
class Interval:
    """A measured value and the ends of its 95 % confidence interval, in the unit of the value."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """Return the three numbers as plain JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Confusion:
    """Confusion matrix, in messages; spam is the positive class."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """The three shares that are read together, since each hides what another shows; all in 0 to 1.

    Accuracy is of all messages, recall of the spam, and the false-positive rate of the good messages.
    """

    accuracy: Interval
    recall: Interval
    false_positive_rate: Interval


@dataclass(frozen=True, slots=True)
class LabelledRates:
    """The same three shares as far as labelled rows tell them; None where none does."""

    accuracy: Interval | None
    recall: Interval | None
    false_positive_rate: Interval | None


@dataclass(frozen=True, slots=True)
class Rates:
    """Every metric of a filter on one part.

    All lie in 0 to 1 but `mcc`, Matthews' correlation, in -1 to 1. `false_positive_rate` is a share of the good
    messages; `brier` and `ece`, the expected calibration error, are distances of probabilities: the lower, the better.
    """

    accuracy: Interval
    precision: Interval
    recall: Interval
    f1: Interval
    mcc: Interval
    roc_auc: Interval
    pr_auc: Interval
    false_positive_rate: Interval
    brier: Interval
    ece: Interval


@dataclass(frozen=True, slots=True)
class Score:
    """Scores of a filter on one part: every metric, the confusion matrix, and notes for the reader.

    `threshold` is the probability from which a message is called spam.
    """

    rows: int
    threshold: float
    confusion: Confusion
    metrics: Rates
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MediumRate:
    """False-positive rate on the good validation rows of one medium, and its 95 % upper bound."""

    false_positives: int
    rows: int
    upper: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """A threshold and its rates on the validation rows; `p >= threshold` is called spam.

    `max_false_positive_rate` is the budget that the threshold was chosen within, `false_positives` a count of rows, and
    `false_positive_rate_upper` the one-sided 95 % upper bound of the rate.
    """

    threshold: float
    max_false_positive_rate: float
    false_positives: int
    false_positive_rate: Interval
    false_positive_rate_upper: float
    recall: Interval
    notes: tuple[str, ...] = ()
    by_medium: dict[str, MediumRate] = field(default_factory=dict)
