"""Describe the result of traffic in sentences: answers and failures, latency, and how right the verdicts were."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from spamctl.reports.monitored import ends, value
from spamctl.reports.scores import percent
from spamctl.schema.traffic import Preview, Rates, TrafficResult

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


def missing(result: TrafficResult | Preview) -> str:
    """Return the line that says which messages have no verdict, and what to do; nothing if all that were sent have."""
    if isinstance(result, Preview) or result.answered == result.samples:
        return ""
    causes = [f"{rows:,} {_FATES[fate].format(reason)}" for fate, reason, rows in _lost(result)]
    lacking = result.samples - result.answered
    said = f"{lacking:,} of {result.samples:,} messages have no verdict: {', '.join(causes)}"
    return "; ".join(filter(None, [said, _hint(result)]))


def _lost(result: TrafficResult) -> Iterator[tuple[str, str, int]]:
    """Yield how many messages met which fate for which reason."""
    fates = {"refused": result.refused, "garbled": result.garbled, "unanswered": result.unanswered}
    for fate, reasons in fates.items():
        for reason, rows in reasons.items():
            yield fate, reason, rows


def _hint(result: TrafficResult) -> str:
    """Return what to do about the first cause that one can do something about."""
    codes = {reason[:3] for reason in result.refused}
    if known := [words for code, words in _HINTS.items() if code in codes]:
        return known[0]
    if result.unanswered:
        return "see whether spamctl serve still runs"
    return "see whether --target-uri is a server of spamctl" if result.garbled else ""


def following(result: TrafficResult) -> str:
    """Return the next command to type: there is nothing to label where nothing was answered, or captured."""
    if not result.answered:
        return result.start if result.unanswered else "spamctl traffic --help"
    if not result.captured:
        return f"{result.start} --capture required"
    if not result.truth:
        return "spamctl label"
    store = result.truth.store
    where = "" if store == DEFAULT_STORE else f" --target-uri {shlex.quote(store)}"
    return f"spamctl label --source truth{where}"


def headline(result: TrafficResult) -> str:
    """Return the sentence that tells the outcome."""
    samples, answered = result.samples, result.answered
    if answered < samples:
        return f"{answered:,} of {samples:,} messages were answered"
    accuracy = result.scores.accuracy
    right = f", {percent(accuracy.value)} of them correctly" if accuracy else ""
    return f"All {samples:,} messages were answered{right}"


def counts(result: TrafficResult) -> Iterator[tuple[str, str]]:
    """Yield what was counted, by its name."""
    yield "sent", f"{result.sent:,} of {result.samples:,} messages"
    yield "answered", f"{result.answered:,}"
    for fate, reason, rows in _lost(result):
        yield fate, f"{rows:,}: {reason}"
    if result.repeated:
        yield "tried again", f"{result.repeated:,} times, under the same request id"
    yield from _answers(result)


def _answers(result: TrafficResult) -> Iterator[tuple[str, str]]:
    """Yield what is known of the answers, if there are any."""
    if not result.answered:
        return
    lost = result.answered - result.captured
    yield "captured", f"{result.captured:,}" + (f"; {lost:,} were answered and not captured" if lost else "")
    yield "latency", ", ".join(f"{name} {ms:.1f} ms" for name, ms in result.latency_ms.items()) + " a request"
    if result.seconds:
        yield "pace", f"{result.answered / result.seconds:,.0f} messages/s"
    truth = f"; in truth {percent(result.true_spam_share)}" if result.judged else ""
    yield "spam share", f"{percent(result.spam_share)} of the verdicts{truth}"
    yield "version", ", ".join(f"{version} ({rows:,})" for version, rows in result.versions.items())


def facts(result: TrafficResult) -> Iterator[tuple[str, str]]:
    """Yield where the messages are from, what was done to them, where they went, and where the truth is kept."""
    data, drift, truth = result.data, result.drift, result.truth
    yield "server", result.target
    if data.test is None:
        yield "data", data.origin
    else:
        digest = (data.test_sha256 or "")[:_DIGEST]
        yield "data", f"{data.origin}, test part of {data.test:,} messages, sha256 {digest}"
        share = f", strength {drift.strength:g} on {percent(drift.drift_proportion)} of the messages"
        yield "drift", f"{drift.drift_type}{share if drift.drift_type != 'none' else ''}, seed {drift.seed}"
    yield "truth", f"{truth.rows:,} labels kept in {truth.store}, apart from the answers" if truth else "not kept"
    yield "traffic run", result.run


def judged_rows(result: TrafficResult) -> Iterator[Sequence[str]]:
    """Yield, for all messages and then each group: its name, counts, accuracy, recall, false alarms, with intervals."""
    yield _judged(EVERYTHING, result.judged, sum(group.spam for group in result.groups), result.scores)
    if len(result.groups) > 1:
        for group in result.groups:
            yield _judged(group.name, group.rows, group.spam, group.scores)


def _judged(name: str, rows: int, spam: int, scores: Rates) -> Sequence[str]:
    rates = (scores.accuracy, scores.recall, scores.false_positive_rate)
    return (name, f"{rows:,}", f"{spam:,}", *(cell for rate in rates for cell in (value(rate), ends(rate))))
