"""Define the result of a monitoring: the verdict, its evidence, and what is kept for the trend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from spamctl.schema.codec import ABSENT, EMPTY, UNWRITTEN, JsonObject, key
from spamctl.schema.message import NOT_SPAM, SPAM, Label
from spamctl.schema.rates import Interval

Verdict = Literal["ok", "warning", "failed"]
Status = Literal["ok", "warning", "failed", "not done"]
Side = Literal["spam", "not spam"]

SIDES: tuple[Side, ...] = (SPAM, NOT_SPAM)


@dataclass(frozen=True, slots=True)
class Check:
    """Result of one check of monitoring: it contains no message text."""

    name: str
    status: Status
    sentence: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one test, and the two values that it compared, if it compared values.

    It alarms from its `threshold` on, and then `adjusted_p`, corrected for the whole family of tests, is at most the
    false-alarm rate. `rows` are those of the window that it looked at.
    """

    name: str
    kind: str
    statistic: float
    threshold: float
    p_value: float
    adjusted_p: float
    alarm: bool
    reference: float | None
    current: float | None
    rows: int

    @property
    def exceeds(self) -> float:
        """Return the statistic in units of its threshold."""
        return self.statistic / self.threshold if self.threshold else 0.0


@dataclass(frozen=True, slots=True)
class GroupRates:
    """Rates of the verdicts on the trusted labels of one version, source or family; None where no row can tell."""

    name: str
    rows: int
    accuracy: Interval | None
    false_positive_rate: Interval | None
    recall: Interval | None


@dataclass(frozen=True, slots=True)
class Quality:
    """Quality of the verdicts as served, on `rows` with a trusted label; None where no row can tell a rate.

    `coverage` is the share of the window's rows that have such a label, `label_sources` counts them by source.
    """

    rows: int
    spam: int
    coverage: float
    label_sources: Mapping[str, int]
    accuracy: Interval | None
    precision: Interval | None
    recall: Interval | None
    f1: Interval | None
    false_positive_rate: Interval | None
    calibration_error: Interval | None


@dataclass(frozen=True, slots=True)
class Simulated:
    """Rows whose label was simulated from the verdict, and the share that agrees with it: no measure of quality."""

    rows: int
    agreement: float


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Rates by group, the largest groups first."""

    version: tuple[GroupRates, ...] = ()
    family: tuple[GroupRates, ...] = ()
    source: tuple[GroupRates, ...] = ()


@dataclass(frozen=True, slots=True)
class Support:
    """Share of the window's messages unlike any of the reference, the share expected, and the chance of so many."""

    share: float
    expected: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """Accuracy as the probabilities promise it without labels, and whether to believe it.

    `outside_support` is None where too few messages were compared to tell.
    """

    accuracy: Interval
    outside_support: Support | None
    trustworthy: bool
    assumption: str


@dataclass(frozen=True, slots=True)
class Term:
    """A word or phrase that became more frequent: `z` is its change in standard errors of the log-odds.

    The rates are shares of messages now and in the reference; `beside` are other terms of the very same messages.
    """

    term: str
    z: float
    current_rate: float
    reference_rate: float
    beside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Example:
    """A message near the change, by its uuid; its text is read from the store for one page, and never written here."""

    uuid: str | None = field(default=None, metadata=ABSENT)
    probability: float = 0.0
    score: float = 0.0
    text: str | None = field(default=None, metadata=UNWRITTEN)


@dataclass(frozen=True, slots=True)
class Carrier:
    """A version or a source: its share of the window, and its drift in units of the alarm threshold."""

    by: str
    name: str
    rows: int
    share: float
    drift: float


@dataclass(frozen=True, slots=True)
class Causes:
    """What changed: terms by side of the verdict, example messages, and who carries the change. All of it hostile."""

    spam: tuple[Term, ...] = ()
    not_spam: tuple[Term, ...] = field(default=(), metadata=key(NOT_SPAM))
    examples: Mapping[Label, tuple[Example, ...]] = field(default_factory=dict)
    carriers: tuple[Carrier, ...] = ()

    def terms(self, side: Side) -> tuple[Term, ...]:
        """Return the terms of one side, the most surely risen first."""
        return self.spam if side == SPAM else self.not_spam


@dataclass(frozen=True, slots=True)
class Overview:
    """What the messages of one sample are like; near duplicates count once in `distinct`.

    `length_median` is in characters, `scripts` are shares of all letters.
    """

    rows: int
    distinct: int
    repeated: int
    empty: int
    length_median: float
    odd_unicode_share: float
    scripts: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Overviews:
    """Overviews of the two samples that were compared."""

    reference: Overview
    current: Overview


@dataclass(frozen=True, slots=True)
class Separation:
    """ROC-AUC of a classifier of current against reference messages, and what it reaches by chance (95 % quantile)."""

    auc: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Window:
    """Rows that were examined: counts over all of them, and how many were `judged` by the tests.

    Moments are ISO 8601 in UTC, empty where there is none. `reach_known` rows say whether they are like the training
    data, `out_of_reach` are not. `trusted` rows have a label that was not simulated.
    """

    rows: int
    distinct: int = 0
    empty: int = 0
    spam: int = 0
    out_of_reach: int = 0
    reach_known: int = 0
    trusted: int = 0
    judged: int = 0
    sampled: bool = False
    since: str = ""
    until: str = ""
    oldest: str = ""
    newest: str = ""
    versions: Mapping[str, int] = field(default_factory=dict)
    sources: Mapping[str, int] = field(default_factory=dict)
    label_sources: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Validation rows of a version, good ones and spam, and how many of each are unlike its training data.

    `limit` is the novelty beyond which a message is; `caught` is the spam called spam by its probability, `lost` those
    of them that are delivered because they are out of reach.
    """

    limit: float = 0.0
    good: int
    good_out: int
    spam: int
    spam_out: int
    caught: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Reference:
    """The version that is judged, and the rows of its test part; `digest` is that part's sha256."""

    model_name: str
    model_version: str
    alias: str = ""
    threshold: float = 0.0
    rows: int = 0
    spam: int = 0
    parts: Mapping[str, int] = field(default_factory=dict)
    digest: str = ""
    out_of_reach: Reach | None = field(default=None, metadata=EMPTY)


@dataclass(frozen=True, slots=True)
class Figures:
    """What the trend shows of one run: shares, and the drift score in units of its threshold; None where unknown."""

    drift_score: float | None = None
    spam_share: float | None = None
    accuracy: Interval | None = None
    false_positive_rate: float | None = None
    estimated_accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """One run of the trend: when, of which version, over how many rows, and its figures as in `Figures`."""

    date: str
    verdict: str
    model_version: str
    rows: int
    drift_score: float | None = None
    spam_share: float | None = None
    accuracy: Interval | None = None
    false_positive_rate: float | None = None
    estimated_accuracy: float | None = None

    @classmethod
    def of(cls, date: str, verdict: str, model_version: str, rows: int, figures: Figures) -> Past:
        """Return a run with its figures beside it."""
        return cls(
            date,
            verdict,
            model_version,
            rows,
            figures.drift_score,
            figures.spam_share,
            figures.accuracy,
            figures.false_positive_rate,
            figures.estimated_accuracy,
        )


@dataclass(frozen=True, slots=True)
class LoggedRun:
    """Where MLflow keeps a run; the URI has no password in it."""

    tracking_uri: str
    experiment: str
    run_id: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """What comparing a window with the test part found.

    `drift_score` is the largest statistic in units of its threshold, 1 and more being an alarm, and None where nothing
    was tested. Texts stand in `causes` alone, and are hostile until they are escaped.
    """

    verdict: Verdict
    checks: tuple[Check, ...]
    tests: tuple[Outcome, ...] = ()
    drift_score: float | None = None
    quality: Quality | None = None
    simulated: Simulated | None = None
    quality_by: Breakdown = field(default_factory=Breakdown)
    estimate: Estimate | None = None
    causes: Causes = field(default_factory=Causes)
    data: Overviews | None = None
    domain_classifier: Separation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorResult(Judgement):
    """A judgement with the window and the version that it is about, and where all of it is kept.

    `history` are the runs of this model up to now, the oldest first; `evidently` are the figures of Evidently's pages
    by page; `next` is the command to type, where another one than the verdict's usual is meant.
    """

    window: Window
    reference: Reference
    store: str = ""
    history: tuple[Past, ...] = ()
    evidently: Mapping[str, JsonObject] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    mlflow: LoggedRun | None = field(default=None, metadata=EMPTY)
    run_id: str = ""
    next: str | None = field(default=None, metadata=ABSENT)
