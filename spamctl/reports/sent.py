"""Describe the result of traffic in sentences: answers and failures, latency, and how right the verdicts were."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from spamctl.reports.scores import UNDEFINED, from_keys, interval, number, percent

EVERYTHING = "all"
DEFAULT_STORE = "spam.db"
_HINTS = {
    "401": "give the server's token with --token-file or SPAMCTL_SERVE_TOKEN",
    "403": "the server refuses this host name: see its --allowed-hosts",
    "404": "correct the path of --target-uri",
    "405": "correct the path of --target-uri",
    "413": "lower --batch-size",
    "429": "lower --rate or --concurrency",
    "503": "see what the server's /ready says",
}
_FATES = {
    "refused": "refused with {}",
    "garbled": "answered in another format ({})",
    "unanswered": "without an answer ({})",
}
_DIGEST = 12  # characters of a sha256 that tell files apart


def missing(result: Mapping[str, Any]) -> str:
    """Return the line that says which messages have no verdict, and what to do; nothing if all that were sent have."""
    if "preview" in result or result["answered"] == result["samples"]:
        return ""
    causes = [
        f"{rows:,} {words.format(reason)}" for fate, words in _FATES.items() for reason, rows in result[fate].items()
    ]
    lacking = result["samples"] - result["answered"]
    said = f"{lacking:,} of {result['samples']:,} messages have no verdict: {', '.join(causes)}"
    return "; ".join(filter(None, [said, _hint(result)]))


def _hint(result: Mapping[str, Any]) -> str:
    """Return what to do about the first cause that one can do something about."""
    codes = {reason[:3] for reason in result["refused"]}
    if known := [words for code, words in _HINTS.items() if code in codes]:
        return known[0]
    if result["unanswered"]:
        return "see whether spamctl serve still runs"
    return "see whether --target-uri is a server of spamctl" if result["garbled"] else ""


def following(result: Mapping[str, Any]) -> str:
    """Return the next command to type: there is nothing to label where nothing was answered, or captured."""
    if not result["answered"]:
        return result["start"] if result["unanswered"] else "spamctl traffic --help"
    if not result["captured"]:
        return f"{result['start']} --capture required"
    store = result["truth"].get("store", DEFAULT_STORE)
    where = "" if store == DEFAULT_STORE else f" --target-uri {shlex.quote(store)}"
    return f"spamctl label{' --source truth' if result['truth'] else ''}{where}"


def headline(result: Mapping[str, Any]) -> str:
    """Return the sentence that tells the outcome."""
    samples, answered = result["samples"], result["answered"]
    if answered < samples:
        return f"{answered:,} of {samples:,} messages were answered"
    accuracy = result["scores"].get("accuracy")
    right = f", {percent(accuracy['value'])} of them correctly" if accuracy else ""
    return f"All {samples:,} messages were answered{right}"


def counts(result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what was counted, by its name."""
    yield "sent", f"{result['sent']:,} of {result['samples']:,} messages"
    yield "answered", f"{result['answered']:,}"
    for fate in ("refused", "garbled", "unanswered"):
        for reason, rows in result[fate].items():
            yield fate, f"{rows:,}: {reason}"
    if result["repeated"]:
        yield "tried again", f"{result['repeated']:,} times, under the same request id"
    yield from _answers(result)


def _answers(result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is known of the answers, if there are any."""
    if not result["answered"]:
        return
    lost = result["answered"] - result["captured"]
    yield "captured", f"{result['captured']:,}" + (f"; {lost:,} were answered and not captured" if lost else "")
    latency = result["latency_ms"]
    yield "latency", ", ".join(f"{name} {value:.1f} ms" for name, value in latency.items()) + " a request"
    if result["seconds"]:
        yield "pace", f"{result['answered'] / result['seconds']:,.0f} messages/s"
    truth = f"; in truth {percent(result['true_spam_share'])}" if result["judged"] else ""
    yield "spam share", f"{percent(result['spam_share'])} of the verdicts{truth}"
    yield "version", ", ".join(f"{version} ({rows:,})" for version, rows in result["versions"].items())


def facts(result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield where the messages are from, what was done to them, where they went, and where the truth is kept."""
    data, drift, truth = result["data"], result["drift"], result["truth"]
    yield "server", result["target"]
    part = f", test part of {data['test']:,} messages, sha256 {data['test_sha256'][:_DIGEST]}" if "test" in data else ""
    yield "data", f"{data['origin']}{part}"
    if "test" in data:
        share = f", strength {drift['strength']:g} on {percent(drift['drift_proportion'])} of the messages"
        yield "drift", f"{drift['drift_type']}{share if drift['drift_type'] != 'none' else ''}, seed {drift['seed']}"
    yield "truth", f"{truth['rows']:,} labels kept in {truth['store']}, apart from the answers" if truth else "not kept"
    yield "traffic run", result["run"]


def judged_rows(result: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    """Yield, for all messages and then each group: its name, counts, accuracy, recall, false alarms, with intervals."""
    spam = sum(group["spam"] for group in result["groups"])
    whole = {"name": EVERYTHING, "rows": result["judged"], "spam": spam, "scores": result["scores"]}
    for group in [whole, *(result["groups"] if len(result["groups"]) > 1 else ())]:
        scores = group["scores"]
        accuracy, recall, false_alarms = (scores.get(key) for key in ("accuracy", "recall", "false_positive_rate"))
        yield (
            group["name"],
            f"{group['rows']:,}",
            f"{group['spam']:,}",
            number(accuracy["value"]) if accuracy else UNDEFINED,
            interval(from_keys(accuracy)) if accuracy else "",
            number(recall["value"]) if recall else UNDEFINED,
            interval(from_keys(recall)) if recall else "",
            number(false_alarms["value"]) if false_alarms else UNDEFINED,
            interval(from_keys(false_alarms)) if false_alarms else "",
        )
