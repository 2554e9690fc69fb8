"""Describe a training run in sentences: the verdict, a loud fallback, and the facts behind the scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from spamctl.redact import without_password
from spamctl.reports import feedback
from spamctl.reports.scores import number, percent, three

Outcome = Literal["champion", "challenger", "refused"]

_SMALL = 10  # seconds, below which tenths are told

GIB = 2**30

_TUNING = {
    "head": "only the head tuned",
    "last-block": "last block and head tuned",
    "lora": "tuned with LoRA",
    "full": "every block tuned",
}


def verdict(result: Mapping[str, Any]) -> tuple[Outcome, str]:
    """Return the outcome of a run and the sentence that tells it."""
    reason = result.get("reason", "")
    if not result["registered"]:
        return "refused", f"Not registered: {reason or _gate(result)}{_scores(result)}"
    name = f"Registered as {result['model_name']} version {result['model_version']}"
    if result["alias"] == "champion":
        return "champion", f"{name}, now the champion{_scores(result)}" + (f": {reason}" if reason else "")
    return "challenger", f"{name}, as a challenger{_scores(result)}: " + (
        reason or "the champion is better on the same test part"
    )


def _scores(result: Mapping[str, Any]) -> str:
    """Describe in brackets how good the model is: accuracy alone means little where few messages are spam."""
    told = three(result.get("scores", {}))
    return f" ({told})" if told else ""


def fallback(result: Mapping[str, Any]) -> str:
    """Return the sentence that says loudly that another base model was used, or nothing."""
    if not result.get("fallback"):
        return ""
    wanted = result.get("wanted_base_model", "the base model asked for")
    return f"FALLBACK: {wanted} was not available, {result['base_model']} was used instead"


def facts(result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each fact of a run as its name and its words; what the run did not reach is left out."""
    for name, key, words in _FACTS:
        if result.get(key):
            yield name, words(result)
    for note in [*feedback.notes(result.get("feedback", {})), *result.get("notes", ())]:
        yield "note", note


def _gate(result: Mapping[str, Any]) -> str:
    """Describe how the model missed the accuracy threshold."""
    gate = result["gate"]
    low = gate["mode"] == "lower-bound"
    measured = f"the lower bound of accuracy, {number(gate['low'])}," if low else f"accuracy {number(gate['accuracy'])}"
    return f"{measured} is below --accuracy-threshold {gate['threshold']:g}"


def _model(result: Mapping[str, Any]) -> str:
    """Describe what was trained."""
    depth = f", block {result['depth']} of {result['blocks']}" if result.get("depth") else ""
    return f"{result['base_model']}{depth}, {_TUNING.get(result['tune'], result['tune'])}"


def _messages(result: Mapping[str, Any]) -> str:
    """Describe how the messages were split."""
    data = result["data"]
    chosen_on = f"{data['train']:,} training, {data['validation']:,} validation"
    return f"{chosen_on}, {data['test']:,} test ({data['test_spam']:,} spam)"


def _threshold(result: Mapping[str, Any]) -> str:
    """Describe the threshold, and how many good messages it flags."""
    rate = result.get("scores", {}).get("false_positive_rate")
    cost = f": flags {percent(rate['value'])} of good messages (at most {percent(rate['high'])})" if rate else ""
    return f"{number(result['threshold'])}{cost}"


def reach(result: Mapping[str, Any]) -> str:
    """Describe how many messages are unlike the training data, and what delivering them costs in recall."""
    return "; ".join(f"{_out_of_reach(counts)} ({part})" for part, counts in result["reach"].items() if counts)


def _out_of_reach(counts: Mapping[str, Any]) -> str:
    """Describe the share of a part that is out of reach, and how much of the caught spam is lost with it."""
    good, spam, lost = (
        percent(counts[out] / max(1, counts[of]))
        for out, of in (("good_out", "good"), ("spam_out", "spam"), ("lost", "spam"))
    )
    caught = f"{counts['lost']:,} of {counts['caught']:,} caught"
    return f"{good} of good messages and {spam} of spam out of reach; delivering them costs {lost} of recall, {caught}"


def _parity(result: Mapping[str, Any]) -> str:
    """Describe how far the packaged model's answers move with batch size, padding and row order."""
    parity = result["parity"]
    return f"{parity['rows']:,} test messages, probabilities move by {parity['max_delta']:.1e} at most"


def _leakage(result: Mapping[str, Any]) -> str:
    """Describe how many test messages have a twin in another part of the split."""
    leakage = result["leakage"]
    return f"{leakage['exact']} exact, {leakage['masked']} digit-masked twins across the split"


def _seconds(result: Mapping[str, Any]) -> str:
    """Describe the duration of each part."""
    seconds = result["seconds"]
    parts = ", ".join(f"{name} {_duration(spent)}" for name, spent in seconds.items())
    return f"{_duration(sum(seconds.values()))} ({parts})"


def _mlflow(result: Mapping[str, Any]) -> str:
    """Describe where the run is tracked."""
    run = result["mlflow"]
    return f"{run['run_id']} in experiment {run['experiment']}, {without_password(run['tracking_uri'])}"


def _duration(seconds: float) -> str:
    """Write seconds so that small parts do not read as nothing."""
    return f"{seconds:.1f} s" if seconds < _SMALL else f"{seconds:.0f} s"


_FACTS = (
    ("model", "base_model", _model),
    ("engine", "engine", lambda result: str(result["engine"])),
    ("data", "data", lambda result: str(result["data"]["origin"])),
    ("messages", "data", _messages),
    ("leakage", "leakage", _leakage),
    ("threshold", "threshold", _threshold),
    ("reach", "reach", reach),
    ("parity", "parity", _parity),
    ("time", "seconds", _seconds),
    ("memory", "peak_memory", lambda result: f"{result['peak_memory'] / GIB:.1f} GiB peak in one step"),
    ("MLflow run", "mlflow", _mlflow),
    ("Metaflow run", "metaflow", lambda result: str(result["metaflow"]["run_id"])),
)
