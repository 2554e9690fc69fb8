"""Keep an MLflow run open during a training, and convert a monitoring's result for it."""

from __future__ import annotations

import math
import os
import platform
import queue
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from spamctl import __version__
from spamctl.engine.engine import Embedder
from spamctl.errors import UnavailableError
from spamctl.registry import versions
from spamctl.registry.registration import Record, finish_run
from spamctl.registry.tracking import experiment_id, open_tracking, tracking_uri
from spamctl.registry.versions import Found
from spamctl.schema.codec import from_json
from spamctl.schema.monitor import Figures, Judgement, MonitorResult, Quality, Reach, Reference
from spamctl.schema.rates import Interval

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

SECONDS = 2.0  # between two tellings of losses
PATIENCE = 15.0  # seconds, for the last losses, when training is over
RUN_TAG = "metaflow.run_id"
PROCESS_TAG = "spamctl.process"  # which has the run open: its machine, its number, and when it began
FINISHED, FAILED, KILLED = "FINISHED", "FAILED", "KILLED"
_RUN = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Opening:
    """Name and description of a run at its start, and the start time in seconds since 1970."""

    name: str
    description: str
    began: float
    metaflow_runs: tuple[str, str]  # this one, and the one that it goes on with, or nothing
    params: Mapping[str, object] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    verb: str = "train"


def begin_run(experiment: str, opening: Opening) -> str:
    """Open a run in the current store, and return its id."""
    uri = tracking_uri()
    with open_tracking(uri) as client:
        return open_run(client, experiment, uri, opening)


def open_run(client: MlflowClient, experiment: str, uri: str, opening: Opening) -> str:
    """Begin a run, or reopen the one of the same Metaflow run; return its id."""
    where = experiment_id(client, experiment, uri)
    tags = {
        **opening.tags,
        RUN_TAG: opening.metaflow_runs[0],
        "mlflow.source.name": f"spamctl {opening.verb}",
        "mlflow.source.type": "LOCAL",
        "mlflow.note.content": opening.description,
    }
    _close_abandoned(client, where)
    tags[PROCESS_TAG] = _flow()
    if found := _begun(client, where, opening.metaflow_runs[1]):
        client.update_run(found, status="RUNNING")
        client.set_tag(found, PROCESS_TAG, tags[PROCESS_TAG])
        return found
    begun = client.create_run(
        where, start_time=int(opening.began * 1000), tags={k: v for k, v in tags.items() if v}, run_name=opening.name
    )
    run_id: str = begun.info.run_id
    for name, value in opening.params.items():
        client.log_param(run_id, name, str(value))
    return run_id


def _close_abandoned(client: MlflowClient, experiment: str) -> None:
    """End the runs that killed trainings on this machine left open: nothing else will."""
    for run in client.search_runs([experiment], "attributes.status = 'RUNNING'", max_results=1000):
        name = run.data.tags.get(PROCESS_TAG, "")
        machine, _, process = name.partition(" ")
        if machine == platform.node() and process and _process(int(process.partition(" ")[0])) != name:
            client.set_terminated(run.info.run_id, KILLED)


def _flow() -> str:
    """Identify the process that outlasts the steps of a training: Metaflow's own, which starts each of them."""
    return _process(os.getppid())


def _process(number: int) -> str:
    """Identify a process unambiguously, since its number may be reused; return nothing if it is gone."""
    try:
        status = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "" if Path("/proc/self/stat").exists() or not _is_there(number) else f"{platform.node()} {number}"
    return f"{platform.node()} {number} {status.rpartition(')')[2].split()[19]}"


def _is_there(number: int) -> bool:
    """Return whether a process runs, where there is no /proc."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _begun(client: MlflowClient, experiment: str, metaflow_run: str) -> str:
    """Return the id of the run that a training opened before it was cut short, or nothing.

    MLflow's filters are text without parameters: what could end the quoted name in it has no run.
    """
    if not _RUN.fullmatch(metaflow_run):
        return ""
    runs = client.search_runs([experiment], f"tags.`{RUN_TAG}` = '{metaflow_run}'", max_results=1)
    return str(runs[0].info.run_id) if runs else ""


def close_run(client: MlflowClient, run_id: str, record: Record) -> None:
    """Add the results of a training to its open run, and end it; losses already logged live are not logged again."""
    told = {name: _last_step(client, run_id, name) for name in record.curves}
    rest = {
        name: [(step, value) for step, value in curve if step > told[name]] for name, curve in record.curves.items()
    }
    finish_run(client, run_id, Record(record.params, record.metrics, rest, record.tags, record.files, record.dataset))


def end_run(run_id: str, *, interrupted: bool, reason: str = "") -> None:
    """End the run of a training that did not finish; a store that does not answer leaves it open."""
    from mlflow.exceptions import MlflowException

    with suppress(UnavailableError, MlflowException), open_tracking(tracking_uri()) as client:
        if reason:
            client.set_tag(run_id, "refusal", reason)
        client.set_terminated(run_id, KILLED if interrupted else FAILED)


class Live:
    """Logger of losses to a run from a thread of its own, so that a slow store does not slow the training.

    `fault` says in the end why the store took no more; what it missed is told by `close_run`.
    """

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client, self._run_id = client, run_id
        self._points: queue.SimpleQueue[Metric | None] = queue.SimpleQueue()
        self._last = {name: _last_step(client, run_id, name) for name in ("train_loss", "validation_loss")}
        self._thread = threading.Thread(target=self._tell, name="live metrics", daemon=True)
        self.fault = ""

    def watch(self, tick: Any) -> None:
        """Log a tick of `model.tuning.tune`; steps logged before an interruption are skipped."""
        if progress := getattr(tick, "progress", None):
            self._take("train_loss", progress.loss, progress.step)
            if progress.validation_loss is not None:
                self._take("validation_loss", progress.validation_loss, progress.step)

    def _take(self, name: str, value: float, step: int) -> None:
        from mlflow.entities import Metric

        if value == value and step > self._last[name]:  # noqa: PLR0124 - a loss that is no number was not measured
            self._last[name] = step
            self._points.put(Metric(name, value, int(time.time() * 1000), step))

    def _tell(self) -> None:
        """Send queued losses until the queue is closed."""
        from mlflow.exceptions import MlflowException

        over = False
        while not over:
            batch = []
            point = self._points.get()
            until = time.monotonic() + SECONDS
            while point is not None:
                batch.append(point)
                try:
                    point = self._points.get(timeout=max(0.0, until - time.monotonic()))
                except queue.Empty:
                    break
            over = point is None
            try:
                for start in range(0, len(batch), 1000):
                    self._client.log_batch(self._run_id, metrics=batch[start : start + 1000])
            except MlflowException as error:
                self.fault = str(error).splitlines()[0][:300]
                return

    def __enter__(self) -> Self:
        """Start the logging thread."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Log what is left, and wait for it no longer than PATIENCE."""
        self._points.put(None)
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            self.fault = f"the store takes longer than {PATIENCE:g} s"


@contextmanager
def live_run(run_id: str) -> Iterator[Live]:
    """Log losses to a run, which may be a resumed one, while the block runs."""
    with open_tracking(tracking_uri()) as client:
        client.update_run(run_id, status="RUNNING")
        client.set_tag(run_id, PROCESS_TAG, _flow())
        with Live(client, run_id) as told:
            yield told


def _last_step(client: MlflowClient, run_id: str, name: str) -> int:
    """Return the last step of a curve that a run holds, -1 if it has none."""
    return max((point.step for point in client.get_metric_history(run_id, name)), default=-1)


# Convert the result of a monitoring into what the trend, the result and MLflow keep of it.


def describe(found: Found, measured: versions.Reference, embedder: Embedder) -> Reference:
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


def monitoring_figures(found: Judgement, spam_share: float) -> Figures:
    """Return what the trend shows of one run; None where no label tells, or nothing could be estimated."""
    quality, estimate = found.quality, found.estimate
    return Figures(
        drift_score=_finite(found.drift_score),
        spam_share=spam_share,
        accuracy=_interval(quality.accuracy) if quality else None,
        false_positive_rate=_value(quality.false_positive_rate) if quality else None,
        estimated_accuracy=_value(estimate.accuracy) if estimate else None,
    )


def record_monitoring(options: Mapping[str, object], result: MonitorResult, files: Mapping[str, bytes]) -> Record:
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
