"""Convert the result of a monitoring into the plain values that the store and MLflow keep."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from spamctl import __version__
from spamctl.model.registry import Record

Values = Mapping[str, Any]

_MEASURES = ("accuracy", "precision", "recall", "f1", "false_positive_rate", "calibration_error")


def figures(judgement: Values, spam_share: float) -> dict[str, Any]:
    """Return what the trend shows of one run; None where no label tells, or nothing could be estimated."""
    quality, estimate = judgement["quality"], judgement["estimate"]
    return {
        "drift_score": _finite(judgement["drift_score"]),
        "spam_share": spam_share,
        "accuracy": _interval(quality["accuracy"]) if quality else None,
        "false_positive_rate": _finite(_value(quality["false_positive_rate"])) if quality else None,
        "estimated_accuracy": _finite(_value(estimate["accuracy"])) if estimate else None,
    }


def record(options: Values, result: Values, files: Mapping[str, bytes]) -> Record:
    """Return what a monitoring leaves in MLflow."""
    reference, window = result["reference"], result["window"]
    return Record(
        params=dict(options),
        metrics=dict(_metrics(result)),
        tags={
            "spamctl.version": __version__,
            "metaflow.run_id": result["run_id"],
            "verdict": result["verdict"],
            "model_name": reference["model_name"],
            "model_version": reference["model_version"],
            "store": result["store"],
            "sampled": str(window["sampled"]).lower(),
        },
        files=files,
        dataset=("test part", f"{reference['model_name']} version {reference['model_version']}", reference["digest"]),
    )


def _metrics(result: Values) -> Iterator[tuple[str, float]]:
    """Yield every figure that is a number."""
    found: dict[str, Any] = {
        "rows": result["window"]["rows"],
        "distinct": result["window"]["distinct"],
        **{name: value for name, value in result["history"][-1].items() if isinstance(value, int | float)},
    }
    for name in _MEASURES if result["quality"] else ():
        measure = result["quality"].get(name) or {}
        found |= {name: measure.get("value"), f"{name}_low": measure.get("low"), f"{name}_high": measure.get("high")}
    if result["quality"]:
        found |= {"labelled_rows": result["quality"]["rows"], "coverage": result["quality"]["coverage"]}
    for test in result["tests"]:
        name = re.sub(r"\W+", "_", test["name"], flags=re.ASCII)
        found |= {f"statistic_{name}": test["statistic"], f"threshold_{name}": test["threshold"]}
    yield from ((name, float(value)) for name, value in found.items() if _finite(value) is not None)


def _interval(measure: Values | None) -> dict[str, float | None] | None:
    """Return a value with its interval, as JSON can hold it."""
    if measure is None or _finite(measure["value"]) is None:
        return None
    return {name: _finite(measure[name]) for name in ("value", "low", "high")}


def _value(measure: Values | None) -> float | None:
    return None if measure is None else measure["value"]


def _finite(value: Any) -> float | None:
    """Return a number, or None for what is none or cannot be written as JSON."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
