"""Convert the result of a recalibration into the plain values that MLflow, the card and the terminal show.

A version that was recalibrated keeps the weights of another, and so what is known of the training that made them: its
data, its labelled answers, its test part. Its own tags begin with `recalibrated.`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from spamctl import __version__
from spamctl.data import datasets
from spamctl.data.everyday import EVERYDAY
from spamctl.model.gate import Gate
from spamctl.model.journal import Opening
from spamctl.model.recalibration import Setting
from spamctl.model.record import test_part, without_folder
from spamctl.model.registry import FEEDBACK_TAG, Record, git_commit

if TYPE_CHECKING:
    from mlflow import MlflowClient

Values = Mapping[str, Any]
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


def about(version: str, told: Values) -> dict[str, Any]:
    """Return what a recalibrated package says of itself beside what it said before: counts, never whose messages."""
    counts = {"answers": told["fitted"]["rows"], "spam": told["fitted"]["spam"], "newest": told["newest"]}
    return {"spamctl": __version__, "recalibrated": {"from_version": version, **counts}}


def opening(options: Values, run: Values) -> Opening:
    """Return what a recalibration's run in MLflow is called and described as when it begins."""
    name, version, told = options["model_name"], run["found"]["version"], run["feedback"]
    store = without_folder(told["store"])
    return Opening(
        name=f"{name}: version {version} recalibrated on {store}",
        description=(
            f"Recalibration of version {version} of the spam filter {name}: calibration and threshold are fitted to "
            f"{told['fitted']['rows']:,} labelled answers from {store}, the weights stay. Metaflow run {run['run_id']}."
        ),
        began=run["began"],
        metaflow_runs=(run["run_id"], ""),
        params=options,
        tags={"spamctl.version": __version__, "mlflow.source.git.commit": git_commit()},
        verb="recalibrate",
    )


def summary(options: Values, run: Values, gate: Gate) -> dict[str, Any]:
    """Return the result of a recalibration before it is registered."""
    return {
        "registered": gate.passed,
        "reason": gate.reason,
        "alias": "",
        "model_name": options["model_name"],
        "model_version": "",
        "from_version": run["found"]["version"],
        "gate": gate.as_dict(),
        "before": run["before"],
        "after": run["after"],
        "after_on_old_scale": Setting(**run["after"]).threshold_in(Setting(**run["before"])),
        "operating_point": run["operating_point"],
        "measured": run["measured"],
        "scores": run["evaluation"]["score"]["metrics"],
        "reach": run["reach"],
        "parity": run["evaluation"]["parity"],
        "notes": [*run["operating_point"]["notes"], *run["evaluation"]["score"]["notes"]],
        "suites": run.get("suite_report", {}),
        "feedback": run["feedback"],
        "metaflow": {"run_id": run["run_id"]},
    }


def record(options: Values, run: Values) -> Record:
    """Return what a recalibration leaves in MLflow."""
    result, told = run["result"], run["feedback"]
    metrics = {f"test_{name}": score["value"] for name, score in result["scores"].items()}
    metrics |= {f"test_{name}_{end}": one[end] for name, one in result["scores"].items() for end in ("low", "high")}
    for part, found in run["measured"]["parts"].items():
        metrics |= {f"{part}_{name}": score["value"] for name, score in found["challenger"].items()}
        metrics |= {f"{part}_roc_auc": found["roc_auc"]} if found["roc_auc"] is not None else {}
        metrics |= {f"{part}_{name}_before": score["value"] for name, score in found["champion"].items()}
    metrics |= run["after"] | {f"{name}_before": value for name, value in run["before"].items()}
    metrics |= {"fitted_answers": told["fitted"]["rows"], "fitted_spam": told["fitted"]["spam"]}
    files = {"score": run["evaluation"]["score"], "parity": run["evaluation"]["parity"], "test_part": test_part(run)}
    files |= {"operating_point": run["operating_point"], "before_and_after": run["measured"]}
    files |= {"reach": run["reach"]} if run["reach"] else {}
    files |= {"suite_report": run["suite_report"]} if run.get("suite_report") else {}
    return Record(
        params={**options, "recalibrated_version": result["from_version"]},
        metrics=metrics,
        tags=tags(run),
        files={f"evaluation/{name}.json": json.dumps(value, indent=1).encode() for name, value in files.items()},
        dataset=("labelled answers", without_folder(told["store"]), told["sha256"]),
    )


def tags(run: Values) -> dict[str, str]:
    """Return what a recalibration's run and its version are tagged with.

    A version that was fitted to labelled answers counts as one that learnt from them: it was chosen for what is new.
    """
    result, told = run["result"], run["feedback"]
    store = without_folder(told["store"])
    return {
        FEEDBACK_TAG: store,
        **run["origin_tags"],
        "data.test_sha256": run["test_sha256"],
        "spamctl.version": __version__,
        "mlflow.source.git.commit": git_commit(),
        "metaflow.run_id": run["run_id"],
        "gate": "passed" if result["registered"] else result["reason"],
        FROM_TAG: result["from_version"],
        TRAINING_TAG: run["training_run"],
        "recalibrated.feedback": store,
        "recalibrated.answers": str(told["fitted"]["rows"]),
        "recalibrated.spam": str(told["fitted"]["spam"]),
        "recalibrated.recent": str(told["recent"]["rows"]),
        "recalibrated.sources": ",".join(sorted(told["sources"])),
        "recalibrated.newest": told["newest"],
        "recalibrated.sha256": told["sha256"],
        "recalibrated.set_aside": str(told["doubtful"]),
    }
