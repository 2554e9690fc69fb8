"""Describe a training run in sentences: the verdict, a loud fallback, and the facts behind the scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from spamctl.redact import without_password
from spamctl.reports import feedback
from spamctl.reports.scores import number, percent, three
from spamctl.schema.evaluation import Reach
from spamctl.schema.recalibrate import RecalibrateResult
from spamctl.schema.train import TrainResult
from spamctl.schema.version import MlflowRun

Outcome = Literal["champion", "challenger", "refused"]

_SMALL = 10  # seconds, below which tenths are told

GIB = 2**30

_TUNING = {
    "head": "only the head tuned",
    "last-block": "last block and head tuned",
    "lora": "tuned with LoRA",
    "full": "every block tuned",
}


def verdict(result: TrainResult | RecalibrateResult) -> tuple[Outcome, str]:
    """Return the outcome of a run and the sentence that tells it."""
    scores = f" ({three(result.scores)})" if result.scores else ""  # accuracy alone means little where spam is rare
    if not result.registered:
        return "refused", f"Not registered: {result.reason or _gate(result)}{scores}"
    name = f"Registered as {result.model_name} version {result.model_version}"
    if result.alias == "champion":
        return "champion", f"{name}, now the champion{scores}" + (f": {result.reason}" if result.reason else "")
    return "challenger", f"{name}, as a challenger{scores}: " + (
        result.reason or "the champion is better on the same test part"
    )


def fallback(result: TrainResult) -> str:
    """Return the sentence that says loudly that another base model was used, or nothing."""
    wanted = result.wanted_base_model or "the base model asked for"
    return fallback_warning(wanted, result.base_model, "was") if result.fallback else ""


def fallback_warning(wanted: str, used: str, verb: Literal["is", "was"]) -> str:
    """Return the warning that a base model `is` or `was` used in place of the one that was wanted."""
    return f"FALLBACK: {wanted} was not available, {used} {verb} used instead"


def facts(result: TrainResult) -> Iterator[tuple[str, str]]:
    """Yield each fact of a run as its name and its words; what the run did not reach is left out."""
    yield from ((name, told) for name, words in _FACTS if (told := words(result)))
    yield from (("note", note) for note in (*feedback.notes(result.feedback), *result.notes))


def mlflow_run(run: MlflowRun | None) -> str:
    """Describe where a run is tracked."""
    return f"{run.run_id} in experiment {run.experiment}, {without_password(run.tracking_uri)}" if run else ""


def reach(parts: Mapping[str, Reach]) -> str:
    """Describe how many messages are unlike the training data, and what delivering them costs in recall."""
    return "; ".join(f"{_out_of_reach(counts)} ({part})" for part, counts in parts.items() if counts.is_measured)


def _out_of_reach(counts: Reach) -> str:
    """Describe the share of a part that is out of reach, and how much of the caught spam is lost with it."""
    good, spam, lost = (
        percent(out / max(1, of))
        for out, of in ((counts.good_out, counts.good), (counts.spam_out, counts.spam), (counts.lost, counts.spam))
    )
    caught = f"{counts.lost:,} of {counts.caught:,} caught"
    return f"{good} of good messages and {spam} of spam out of reach; delivering them costs {lost} of recall, {caught}"


def _gate(result: TrainResult | RecalibrateResult) -> str:
    """Describe how the model missed the accuracy threshold."""
    gate = result.gate
    low = gate.mode == "lower-bound"
    measured = f"the lower bound of accuracy, {number(gate.low)}," if low else f"accuracy {number(gate.accuracy)}"
    return f"{measured} is below --accuracy-threshold {gate.threshold:g}"


def _model(result: TrainResult) -> str:
    """Describe what was trained."""
    depth = f", block {result.depth} of {result.blocks}" if result.depth else ""
    return f"{result.base_model}{depth}, {_TUNING.get(result.tune, result.tune)}"


def _messages(result: TrainResult) -> str:
    """Describe how the messages were split."""
    data = result.data
    chosen_on = f"{data.train:,} training, {data.validation:,} validation"
    return f"{chosen_on}, {data.test:,} test ({data.test_spam:,} spam)"


def _threshold(result: TrainResult) -> str:
    """Describe the threshold, and how many good messages it flags."""
    rate = result.scores and result.scores.false_positive_rate
    cost = f": flags {percent(rate.value)} of good messages (at most {percent(rate.high)})" if rate else ""
    return f"{number(result.threshold)}{cost}"


def _parity(result: TrainResult) -> str:
    """Describe how far the packaged model's answers move with batch size, padding and row order."""
    parity = result.parity
    return f"{parity.rows:,} test messages, probabilities move by {parity.max_delta:.1e} at most" if parity else ""


def _leakage(result: TrainResult) -> str:
    """Describe how many test messages have a twin in another part of the split."""
    leakage = result.leakage
    return f"{leakage.exact} exact, {leakage.masked} digit-masked twins across the split" if leakage else ""


def _seconds(result: TrainResult) -> str:
    """Describe the duration of each part."""
    parts = ", ".join(f"{name} {_duration(spent)}" for name, spent in result.seconds.items())
    return f"{_duration(sum(result.seconds.values()))} ({parts})" if parts else ""


def _memory(result: TrainResult) -> str:
    """Describe the most memory that a step has held."""
    return f"{result.peak_memory / GIB:.1f} GiB peak in one step" if result.peak_memory else ""


def _duration(seconds: float) -> str:
    """Write seconds so that small parts do not read as nothing."""
    return f"{seconds:.1f} s" if seconds < _SMALL else f"{seconds:.0f} s"


_FACTS: tuple[tuple[str, Callable[[TrainResult], str]], ...] = (
    ("model", _model),
    ("engine", lambda result: result.engine),
    ("data", lambda result: result.data.origin),
    ("messages", _messages),
    ("leakage", _leakage),
    ("threshold", _threshold),
    ("reach", lambda result: reach(result.reach)),
    ("parity", _parity),
    ("time", _seconds),
    ("memory", _memory),
    ("MLflow run", lambda result: mlflow_run(result.mlflow)),
    ("Metaflow run", lambda result: result.metaflow.run_id),
)
