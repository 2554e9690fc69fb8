"""Define how a new version compares with the champion on the same messages."""

from __future__ import annotations

from dataclasses import dataclass, field

from spamctl.schema.rates import ErrorRates, Interval


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
