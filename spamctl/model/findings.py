"""Convert the result of a monitoring into what the trend, the result and MLflow keep of it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping

from spamctl import __version__
from spamctl.model import reference
from spamctl.model.embedding import Embedder
from spamctl.model.registry import Record
from spamctl.model.versions import Found
from spamctl.schema.codec import from_json
from spamctl.schema.monitor import Figures, Judgement, MonitorResult, Quality, Reach, Reference
from spamctl.schema.rates import Interval


def describe(found: Found, measured: reference.Reference, embedder: Embedder) -> Reference:
    """Return what a result says of the version that is judged, and of its test part."""
    reach = embedder.manifest.about.get("out_of_reach")
    return Reference(
        model_name=found.name,
        model_version=found.version,
        alias=found.alias,
        threshold=embedder.threshold,
        rows=len(measured.rows),
        spam=measured.spam,
        parts=measured.parts,
        digest=measured.digest,
        out_of_reach=from_json(Reach, reach) if reach else None,
    )


def figures(found: Judgement, spam_share: float) -> Figures:
    """Return what the trend shows of one run; None where no label tells, or nothing could be estimated."""
    quality, estimate = found.quality, found.estimate
    return Figures(
        drift_score=_finite(found.drift_score),
        spam_share=spam_share,
        accuracy=_interval(quality.accuracy) if quality else None,
        false_positive_rate=_value(quality.false_positive_rate) if quality else None,
        estimated_accuracy=_value(estimate.accuracy) if estimate else None,
    )


def record(options: Mapping[str, object], result: MonitorResult, files: Mapping[str, bytes]) -> Record:
    """Return what a monitoring leaves in MLflow."""
    judged, window = result.reference, result.window
    return Record(
        params=dict(options),
        metrics=dict(_metrics(result)),
        tags={
            "spamctl.version": __version__,
            "metaflow.run_id": result.run_id,
            "verdict": result.verdict,
            "model_name": judged.model_name,
            "model_version": judged.model_version,
            "store": result.store,
            "sampled": str(window.sampled).lower(),
        },
        files=files,
        dataset=("test part", f"{judged.model_name} version {judged.model_version}", judged.digest),
    )


def _metrics(result: MonitorResult) -> Iterator[tuple[str, float]]:
    """Yield every figure that is a number."""
    now = result.history[-1]
    found: dict[str, float | None] = {
        "rows": now.rows,
        "distinct": result.window.distinct,
        "drift_score": now.drift_score,
        "spam_share": now.spam_share,
        "false_positive_rate": now.false_positive_rate,
        "estimated_accuracy": now.estimated_accuracy,
    }
    if quality := result.quality:
        for name, measure in _measures(quality).items():
            ends = (measure.value, measure.low, measure.high) if measure else (None, None, None)
            found |= dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
        found |= {"labelled_rows": quality.rows, "coverage": quality.coverage}
    for test in result.tests:
        name = re.sub(r"\W+", "_", test.name, flags=re.ASCII)
        found |= {f"statistic_{name}": test.statistic, f"threshold_{name}": test.threshold}
    yield from ((name, float(value)) for name, value in found.items() if value is not None and math.isfinite(value))


def _measures(quality: Quality) -> dict[str, Interval | None]:
    """Return the measures of quality by the names of their metrics."""
    return {
        "accuracy": quality.accuracy,
        "precision": quality.precision,
        "recall": quality.recall,
        "f1": quality.f1,
        "false_positive_rate": quality.false_positive_rate,
        "calibration_error": quality.calibration_error,
    }


def _interval(measure: Interval | None) -> Interval | None:
    """Return a measure, if JSON can hold it."""
    return measure if measure and all(map(math.isfinite, (measure.value, measure.low, measure.high))) else None


def _value(measure: Interval | None) -> float | None:
    return _finite(measure.value) if measure else None


def _finite(value: float | None) -> float | None:
    """Return a number, or None for what is none or cannot be written as JSON."""
    return float(value) if value is not None and math.isfinite(value) else None
