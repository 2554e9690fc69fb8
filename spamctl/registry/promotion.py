"""Decide which versions are registered, and which lead: the gate and the promotion.

What leads is decided on recall and on the false-positive rate apart: `metrics/comparison.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from spamctl.data.feedback import looks
from spamctl.engine.engine import Engine
from spamctl.engine.manifest import Files
from spamctl.errors import SpamctlError
from spamctl.metrics.comparison import (
    ENOUGH,
    Decision,
    PairedRates,
    above,
    compare,
    doubts,
    error_rates,
    rates,
    sentence,
    worse,
)
from spamctl.metrics.scores import proportion
from spamctl.registry import registration
from spamctl.registry.registration import FEEDBACK_TAG, TestRows, champion_files, engine_of, enter
from spamctl.registry.registry_file import CHALLENGER, CHAMPION
from spamctl.schema.evaluation import Evaluation, SuiteReport
from spamctl.schema.message import SPAM
from spamctl.schema.rates import ComparedPart, Comparison, Interval, Score
from spamctl.schema.train import (
    FittedAnswers,
    LabelledRows,
    LearntAnswers,
    NoAnswers,
    RecalibrateResult,
    RecentRows,
    Side,
    TrainResult,
)
from spamctl.schema.version import Gate, Mode

if TYPE_CHECKING:
    from mlflow import MlflowClient

TOLERANCE = 0.01  # of accuracy on the frozen test part
LEAST_RECENT = 20  # rows; on fewer, being better is luck
MOST_DOUBT = 0.1  # share of labels: above it nothing can be concluded from the others either
TEST, RECENT = "test", "recent"  # parts on which versions are compared
WHAT = {TEST: "test messages", RECENT: "recent messages"}

Result = TypeVar("Result", TrainResult, RecalibrateResult)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Scores of a challenger on the frozen test part and on the recent rows, and the share of doubtful labels.

    `recent` is None for a version that learnt from no labelled answer. `budget` is the false-positive rate that it was
    given, `sides` are the looks of which it learnt one class, and `faults` what it does wrong in suites that decide.
    """

    test: TestRows
    recent: TestRows | None
    doubt: float
    budget: float
    sides: Sequence[Side] = ()
    faults: Sequence[str] = ()

    @classmethod
    def of(
        cls,
        test: LabelledRows,
        evaluation: Evaluation,
        answers: LearntAnswers | FittedAnswers | NoAnswers,
        recent: RecentRows,
        suites: SuiteReport,
        budget: float,
    ) -> Evidence:
        """Take it from what the steps of a flow have found."""
        threshold = evaluation.score.threshold
        rows = TestRows.of(test, evaluation.probabilities, threshold)
        if isinstance(answers, NoAnswers):
            return cls(rows, None, 0.0, budget, faults=suites.deciding)
        held_out = TestRows.of(recent.rows, recent.probabilities, threshold)
        sides = answers.one_sided if isinstance(answers, LearntAnswers) else ()
        return cls(rows, held_out, answers.doubt, budget, sides, suites.deciding)


@dataclass(frozen=True, slots=True)
class Promotion:
    """The alias that a version earned, why, how it and the champion compare on either part, and its number."""

    alias: str
    reason: str
    comparison: Comparison = field(default_factory=Comparison)
    version: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """Comparison of both versions on one part: on all its rows, and on spam and ham apart."""

    decision: Decision
    rates: PairedRates

    @classmethod
    def of(cls, rows: TestRows, theirs: Sequence[bool], what: str) -> Part:
        """Compare the verdicts of both versions on the same rows."""
        mine = rows.called_spam
        return cls(compare(rows.is_spam, mine, theirs, what), rates(rows.is_spam, mine, theirs, what))

    @property
    def words(self) -> str:
        """Describe both versions' rates in one sentence."""
        return f"{self.decision.reason}; {sentence(self.rates)}"


@dataclass(frozen=True, slots=True)
class Candidate:
    """Package that passed the gate: the registered model's name, the MLflow run it was made in, its files and tags."""

    name: str
    run_id: str
    files: Files
    tags: Mapping[str, str]


def admit(client: MlflowClient, candidate: Candidate, evidence: Evidence) -> Promotion:
    """Log and register a package as a new version, and give it the alias that it earns; raises as MLflow does."""
    model_uri = registration.log_model(candidate.run_id, candidate.files)
    version = registration.register(client, candidate.name, model_uri, candidate.run_id, candidate.tags)
    return promote(client, candidate.name, version, evidence)


def noted(result: Result, promotion: Promotion) -> Result:
    """Return the result of a training or a recalibration with what became of its version."""
    return replace(
        result,
        model_version=promotion.version,
        alias=promotion.alias,
        reason=promotion.reason,
        comparison=promotion.comparison,
    )


def promote(client: MlflowClient, name: str, version: str, evidence: Evidence) -> Promotion:
    """Make a version champion if it is the first, or better than the champion; else challenger.

    What is better is `judge`d where labelled answers were learnt, and else decided by the test part alone. Suites that
    decide go first. A champion that cannot be scored keeps its place.
    """
    if evidence.faults:
        earned = Promotion(CHALLENGER, f"it fails the suites: {'; '.join(evidence.faults)}")
    elif found := champion_files(client, name):
        try:
            earned = _beside(found[0], engine_of(client, name, *found), evidence)
        except SpamctlError as error:
            earned = Promotion(CHALLENGER, f"the champion, version {found[0]}, cannot be scored: {error}")
        if evidence.recent is None and client.get_model_version(name, found[0]).tags.get(FEEDBACK_TAG):
            learnt = "learnt from labelled answers and this one did not: --feedback"
            earned = Promotion(CHALLENGER, f"the champion, version {found[0]}, {learnt}")
    else:
        unknown = "; ".join(unmeasured(evidence))
        first = f"the first version of {name}{over_budget(evidence.test, evidence.budget)}"
        earned = Promotion(CHALLENGER, unknown) if unknown else Promotion(CHAMPION, first)
    enter(client, name, earned.alias, version)
    return replace(earned, version=version)


def over_budget(test: TestRows, budget: float) -> str:
    """Return a warning, if test rows show credibly more false positives than the budget allows; else nothing."""
    good = [called for is_spam, called in zip(test.is_spam, test.called_spam, strict=True) if not is_spam]
    rate = proportion(sum(good), len(good))
    return f"; its false-positive rate {above(rate, budget)}" if rate.low > budget else ""


def _beside(champion: str, engine: Engine, evidence: Evidence) -> Promotion:
    """Compare a version with the champion, whose engine is given, by what there is to compare them on."""
    if evidence.recent is not None:
        return _compared(champion, engine, evidence)
    return _on_test_part(_called_spam(engine, evidence.test.texts), evidence.test, evidence.budget)


def _on_test_part(theirs: Sequence[bool], test: TestRows, budget: float) -> Promotion:
    """Compare a version with the champion's verdicts on the same test rows.

    Not worse is who is right on as many rows, and credibly worse neither in recall nor in false-positive rate.
    """
    part = Part.of(test, theirs, WHAT[TEST])
    if not part.decision.not_worse:
        return Promotion(CHALLENGER, part.words)
    if faults := "; ".join(worse(part.rates, budget)):
        return Promotion(CHALLENGER, f"worse where accuracy does not show it: {faults}")
    return Promotion(CHAMPION, "; ".join([part.words, *doubts(part.rates, budget)]))


def _called_spam(engine: Engine, texts: Sequence[str]) -> list[bool]:
    """Return which texts a package calls spam."""
    called: list[bool] = (engine.probabilities(engine.logits(engine.tokenize(texts))) >= engine.threshold).tolist()
    return called


def judge(parts: Mapping[str, Part], evidence: Evidence, unknown: str = "") -> tuple[bool, str]:
    """Decide whether a challenger is promoted, and why, given the comparisons on `test` and, if any, on `recent`.

    It must not be worse than the champion by more than a point of accuracy on the frozen test part, nor credibly in
    recall or false-positive rate on any part, and right on more of the recent rows, whose labels must be credible;
    their order in time makes them a test of today. `unknown` says what nobody can tell of it. Being better by a few
    rows may be chance: the p-value says how likely, and a person can go back (`spamctl rollback`).
    """
    if fault := _fault(parts, evidence, unknown):
        return False, fault
    unsure = [f"; {doubt}" for name in WHAT for doubt in doubts(parts[name].rates, evidence.budget)]
    return True, f"{parts['recent'].words}; on the frozen test part {parts['test'].words}{''.join(unsure)}"


def _fault(parts: Mapping[str, Part], evidence: Evidence, unknown: str) -> str:
    """Return why a challenger does not lead, or nothing."""
    test, recent, rows = parts[TEST], parts.get(RECENT), len(evidence.recent.texts) if evidence.recent else 0
    fault = ""
    if test.decision.accuracy_difference.value < -TOLERANCE - 1e-9:  # else 9 fewer of 900 would be more than a point
        fault = f"worse by more than a point on the frozen test part: {test.words}"
    elif faults := [fault for part in parts.values() for fault in worse(part.rates, evidence.budget)]:
        fault = f"worse where accuracy does not show it: {'; '.join(faults)}"
    elif unknown:
        fault = unknown
    elif recent is None or rows < LEAST_RECENT:
        few = f"{rows:,} labelled messages were held out as recent, and fewer than {LEAST_RECENT} cannot show it better"
        fault = f"{few}: label more with spamctl label, or raise --recent-share"
    elif evidence.doubt > MOST_DOUBT:
        fault = (
            f"{evidence.doubt:.0%} of the labels are doubtful, so that the others prove nothing: "
            "look at them with spamctl label --source review --suspects"
        )
    elif recent.decision.only_challenger_right <= recent.decision.only_champion_right:
        fault = f"not better on what is new: {recent.words}"
    return fault


def unmeasured(evidence: Evidence) -> Iterator[str]:
    """Yield which looks were learnt from one class of which too few rows of the other one can be measured.

    A look that the dataset knew as well of this class is none: its test part says what was learnt.
    """
    for side in evidence.sides:
        rows = len(_counterparts(evidence, side).texts)
        if side.new and rows < ENOUGH:
            yield (
                f"{side.answers:,} answers {side.look} were learnt, labelled {side.label}, and the test part and the "
                f"recent messages hold {rows:,} such messages labelled {side.other}, fewer than {ENOUGH}: what it does "
                f"to those cannot be measured; label some {side.other} ones too, with spamctl label"
            )


def _counterparts(evidence: Evidence, side: Side) -> TestRows:
    """Return the rows of both parts that look like what was learnt and are of the other class."""
    rows = [
        row
        for part in filter(None, (evidence.test, evidence.recent))
        for row in zip(part.texts, part.is_spam, part.called_spam, strict=True)
        if row[1] == (side.other == SPAM) and side.look in looks(row[0])
    ]
    return TestRows([text for text, _, _ in rows], [spam for _, spam, _ in rows], [called for _, _, called in rows])


def _compared(champion: str, engine: Engine, evidence: Evidence) -> Promotion:
    """Score the champion on both parts and on the counterparts of one-sided feedback, and decide."""
    given = {TEST: (evidence.test, WHAT[TEST]), RECENT: (evidence.recent, WHAT[RECENT])}
    for side in evidence.sides:
        what = f"messages {side.look}, of which only {side.label} was learnt"
        given[side.look] = (_counterparts(evidence, side), what)
    parts: dict[str, Part] = {}
    told: dict[str, ComparedPart] = {}
    for name, (rows, what) in given.items():
        if rows and rows.texts:
            theirs = _called_spam(engine, rows.texts)
            parts[name] = part = Part.of(rows, theirs, what)
            told[name] = _told(rows, theirs, part)
    promoted, reason = judge(parts, evidence, "; ".join(unmeasured(evidence)))
    return Promotion(CHAMPION if promoted else CHALLENGER, reason, Comparison(champion=champion, parts=told))


def _told(rows: TestRows, theirs: Sequence[bool], part: Part) -> ComparedPart:
    """Return how both versions did on a part."""
    return ComparedPart(
        rows=len(rows.texts),
        spam=sum(rows.is_spam),
        challenger=error_rates(rows.is_spam, rows.called_spam),
        champion=error_rates(rows.is_spam, theirs),
        only_challenger_right=part.decision.only_challenger_right,
        only_champion_right=part.decision.only_champion_right,
        accuracy_difference=part.decision.accuracy_difference,
        p_value=part.decision.p_value,
        recall_difference=part.rates.recall,
        false_positive_rate_difference=part.rates.false_positive_rate,
    )


# Register a model only if its test accuracy reaches the threshold and it is better than a constant answer.
#
# Where few messages are spam, one that calls nothing spam is right on most of them: accuracy alone lets it pass.

CHANCE = 0.5  # the ROC AUC of who draws lots


def apply_gate(score: Score, threshold: float, mode: Mode) -> Gate:
    """Compare a test score with a threshold, and with what needs no filter.

    A model is refused, whatever the threshold, if it catches no spam, if the 95 % interval of its ROC AUC does not lie
    above chance, or if it is right on no more messages than one that gives all of them the more frequent verdict.
    """
    accuracy, counts = score.metrics.accuracy, score.confusion
    spam = counts.true_positives + counts.false_negatives
    larger = max(spam, score.rows - spam)
    reasons = [*_useless(score, spam, larger), *_below(accuracy, threshold, mode)]
    majority = larger / score.rows
    return Gate(threshold, mode, accuracy.value, accuracy.low, majority, not reasons, "; ".join(reasons))


def _useless(score: Score, spam: int, larger: int) -> Iterator[str]:
    """Yield why a model is no filter, in whole rows, so that no rounding opens the gate."""
    counts, area = score.confusion, score.metrics.roc_auc
    if not counts.true_positives:
        yield f"it catches none of {spam:,} spam test messages (recall 0)"
    if not area.low > CHANCE:  # which a value that is no number is not, either
        yield (
            f"it ranks spam no better than chance: ROC AUC {area.value:.4f}, "
            f"95 % interval {area.low:.4f} to {area.high:.4f}, and {CHANCE} is chance"
        )
    right = counts.true_positives + counts.true_negatives
    if right <= larger:
        kind = "spam" if larger == spam else "not spam"
        yield (
            f"it is right on {right:,} of {score.rows:,} test messages, "
            f"and calling every message {kind} is right on {larger:,}"
        )


def _below(accuracy: Interval, threshold: float, mode: Mode) -> Iterator[str]:
    """Yield how accuracy misses the threshold: the value, or the interval's lower end."""
    measured, name = (
        (accuracy.value, "test accuracy") if mode == "point" else (accuracy.low, "the lower bound of test accuracy")
    )
    if not measured >= threshold:
        yield f"{name} {measured:.6g} is below --accuracy-threshold {threshold:.6g}"
