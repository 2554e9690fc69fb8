"""Summarise each finding of monitoring in one sentence, with what to do next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from spamctl.drift.alarm import FEWEST, FEWEST_LABELS, MOST_OF_A_SIDE
from spamctl.schema.monitor import Check, Estimate, Outcome, Quality, Verdict

REPEATED = 0.5  # of the rows: campaigns and retries repeat messages every day, but not most of them

NEXT = "look at the causes, label what is doubtful with `spamctl label --source review`, then `spamctl train`"
_Words = Callable[[float], str]
_PERCENT: _Words = lambda value: f"{value:.1%}"  # noqa: E731
_NUMBER: _Words = lambda value: f"{value:.3g}"  # noqa: E731
WORDS: Final[Mapping[str, tuple[str, _Words]]] = MappingProxyType(
    {
        "length": ("length", _NUMBER),
        "words": ("words", _NUMBER),
        "digits": ("digits", _PERCENT),
        "links": ("links per message", _NUMBER),
        "currency": ("currency signs", lambda value: f"{value:.2%}"),
        "capitals": ("capitals", _PERCENT),
        "non_letters": ("non-letter characters", _PERCENT),
        "odd_unicode": ("odd Unicode", lambda value: f"{value:.2%}"),
        "word_length": ("word length", _NUMBER),
        "text": ("message text", _NUMBER),
        "features": ("model embeddings", _NUMBER),
        "spam_share": ("share called spam", _PERCENT),
        "probability": ("mean probability of spam", _NUMBER),
        "accuracy": ("accuracy", _PERCENT),
        "false_positive_rate": ("false-positive rate", _PERCENT),
    }
)


def verdict(checks: Sequence[Check]) -> Verdict:
    """Return the worst status; a check that was not done finds nothing wrong, and vouches for nothing."""
    found = {check.status for check in checks}
    return "failed" if "failed" in found else "warning" if "warning" in found else "ok"


def too_few(reference: int, current: int) -> Check:
    """Report that there are too few distinct rows on either side for a test."""
    if current < FEWEST:
        return Check(
            "volume",
            "warning",
            f"too few messages: {messages(current)} in the window, {FEWEST} distinct ones are needed",
            "widen the window with --since or --samples, or wait for more traffic",
        )
    return Check(
        "volume",
        "warning",
        f"too few messages: the model's test part has {messages(reference)}, {FEWEST} distinct ones are needed",
        "train on more messages with `spamctl train --dataset FILE`",
    )


def volume(reference: int, current: int) -> Check:
    """Report how many distinct rows were compared."""
    sentence = f"{current:,} distinct messages are compared with {reference:,} distinct ones of the test part"
    if max(reference, current) > MOST_OF_A_SIDE:
        sentence += f"; texts and features on a random {MOST_OF_A_SIDE:,} of either side"
    return Check("volume", "ok", sentence)


def drift(outcomes: Sequence[Outcome], kind: str, rate: float) -> Check:
    """Report whether inputs or outputs have drifted, and how far."""
    name, subject = {"input": ("inputs", "messages"), "output": ("outputs", "verdicts")}[kind]
    alarms = sorted(
        (one for one in outcomes if one.kind == kind and one.alarm), key=lambda one: one.exceeds, reverse=True
    )
    if not alarms:
        return Check(name, "ok", f"{subject} are like those of the test part (false alarms: {rate:.0%} of windows)")
    return Check(name, "failed", f"{subject} have changed: {'; '.join(map(changed, alarms))}", NEXT)


def quality(outcomes: Sequence[Outcome], found: Quality | None, *, alike: bool) -> Check:
    """Report whether verdicts have become worse; missing labels are the usual state, and no reason to warn."""
    alarms = [one for one in outcomes if one.kind == "quality" and one.alarm]
    if alarms:
        return Check("quality", "failed", f"verdicts are worse: {'; '.join(map(changed, alarms))}", NEXT)
    if found is None or found.accuracy is None:
        return Check("quality", "not done", "not measured: no message of the window has a trusted label")
    right = found.accuracy
    says = f"{right.value:.1%} of {messages(found.rows)} with a trusted label are classified correctly"
    says += f" (95 % interval {right.low:.1%} to {right.high:.1%}{_apart(found)})"
    if not alike:
        return Check(
            "quality",
            "warning",
            f"{says}, but these are not a random sample of the window: "
            "the model is more, or less, confident on the others",
            "label a random sample of the window, or all of it",
        )
    if not any(one.kind == "quality" for one in outcomes):
        return Check(
            "quality",
            "not done",
            f"{says}; not compared: {FEWEST_LABELS} distinct ones are needed to compare them with the test part",
        )
    return Check("quality", "ok", f"{says}, no worse than on the test part")


def _apart(found: Quality) -> str:
    """Describe recall and false-positive rate, as far as rows have labels: accuracy hides one behind the other."""
    rates = {"recall": found.recall, "false-positive rate": found.false_positive_rate}
    return "".join(f"; {words} {rate.value:.1%}" for words, rate in rates.items() if rate)


def estimate(found: Estimate, *, drifted: bool) -> Check:
    """Report the accuracy that the probabilities promise, and whether to believe it."""
    right, beyond = found.accuracy, found.outside_support
    says = f"{right.low:.1%} to {right.high:.1%} of the verdicts are correct according to their probabilities"
    if found.trustworthy:
        return Check("estimate", "ok", says)
    why = "too few messages to tell whether that is reliable"
    if beyond is not None:
        why = f"not reliable: {beyond.share:.1%} of the messages are unlike any in the test part"
        why += f" ({beyond.expected:.1%} are expected)"
    if beyond is not None and drifted:
        why = "not reliable, since the messages have changed"
    return Check("estimate", "warning", f"{says}; {why}", "measure it: `spamctl label --source review`")


def repeats(rows: int, distinct: int) -> Check:
    """Report how many rows repeat another."""
    repeated = rows - distinct
    if repeated <= REPEATED * rows:
        return Check("repeats", "ok", f"{repeated:,} of {rows:,} rows repeat another and count once")
    return Check(
        "repeats",
        "warning",
        f"{repeated:,} of {rows:,} rows repeat another and count once: one campaign, or one client, fills the window",
        "look at which sources carry it, or widen the window with --since",
    )


def changed(outcome: Outcome) -> str:
    """Describe a test's result: from which value to which, or by what multiple of its threshold."""
    words, shown = WORDS[outcome.name]
    if outcome.reference is None or outcome.current is None:
        return f"{words} drifted ({outcome.exceeds:.3g} × threshold)"
    if shown(outcome.reference) == shown(outcome.current):
        return f"{words}, distributed differently around {shown(outcome.current)}"
    return f"{words} {shown(outcome.reference)} → {shown(outcome.current)}"


def messages(rows: int) -> str:
    """Count messages in words."""
    return f"{rows:,} message" if rows == 1 else f"{rows:,} messages"
