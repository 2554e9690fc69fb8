"""Convert the result of a training into the plain values that MLflow, the cards and the terminal show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spamctl import __version__
from spamctl.registry.promotion import Gate
from spamctl.registry.registration import FEEDBACK_TAG, Record, git_commit
from spamctl.registry.runs import Opening
from spamctl.schema.message import SPAM

Values = Mapping[str, Any]
_DATASETS = {"sms-spam": "sms", "everyday": "everyday"}  # what a file of one's own is called is nobody's business
SHOWN = ("dataset", "medium", "language")  # of a table by kind, in a terminal; all views are among the files of a run


def about(options: Values, run: Values) -> dict[str, Any]:
    """Return what a package says of itself to people: where it comes from, never whose messages."""
    return {
        "spamctl": __version__,
        "base_model": {key: without_folder(value) for key, value in run["chosen_model"].items()},
        "fallback": run["chosen_model"]["name"] != run["chosen_model"]["requested"],
        "depth": run["chosen_depth"],
        "blocks": run["blocks"],
        "tune": options["tune"],
        "dataset": {key: without_folder(value) for key, value in run["corpus"].items()},
        "max_false_positive_rate": options["max_false_positive_rate"],
        "seed": options["seed"],
    }


def summary(options: Values, run: Values, gate: Gate) -> dict[str, Any]:
    """Return the result of a training before it is registered."""
    sizes = {name: len(rows) for name, rows in run["parts"].items()}
    return {
        "registered": gate.passed,
        "reason": gate.reason,
        "alias": "",
        "model_name": options["model_name"],
        "model_version": "",
        "gate": gate.as_dict(),
        "base_model": run["chosen_model"]["name"],
        "wanted_base_model": run["chosen_model"]["requested"],
        "fallback": run["chosen_model"]["name"] != run["chosen_model"]["requested"],
        "depth": run["chosen_depth"],
        "blocks": run["blocks"],
        "tune": options["tune"],
        "engine": run["chosen_engine"],
        "data": {"origin": run["corpus"]["origin"], **sizes, "test_spam": spam_rows(run["parts"]["test"])},
        "threshold": run["operating_point"]["threshold"],
        "scores": run["evaluation"]["score"]["metrics"],
        "baseline": run["baseline"]["score"]["metrics"],
        "reach": {"validation": run["reach"], "test": run["evaluation"]["reach"]} if run.get("reach") else {},
        "parity": run["evaluation"]["parity"],
        "leakage": run["leakage"],
        "notes": run["operating_point"]["notes"] + run["evaluation"]["score"]["notes"] + run["baseline"]["notes"],
        "kinds": {who: [one for one in rows if one["view"] in SHOWN] for who, rows in run.get("kinds", {}).items()},
        "unseen": run.get("unseen", []),
        "held_out_kinds": [one for one in run.get("held_out_kinds", ()) if one["view"] in {*SHOWN, "held out"}],
        "suites": run.get("suite_report", {}),
        "feedback": run.get("feedback", {}),
        "metaflow": {"run_id": run["run_id"]},
        "next": "spamctl cards train",
    }


def opening(options: Values, run: Values) -> Opening:
    """Return what a training's run in MLflow is called and described as when it begins."""
    base_model, dataset = without_folder(run["chosen_model"]["name"]), without_folder(options["dataset"])
    told = run.get("feedback", {})
    learnt = f" and labelled answers from {without_folder(told['store'])}" if "store" in told else ""
    sizes = ", ".join(f"{len(rows):,} {name}" for name, rows in run["parts"].items())
    return Opening(
        name=f"{options['model_name']}: {base_model} on {dataset}{' + feedback' if learnt else ''}",
        description=(
            f"Training of the spam filter {options['model_name']}: {base_model}, {options['tune']} tuned, on "
            f"{without_folder(run['corpus']['origin'])}{learnt} ({sizes} messages). Metaflow run {run['run_id']}."
        ),
        began=run["began"],
        metaflow_runs=(run["run_id"], run["origin_run_id"]),
        params=options,
        tags={"spamctl.version": __version__, "mlflow.source.git.commit": git_commit()},
    )


def record(options: Values, run: Values, pictures: Mapping[str, bytes]) -> Record:
    """Return what a training leaves in MLflow."""
    result = run["result"]
    scores = {f"test_{name}": score["value"] for name, score in result["scores"].items()}
    bounds = {f"test_{name}_{end}": score[end] for name, score in result["scores"].items() for end in ("low", "high")}
    baseline = {f"baseline_{name}": score["value"] for name, score in result["baseline"].items()}
    curves = {"train_loss": run["losses"]["training"], "validation_loss": run["losses"]["validation"]}
    return Record(
        params={
            **options,
            "used_base_model": result["base_model"],
            "used_depth": result["depth"],
            "used_engine": result["engine"],
        },
        metrics={**scores, **bounds, **baseline, "threshold": result["threshold"], **_block_metrics(run)},
        curves=curves,
        tags=tags(run),
        files={
            **{f"plots/{name}.png": picture for name, picture in pictures.items()},
            "evaluation/score.json": _json(run["evaluation"]["score"]),
            "evaluation/baseline.json": _json(
                {key: value for key, value in run["baseline"].items() if key != "probabilities"}
            ),
            "evaluation/test_part.json": _json(test_part(run)),
            "evaluation/parity.json": _json(run["evaluation"]["parity"]),
            "evaluation/engines.json": _json(run["engine_distances"]),
            **{
                f"evaluation/{name}.json": _json(run[name])
                for name in ("kinds", "unseen", "held_out_kinds", "suite_report")
                if run.get(name)
            },
            **({"evaluation/reach.json": _json(result["reach"])} if result.get("reach") else {}),
        },
        dataset=(
            " and ".join(
                dict.fromkeys(_DATASETS.get(name.strip(), "own file") for name in options["dataset"].split(","))
            ),
            run["corpus"]["origin"],
            run["corpus"]["sha256"],
        ),
    )


def test_part(run: Values) -> list[dict[str, Any]]:
    """Return each test message with its truth and the model's probability: the reference of what comes later.

    After feedback the recent rows join it, each row saying which part it is of: what was learnt is no drift any more.
    """
    rows = _scored(run["parts"]["test"], run["evaluation"]["probabilities"])
    if not run.get("recent"):
        return rows
    recent = _scored(run["recent"], run["recent_probabilities"])
    return [row | {"part": "test"} for row in rows] + [row | {"part": "recent"} for row in recent]


def _scored(rows: list[list[str]], probabilities: list[float]) -> list[dict[str, Any]]:
    return [
        {"text": text, "label": label, "probability": probability}
        for (text, label), probability in zip(rows, probabilities, strict=True)
    ]


def tags(run: Values) -> dict[str, str]:
    """Return what a run and a model version are tagged with."""
    result = run["result"]
    beaten = result["baseline"]["roc_auc"]["value"] > result["scores"]["roc_auc"]["value"]
    return {
        "spamctl.version": __version__,
        "mlflow.source.git.commit": git_commit(),
        "metaflow.run_id": run["run_id"],
        "base_model": without_folder(result["base_model"]),
        "fallback_for": without_folder(result["wanted_base_model"]) if result["fallback"] else "",
        "data.sha256": run["corpus"]["sha256"],
        "data.test_sha256": run["corpus"]["test_sha256"],
        "gate": "passed" if result["registered"] else result["reason"],
        "warning": "the linear baseline ranks the test messages better" if beaten else "",
        **feedback_tags(run.get("feedback", {})),
    }


def feedback_tags(told: Values) -> dict[str, str]:
    """Return what was learnt beside the dataset, and what was left out of it for good, for the lineage."""
    found = {"data.forgotten": str(told["forgotten"])} if told.get("forgotten") else {}
    if "store" in told:
        found |= {
            FEEDBACK_TAG: without_folder(told["store"]),
            "data.feedback_rows": str(told["train"]["rows"] + told["validation"]["rows"]),
            "data.feedback_recent": str(told["recent"]["rows"]),
            "data.feedback_sources": ",".join(sorted(told["sources"])),
            "data.feedback_newest": told["newest"],
            "data.feedback_sha256": told["sha256"],
            "data.feedback_set_aside": str(told["doubtful"]),
        }
    return found


def without_folder(place: str) -> str:
    """Return the last part of a path of this machine, and any other name (org/model, sms-spam) as it is."""
    return Path(place).name if place.startswith((".", "/", "~")) else place


def spam_rows(rows: list[list[str]]) -> int:
    """Count the spam among [text, label] rows."""
    return sum(label == SPAM for _, label in rows)


def _block_metrics(run: Values) -> dict[str, float]:
    return {f"block_{score['block']:02d}_log_loss": score["log_loss"] for score in run["depth_scores"]}


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1).encode()
