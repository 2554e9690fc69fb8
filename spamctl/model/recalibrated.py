"""Convert the result of a recalibration into the plain values that MLflow, the card and the terminal show.

A version that was recalibrated keeps the weights of another, and so what is known of the training that made them: its
data, its labelled answers, its test part. Its own tags begin with `recalibrated.`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from spamctl import __version__
from spamctl.data import datasets
from spamctl.data.everyday import EVERYDAY
from spamctl.model.journal import Opening
from spamctl.model.record import json_file, metrics_of, test_part, values_of, without_folder
from spamctl.model.registry import FEEDBACK_TAG, Record, git_commit
from spamctl.schema.codec import to_json
from spamctl.schema.recalibrate import RecalibrateFindings, RecalibrateResult, RecalibrateStart
from spamctl.schema.version import Gate, MetaflowRun

if TYPE_CHECKING:
    from mlflow import MlflowClient

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
        learnt = EVERYDAY in datasets.names(self.params.get("dataset", ""))
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
