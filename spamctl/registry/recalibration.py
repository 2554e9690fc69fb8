"""Fit a package's calibration and threshold anew to labelled answers, and report what it changed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spamctl import __version__, folders
from spamctl.data import corpus
from spamctl.data.bundled_sets import EVERYDAY
from spamctl.engine import manifest as artefact
from spamctl.engine import ngrams
from spamctl.engine.calibration import Bools, Calibration, logit, sigmoid
from spamctl.engine.engine import Engine, Logits
from spamctl.engine.manifest import MANIFEST, Files, Manifest
from spamctl.errors import DataError
from spamctl.export import finishing
from spamctl.export.finishing import Fitting
from spamctl.metrics.comparison import ENOUGH, error_rates
from spamctl.metrics.scores import CONFIDENCE
from spamctl.progress import ProgressGenerator, ProgressUpdate
from spamctl.registry.records import json_file, metrics_of, test_part, values_of, without_folder
from spamctl.registry.registration import FEEDBACK_TAG, Record, git_commit
from spamctl.registry.runs import Opening
from spamctl.schema.codec import to_json
from spamctl.schema.evaluation import Reach
from spamctl.schema.message import Message
from spamctl.schema.rates import OperatingPoint, RecalibratedPart
from spamctl.schema.train import RecalibrateFindings, RecalibrateResult, RecalibrateStart, VerdictRule
from spamctl.schema.version import Gate, MetaflowRun

if TYPE_CHECKING:
    from mlflow import MlflowClient

AT_A_TIME = 64  # rows between two ticks


@dataclass(frozen=True, slots=True)
class Setting(VerdictRule):
    """Rule that turns a package's raw logits into verdicts, and that can be applied to them."""

    @classmethod
    def of(cls, manifest: Manifest) -> Setting:
        """Take it from a package's manifest."""
        return cls(manifest.slope, manifest.intercept, manifest.threshold)

    def calls_spam(self, logits: Logits) -> Bools:
        """Return which raw logits (N,) are called spam."""
        called: Bools = Calibration(self.slope, self.intercept).apply(logits) >= self.threshold
        return called

    def threshold_in(self, other: Setting) -> float:
        """Return this threshold as a probability of another calibration; the two scales cannot be compared else."""
        raw = (logit(self.threshold) - self.intercept) / self.slope
        return float(sigmoid(other.slope * raw + other.intercept))


@dataclass(frozen=True, slots=True)
class Recalibrated:
    """The new sealed package, what changed in it, and the rates of the new threshold on the fitted answers."""

    files: Files
    before: Setting
    after: Setting
    point: OperatingPoint


def require_enough(answers: Sequence[Message], store: str, because: str = "") -> None:
    """Raise DataError if either class has too few answers to fit to; `because` says what became of the others."""
    spam = sum(message.is_spam for message in answers)
    counts = {"spam": spam, "not spam": len(answers) - spam}
    if missing := [f"{ENOUGH - rows:,} more {label}" for label, rows in counts.items() if rows < ENOUGH]:
        raise DataError(
            f"--feedback {store}: {counts['spam']:,} spam and {counts['not spam']:,} not spam labelled answers are "
            f"left to fit to{because}, and a threshold needs {ENOUGH} of each beside those held out as recent: "
            f"label at least {' and '.join(missing)} with spamctl label, or lower --recent-share"
        )


def recalibrate(
    files: Files, answers: Sequence[Message], budget: float, about: Mapping[str, object]
) -> ProgressGenerator[Recalibrated]:
    """Return a package that differs from another in calibration, threshold and golden messages alone; yield progress.

    The package's own engine scores the answers (N,), to which calibration and threshold are fitted as a training fits
    them to its validation rows (Platt 1999): weights, tokenizer and second expert stay byte for byte. `budget` is the
    share, in [0, 1), of the good answers that may be called spam, and `about` is added to what the package says of
    itself. Raises DataError if a class is missing, NothingLearntError if spam scores no higher than the rest,
    ArtefactError if the package is damaged.
    """
    with folders.temporary_folder() as place:
        engine = Engine(artefact.write(files, Path(place)))
        raw = yield from logits(engine, [message.text for message in answers], "labelled answers")
    draft = replace(engine.manifest, about=engine.manifest.about | dict(about) | {"max_false_positive_rate": budget})
    unsealed = {name: content for name, content in files.items() if name != MANIFEST}
    fitting = Fitting(np.array([message.is_spam for message in answers]), raw)
    scale, point = finishing.fit(fitting, budget)
    sealed = finishing.seal(unsealed, draft, scale, point.threshold)
    after = Setting(scale.slope, scale.intercept, point.threshold)
    return Recalibrated(sealed, Setting.of(engine.manifest), after, point)


def logits(engine: Engine, texts: Sequence[str], task: str) -> ProgressGenerator[Logits]:
    """Return the raw logits (N,) of texts, scored some at a time; yield progress."""
    found = [np.empty(0)]
    for start in range(0, len(texts), AT_A_TIME):
        part = texts[start : start + AT_A_TIME]
        found.append(engine.logits(engine.tokenize(part)))
        yield ProgressUpdate(task, start + len(part), len(texts))
    return np.concatenate(found)


def unproven(point: OperatingPoint, answers: Sequence[Message]) -> str:
    """Describe that too few good answers show whether the false-positive budget is kept; empty if enough do."""
    budget = point.max_false_positive_rate
    if point.false_positive_rate_upper <= budget:
        return ""
    good = sum(not message.is_spam for message in answers)
    needed = math.ceil(math.log(1 - CONFIDENCE) / math.log(1 - budget))  # with none called spam
    would = f"{needed:,} good answers with none called spam would show it" if good < needed else "they are too few"
    return (
        f"the budget of {budget:.2%} is not proven: of {good:,} good answers that the threshold was chosen on "
        f"{point.false_positives:,} are called spam, so the rate may be {point.false_positive_rate_upper:.2%}; "
        f"{would}: label more with spamctl label"
    )


def beside(is_spam: Sequence[bool], raw: Logits, before: Setting, after: Setting) -> RecalibratedPart:
    """Return how a package did on rows, whose truth and raw logits (N,) are given, before and after.

    `roc_auc` is the share of pairs of spam and good rows that the package ranks rightly.
    """
    from sklearn.metrics import roc_auc_score

    both = len(set(is_spam)) > 1
    return RecalibratedPart(
        roc_auc=float(roc_auc_score(is_spam, raw)) if both else None,
        rows=len(is_spam),
        spam=sum(is_spam),
        challenger=error_rates(is_spam, after.calls_spam(raw)),
        champion=error_rates(is_spam, before.calls_spam(raw)),
    )


def out_of_reach(engine: Engine, messages: Sequence[Message], raw: Logits) -> Reach:
    """Count the rows that are unlike all that was trained on, which a server may deliver whatever their score.

    Takes messages and their raw logits (N,). From where on a message is out of reach belongs to what was trained on,
    and stays. Empty where every message is in reach.
    """
    if engine.manifest.reach is None:
        return Reach()
    called = Setting.of(engine.manifest).calls_spam(raw)
    novelties = [row.novelty for row in engine.tokenize([message.text for message in messages])]
    truth = [message.is_spam for message in messages]
    return ngrams.measure_novelty(truth, called, novelties, engine.manifest.reach)


# Convert the result of a recalibration into the plain values that MLflow, the card and the terminal show.
#
# A version that was recalibrated keeps the weights of another, and so what is known of the training that made them: its
# data, its labelled answers, its test part. Its own tags begin with `recalibrated.`.

FROM_TAG = "recalibrated.from_version"
TRAINING_TAG = "recalibrated.training_run"
NEWEST_TAG = "data.feedback_newest"  # which a training leaves that learnt from labelled answers
_KEPT = ("data.", "base_model", "fallback_for")  # of the tags of the version that is recalibrated


@dataclass(frozen=True, slots=True)
class Origin:
    """The training behind a version's weights: its MLflow run, its options and its tags."""

    run_id: str
    params: Mapping[str, str]
    tags: Mapping[str, str]

    @property
    def learnt_until(self) -> datetime | None:
        """Return a moment after all labelled answers that the weights may have learnt; None if they learnt none."""
        newest = self.tags.get(NEWEST_TAG, "")
        return datetime.fromisoformat(newest) + timedelta(seconds=1) if newest else None  # it is cut to whole seconds

    @property
    def knows_today(self) -> bool:
        """Return whether the weights were trained on the whole corpus of today, as its suites require."""
        learnt = EVERYDAY in corpus.dataset_names(self.params.get("dataset", ""))
        return learnt and self.params.get("hold_out_kinds", "0") == "0"

    @property
    def test_sha256(self) -> str:
        """Return the sha256 of the test part, or nothing where it is not known."""
        return self.tags.get("data.test_sha256", "")


def origin(client: MlflowClient, name: str, version: str) -> Origin:
    """Ask the registry where a version's weights come from; what it does not know is empty."""
    from mlflow.exceptions import MlflowException

    found = client.get_model_version(name, version)
    run_id = str(found.tags.get(TRAINING_TAG) or found.run_id or "")
    try:
        params = dict(client.get_run(run_id).data.params) if run_id else {}
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        params = {}
    return Origin(run_id, params, {key: value for key, value in found.tags.items() if key.startswith(_KEPT)})


def about(start: RecalibrateStart) -> dict[str, object]:
    """Return what a recalibrated package says of itself beside what it said before: counts, never whose messages."""
    fitted = start.feedback.fitted
    counts = {"answers": fitted.rows, "spam": fitted.spam, "newest": start.feedback.newest}
    return {"spamctl": __version__, "recalibrated": {"from_version": start.version.version, **counts}}


def opening(name: str, params: Mapping[str, object], start: RecalibrateStart) -> Opening:
    """Return what a recalibration's run in MLflow is called and described as when it begins."""
    version, told = start.version.version, start.feedback
    store = without_folder(told.store)
    return Opening(
        name=f"{name}: version {version} recalibrated on {store}",
        description=(
            f"Recalibration of version {version} of the spam filter {name}: calibration and threshold are fitted to "
            f"{told.fitted.rows:,} labelled answers from {store}, the weights stay. Metaflow run {start.run_id}."
        ),
        began=start.began,
        metaflow_runs=(start.run_id, ""),
        params=params,
        tags={"spamctl.version": __version__, "mlflow.source.git.commit": git_commit()},
        verb="recalibrate",
    )


def summary(name: str, run: RecalibrateFindings, gate: Gate) -> RecalibrateResult:
    """Return the result of a recalibration before it is registered."""
    return RecalibrateResult(
        registered=gate.passed,
        reason=gate.reason,
        model_name=name,
        from_version=run.start.version.version,
        gate=gate,
        before=run.before,
        after=run.after,
        after_on_old_scale=run.after_on_old_scale,
        operating_point=run.operating_point,
        measured=run.measured,
        scores=run.evaluation.score.metrics,
        reach=run.reach,
        parity=run.evaluation.parity,
        notes=(*run.operating_point.notes, *run.evaluation.score.notes),
        suites=run.suites,
        feedback=run.start.feedback,
        metaflow=MetaflowRun(run.start.run_id),
    )


def record(params: Mapping[str, object], run: RecalibrateFindings, result: RecalibrateResult) -> Record:
    """Return what a recalibration leaves in MLflow."""
    told = run.start.feedback
    metrics = metrics_of(run.evaluation.score.metrics, "test")
    for part, found in run.measured.parts.items():
        metrics |= values_of(found.challenger, part) | values_of(found.champion, part, "_before")
        metrics |= {f"{part}_roc_auc": found.roc_auc} if found.roc_auc is not None else {}
    metrics |= to_json(run.after) | {f"{name}_before": value for name, value in to_json(run.before).items()}
    metrics |= {"fitted_answers": told.fitted.rows, "fitted_spam": told.fitted.spam}
    rows = test_part(run.test, run.evaluation.probabilities, run.recent)
    files: dict[str, object] = {"score": run.evaluation.score, "parity": run.evaluation.parity, "test_part": rows}
    files |= {"operating_point": run.operating_point, "before_and_after": run.measured}
    files |= {"reach": run.reach} if run.reach else {}
    files |= {"suite_report": run.suites} if run.suites.lines else {}
    return Record(
        params={**params, "recalibrated_version": result.from_version},
        metrics=metrics,
        tags=tags(run, result),
        files={f"evaluation/{name}.json": json_file(value) for name, value in files.items()},
        dataset=("labelled answers", without_folder(told.store), told.sha256),
    )


def tags(run: RecalibrateFindings, result: RecalibrateResult) -> dict[str, str]:
    """Return what a recalibration's run and its version are tagged with.

    A version that was fitted to labelled answers counts as one that learnt from them: it was chosen for what is new.
    """
    start, told = run.start, run.start.feedback
    store = without_folder(told.store)
    return {
        FEEDBACK_TAG: store,
        **start.origin_tags,
        "data.test_sha256": start.test_sha256,
        "spamctl.version": __version__,
        "mlflow.source.git.commit": git_commit(),
        "metaflow.run_id": start.run_id,
        "gate": "passed" if result.registered else result.reason,
        FROM_TAG: result.from_version,
        TRAINING_TAG: start.training_run,
        "recalibrated.feedback": store,
        "recalibrated.answers": str(told.fitted.rows),
        "recalibrated.spam": str(told.fitted.spam),
        "recalibrated.recent": str(told.recent.rows),
        "recalibrated.sources": ",".join(sorted(told.sources)),
        "recalibrated.newest": told.newest,
        "recalibrated.sha256": told.sha256,
        "recalibrated.set_aside": str(told.doubtful),
    }
