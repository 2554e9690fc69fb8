"""Define what the steps of a recalibration find, and its result as it is told and kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from spamctl.schema.comparison import BeforeAndAfter, Comparison
from spamctl.schema.evaluation import Evaluation, Parity, Reach, SuiteReport
from spamctl.schema.feedback import FittedAnswers
from spamctl.schema.rates import OperatingPoint, Rates
from spamctl.schema.train import LabelledRows, RecentRows
from spamctl.schema.version import Gate, MetaflowRun, MlflowRun, ModelVersion


@dataclass(frozen=True, slots=True)
class VerdictRule:
    """What turns a package's raw logits into verdicts: slope and intercept of its calibration, and its threshold.

    The threshold is a probability, on the scale of this calibration.
    """

    slope: float
    intercept: float
    threshold: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RecalibrateStart:
    """What a recalibration knows before it fits: the version, its training's run and tags, and the answers."""

    run_id: str
    began: float
    version: ModelVersion
    origin_tags: Mapping[str, str]
    training_run: str
    test_sha256: str
    feedback: FittedAnswers


@dataclass(frozen=True, slots=True, kw_only=True)
class RecalibrateFindings:
    """All that the steps of a recalibration have found; `test` are [text, label] rows, `reach` is by part."""

    start: RecalibrateStart
    test: LabelledRows
    recent: RecentRows
    before: VerdictRule
    after: VerdictRule
    after_on_old_scale: float
    operating_point: OperatingPoint
    evaluation: Evaluation
    measured: BeforeAndAfter
    reach: dict[str, Reach] = field(default_factory=dict)
    suites: SuiteReport = field(default_factory=SuiteReport)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecalibrateResult:
    """Result of a recalibration, as its flow tells it; `seconds` by step, `peak_memory` in bytes.

    `after_on_old_scale` is the new threshold as a probability of the old calibration: the two scales cannot be compared
    else.
    """

    registered: bool
    reason: str = ""
    alias: str = ""
    model_name: str
    model_version: str = ""
    from_version: str
    gate: Gate
    before: VerdictRule
    after: VerdictRule
    after_on_old_scale: float
    operating_point: OperatingPoint
    measured: BeforeAndAfter
    scores: Rates
    reach: dict[str, Reach] = field(default_factory=dict)
    parity: Parity | None = None
    notes: tuple[str, ...] = ()
    suites: SuiteReport = field(default_factory=SuiteReport)
    feedback: FittedAnswers
    comparison: Comparison = field(default_factory=Comparison)
    metaflow: MetaflowRun
    mlflow: MlflowRun | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory: int = 0
