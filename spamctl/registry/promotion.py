"""Decide which versions are registered, and which lead: the gate and the promotion.

What leads is decided on recall and on the false-positive rate apart: `metrics/comparison.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from spamctl.data.feedback import Side, looks
from spamctl.engine.engine import Engine
from spamctl.engine.manifest import Files
from spamctl.errors import SpamctlError
from spamctl.metrics.comparison import ENOUGH, Decision, Rates, compare, doubts, rates, sentence, worse
from spamctl.metrics.scores import proportion
from spamctl.registry import registration
from spamctl.registry.registration import TestRows, called_spam, champion_files, engine_of, enter, over_budget
from spamctl.registry.registry_file import CHALLENGER, CHAMPION
from spamctl.schema.message import SPAM

if TYPE_CHECKING:
    from mlflow import MlflowClient

TOLERANCE = 0.01  # of accuracy on the frozen test part
LEAST_RECENT = 20  # rows; on fewer, being better is luck
MOST_DOUBT = 0.1  # share of labels: above it nothing can be concluded from the others either
WHAT = {"test": "test messages", "recent": "recent messages"}


@dataclass(frozen=True, slots=True)
class Evidence:
    """Scores of a challenger on the frozen test part and on the recent rows, and the share of doubtful labels.

    `budget` is the false-positive rate that it was given, and `sides` are the looks of which it learnt one class.
    """

    test: TestRows
    recent: TestRows
    doubt: float
    budget: float
    sides: Sequence[Side] = ()


@dataclass(frozen=True, slots=True)
class Promotion:
    """The alias that a version earned, why, and how it and the champion compare on either part, as plain JSON."""

    alias: str
    reason: str
    comparison: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """Comparison of both versions on one part: on all its rows, and on spam and ham apart."""

    decision: Decision
    rates: Rates

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


def admit(client: MlflowClient, candidate: Candidate, run: Mapping[str, Any], budget: float) -> dict[str, Any]:
    """Log and register a package as a new version, and give it its alias; return both, and why.

    `run` is what the flow found out of it, `budget` its false-positive rate. Raises as MLflow does.
    """
    model_uri = registration.log_model(candidate.run_id, candidate.files)
    version = registration.register(client, candidate.name, model_uri, candidate.run_id, candidate.tags)
    return {"model_version": version} | settle(client, candidate.name, version, run, budget)


def settle(client: MlflowClient, name: str, version: str, run: Mapping[str, Any], budget: float) -> dict[str, Any]:
    """Give a newly registered version (`run`) its alias; return that, the reason, and what was compared."""
    if faults := run.get("suite_report", {}).get("deciding", ()):
        enter(client, name, CHALLENGER, version)
        return {"alias": CHALLENGER, "reason": f"it fails the suites: {'; '.join(faults)}"}
    threshold, told = run["evaluation"]["score"]["threshold"], run["feedback"]
    test = TestRows.of(run["parts"]["test"], run["evaluation"]["probabilities"], threshold)
    if "store" not in told:
        alias, reason = registration.promote(client, name, version, test, budget)
        return {"alias": alias, "reason": reason}
    recent = TestRows.of(run["recent"], run["recent_probabilities"], threshold)
    sides = tuple(Side(**side) for side in told.get("one_sided", ()))
    found = promote(client, name, version, Evidence(test, recent, told["doubt"], budget, sides))
    return {"alias": found.alias, "reason": found.reason, "comparison": found.comparison}


def promote(client: MlflowClient, name: str, version: str, evidence: Evidence) -> Promotion:
    """Make a version champion if `judge` says so, or if there is none yet; else challenger.

    A champion that cannot be scored keeps its place, and so does none where the other class of what was learnt cannot
    be measured.
    """
    unknown = "; ".join(unmeasured(evidence))
    found = champion_files(client, name)
    if not found:
        first = f"the first version of {name}{over_budget(evidence.test, evidence.budget)}"
        promotion = Promotion(CHALLENGER, unknown, {}) if unknown else Promotion(CHAMPION, first, {})
    else:
        try:
            promotion = _compared(found[0], engine_of(client, name, *found), evidence, unknown)
        except SpamctlError as error:
            reason = f"the champion, version {found[0]}, cannot be scored: {error}"
            promotion = Promotion(CHALLENGER, reason, {})
    enter(client, name, promotion.alias, version)
    return promotion


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
    test, recent, rows = parts["test"], parts.get("recent"), len(evidence.recent.texts)
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
        for part in (evidence.test, evidence.recent)
        for row in zip(part.texts, part.is_spam, part.called_spam, strict=True)
        if row[1] == (side.other == SPAM) and side.look in looks(row[0])
    ]
    return TestRows([text for text, _, _ in rows], [spam for _, spam, _ in rows], [called for _, _, called in rows])


def _compared(champion: str, engine: Engine, evidence: Evidence, unknown: str) -> Promotion:
    """Score the champion on both parts and on the counterparts of one-sided feedback, and decide."""
    given = {"test": (evidence.test, WHAT["test"]), "recent": (evidence.recent, WHAT["recent"])}
    for side in evidence.sides:
        what = f"messages {side.look}, of which only {side.label} was learnt"
        given[side.look] = (_counterparts(evidence, side), what)
    parts: dict[str, Part] = {}
    told: dict[str, dict[str, Any]] = {}
    for name, (rows, what) in given.items():
        if rows.texts:
            theirs = called_spam(engine, rows.texts)
            parts[name] = part = Part.of(rows, theirs, what)
            told[name] = _told(rows, theirs, part)
    promoted, reason = judge(parts, evidence, unknown)
    return Promotion(CHAMPION if promoted else CHALLENGER, reason, {"champion": champion, "parts": told})


def _told(rows: TestRows, theirs: Sequence[bool], part: Part) -> dict[str, Any]:
    """Return how both versions did on a part as plain JSON."""
    compared = part.decision.as_dict()
    return {
        "rows": len(rows.texts),
        "spam": sum(rows.is_spam),
        "challenger": scores(rows.is_spam, rows.called_spam),
        "champion": scores(rows.is_spam, theirs),
        **{name: value for name, value in compared.items() if name not in {"reason", "not_worse"}},
        **part.rates.as_dict(),
    }


def scores(is_spam: Any, called: Any) -> dict[str, dict[str, float]]:
    """Return accuracy, recall and false positive rate of verdicts (N,), each with its 95 % interval."""
    truth, spam = np.asarray(is_spam, dtype=bool), np.asarray(called, dtype=bool)
    counts = {
        "accuracy": (truth == spam, truth | True),
        "recall": (truth & spam, truth),
        "false_positive_rate": (~truth & spam, ~truth),
    }
    return {name: asdict(proportion(int(hits.sum()), int(rows.sum()))) for name, (hits, rows) in counts.items()}


# Register a model only if its test accuracy reaches the threshold and it is better than a constant answer.
#
# Where few messages are spam, one that calls nothing spam is right on most of them: accuracy alone lets it pass.

Mode = Literal["point", "lower-bound"]
CHANCE = 0.5  # the ROC AUC of who draws lots


@dataclass(frozen=True, slots=True)
class Gate:
    """The threshold, the measurement, and the decision with its reason; `majority` is the larger class's share.

    `majority` is what a model that gives every message the same verdict is right on.
    """

    threshold: float
    mode: Mode
    accuracy: float
    low: float
    majority: float
    passed: bool
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """Return the gate as plain JSON."""
        return asdict(self)


def apply_gate(score: Mapping[str, Any], threshold: float, mode: Mode) -> Gate:
    """Compare a test score (as `Score.as_dict` writes it) with a threshold, and with what needs no filter.

    A model is refused, whatever the threshold, if it catches no spam, if the 95 % interval of its ROC AUC does not lie
    above chance, or if it is right on no more messages than one that gives all of them the more frequent verdict.
    """
    accuracy, counts = score["metrics"]["accuracy"], score["confusion"]
    spam = counts["true_positives"] + counts["false_negatives"]
    larger = max(spam, score["rows"] - spam)
    reasons = [*_useless(score, spam, larger), *_below(accuracy, threshold, mode)]
    majority = larger / score["rows"]
    return Gate(threshold, mode, accuracy["value"], accuracy["low"], majority, not reasons, "; ".join(reasons))


def _useless(score: Mapping[str, Any], spam: int, larger: int) -> Iterator[str]:
    """Yield why a model is no filter, in whole rows, so that no rounding opens the gate."""
    counts, area = score["confusion"], score["metrics"]["roc_auc"]
    if not counts["true_positives"]:
        yield f"it catches none of {spam:,} spam test messages (recall 0)"
    if not area["low"] > CHANCE:  # which a value that is no number is not, either
        yield (
            f"it ranks spam no better than chance: ROC AUC {area['value']:.4f}, "
            f"95 % interval {area['low']:.4f} to {area['high']:.4f}, and {CHANCE} is chance"
        )
    right = counts["true_positives"] + counts["true_negatives"]
    if right <= larger:
        kind = "spam" if larger == spam else "not spam"
        yield (
            f"it is right on {right:,} of {score['rows']:,} test messages, "
            f"and calling every message {kind} is right on {larger:,}"
        )


def _below(accuracy: Mapping[str, float], threshold: float, mode: Mode) -> Iterator[str]:
    """Yield how accuracy misses the threshold: the value, or the interval's lower end."""
    measured, name = (
        (accuracy["value"], "test accuracy")
        if mode == "point"
        else (accuracy["low"], "the lower bound of test accuracy")
    )
    if not measured >= threshold:
        yield f"{name} {measured:.6g} is below --accuracy-threshold {threshold:.6g}"
