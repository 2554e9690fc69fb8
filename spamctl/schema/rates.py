"""Define the rates measured of a filter, with their intervals, and how a new version compares with the champion."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

# Define what is measured of a filter: each rate with its 95 % interval, and the counts behind it.


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


# Define how a new version compares with the champion on the same messages.


@dataclass(frozen=True, slots=True)
class PairedRate:
    """Share of a class that either version calls spam, and the paired difference (challenger - champion)."""

    rows: int
    challenger: Interval
    champion: Interval
    difference: Interval
    p_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRates:
    """Error rates of both versions on the messages of one part, `spam` of which are labelled spam."""

    rows: int
    spam: int = 0
    challenger: ErrorRates
    champion: ErrorRates


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedPart(PartRates):
    """Error rates of both versions on one part, and what is credible of the differences.

    `accuracy_difference` is paired, challenger minus champion, `p_value` McNemar's; the two counts are of messages that
    one version alone is right on. None in runs of versions that did not write it.
    """

    only_challenger_right: int = 0
    only_champion_right: int = 0
    accuracy_difference: Interval | None = None
    p_value: float | None = None
    recall_difference: PairedRate | None = None
    false_positive_rate_difference: PairedRate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A new version beside the champion, by part; empty if there was none to compare with."""

    champion: str = ""  # its version
    parts: dict[str, ComparedPart] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecalibratedPart(PartRates):
    """Error rates of one version on one part, after its recalibration (challenger) and before it (champion).

    `roc_auc` is what no threshold changes; None where a class is missing.
    """

    roc_auc: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BeforeAndAfter:
    """A version before and after its recalibration, by part."""

    champion: str  # the version that was recalibrated
    parts: dict[str, RecalibratedPart]
