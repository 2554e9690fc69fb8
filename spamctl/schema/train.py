"""Define what a training or a recalibration starts from, what its steps find, and its result as it is told and kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from spamctl.schema.evaluation import Evaluation, GroupScore, GroupScores, Parity, Reach, SuiteReport, UnseenScore
from spamctl.schema.message import NOT_SPAM, SPAM, Label
from spamctl.schema.rates import BeforeAndAfter, Comparison, OperatingPoint, Rates, Score
from spamctl.schema.version import Gate, MetaflowRun, MlflowRun, ModelVersion

# Define what a training or a recalibration took from labelled answers, in counts and without a text.


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


# Define what a training starts from, what its steps find, and its result as it is told and kept.

LabelledRows = list[list[str]]  # [text, label] of each message


@dataclass(frozen=True, slots=True)
class ChosenModel:
    """The base model that was used, the one that was asked for, and where it was found."""

    name: str
    requested: str
    origin: str

    @property
    def is_fallback(self) -> bool:
        """Return whether another base model is used than was asked for."""
        return self.name != self.requested


@dataclass(frozen=True, slots=True)
class CorpusSource:
    """Where the messages are from; sha256 of their files, of the test part, and of the labelled answers, if any."""

    origin: str
    sha256: str
    test_sha256: str
    feedback_sha256: str = ""


@dataclass(frozen=True, slots=True)
class PartRows:
    """The [text, label] rows of the three parts; texts are hostile until they are escaped."""

    train: LabelledRows
    validation: LabelledRows
    test: LabelledRows


@dataclass(frozen=True, slots=True)
class Leakage:
    """Numbers of messages of a later part whose text (exact) or digit-masked text an earlier part holds too."""

    exact: int
    masked: int


@dataclass(frozen=True, slots=True)
class BlockScore:
    """Cross-validated log loss of a block in nats, its standard error, and its accuracy."""

    block: int
    log_loss: float
    standard_error: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Depth:
    """How many of a base model's blocks are kept, and what each of them scored, if they were scored."""

    chosen: int
    blocks: int
    scores: tuple[BlockScore, ...] = ()


@dataclass(frozen=True, slots=True)
class Losses:
    """Loss curves: (optimiser step, cross-entropy in nats per message)."""

    training: list[tuple[int, float]]
    validation: list[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Distance:
    """Distance of validation scores from float32's: the fall in ROC-AUC, and the share of verdicts that change.

    `largest` is the largest change of a probability.
    """

    auc_fall: float
    changed: float
    largest: float

    def within(self, tolerance: float, *, learnt_in_int8: bool = False) -> bool:
        """Return whether both the fall in ROC-AUC and the share of changed verdicts are at most `tolerance`.

        Of a head that learnt from what int8 makes, the verdicts in int8 are its own; float32's are then no measure.
        """
        return self.auc_fall <= tolerance and (learnt_in_int8 or self.changed <= tolerance)


@dataclass(frozen=True, slots=True)
class Packaging:
    """The engine of a package, its operating point, which validation rows are out of reach, and each engine tried."""

    engine: str
    point: OperatingPoint
    reach: Reach = field(default_factory=Reach)
    distances: dict[str, Distance] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BaselineChoice:
    """View of the text, cost of errors, folds and cross-validated average precision of the tuned baseline."""

    view: str
    cost: float
    folds: int
    average_precision: float


@dataclass(frozen=True, slots=True)
class PlattScaling:
    """Slope and intercept of the line from a raw score to the logit of a probability."""

    slope: float
    intercept: float


@dataclass(frozen=True, slots=True)
class Baseline:
    """The linear baseline on the same split: its choice, calibration, scores, and probabilities (test rows,)."""

    chosen: BaselineChoice
    calibration: PlattScaling
    operating_point: OperatingPoint
    score: Score
    probabilities: list[float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """The options of a training that its record tells apart, and all that may be written down, by name."""

    model_name: str
    dataset: str
    tune: str
    max_false_positive_rate: float
    seed: int
    recorded: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainStart:
    """What a training knows before it computes anything; `began` is in seconds since 1970.

    `origin_run_id` is the Metaflow run that it goes on with, or nothing.
    """

    run_id: str
    origin_run_id: str = ""
    began: float = 0.0
    base_model: ChosenModel
    corpus: CorpusSource
    parts: PartRows
    leakage: Leakage
    feedback: FeedbackSummary = field(default_factory=NoAnswers)


@dataclass(frozen=True, slots=True)
class RecentRows:
    """The newest labelled answers as [text, label] rows, held out, and the model's probabilities (rows,)."""

    rows: LabelledRows = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainFindings:
    """All that the steps of a training have found, which its record and its result are made of."""

    start: TrainStart
    depth: Depth
    losses: Losses
    package: Packaging
    evaluation: Evaluation
    baseline: Baseline
    kinds: GroupScores = field(default_factory=GroupScores)
    unseen: tuple[UnseenScore, ...] = ()
    held_out_kinds: tuple[GroupScore, ...] = ()
    suites: SuiteReport = field(default_factory=SuiteReport)
    recent: RecentRows = field(default_factory=RecentRows)


@dataclass(frozen=True, slots=True)
class DataSizes:
    """Origin of the messages, and how many each part holds; `test_spam` are those of the test part labelled spam."""

    origin: str
    train: int
    validation: int
    test: int
    test_spam: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """Result of a training, as its flow tells it; `seconds` by step, `peak_memory` in bytes.

    `threshold` is a probability. `reach` is by part. What a training did not come to is None or empty.
    """

    registered: bool
    reason: str = ""
    alias: str = ""
    model_name: str
    model_version: str = ""
    gate: Gate
    base_model: str
    wanted_base_model: str = ""
    fallback: bool = False
    depth: int = 0
    blocks: int = 0
    tune: str = ""
    engine: str = ""
    data: DataSizes
    threshold: float
    scores: Rates | None = None
    baseline: Rates | None = None
    reach: dict[str, Reach] = field(default_factory=dict)
    parity: Parity | None = None
    leakage: Leakage | None = None
    notes: tuple[str, ...] = ()
    kinds: GroupScores = field(default_factory=GroupScores)
    unseen: tuple[UnseenScore, ...] = ()
    held_out_kinds: tuple[GroupScore, ...] = ()
    suites: SuiteReport = field(default_factory=SuiteReport)
    feedback: FeedbackSummary = field(default_factory=NoAnswers)
    comparison: Comparison = field(default_factory=Comparison)
    metaflow: MetaflowRun
    mlflow: MlflowRun | None = None
    next: str = "spamctl cards train"
    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory: int = 0


def spam_rows(rows: LabelledRows) -> int:
    """Count the spam among [text, label] rows."""
    return sum(label == SPAM for _, label in rows)


# Define what the steps of a recalibration find, and its result as it is told and kept.


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
