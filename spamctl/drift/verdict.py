"""Judge whether a filter is still as good as on its test part, one sentence for each finding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from spamctl.drift import causes, hypothesis_tests, quality
from spamctl.drift.hypothesis_tests import FEWEST, FEWEST_LABELS, MOST_OF_A_SIDE, Pool
from spamctl.drift.sample import Sample, odd_characters, script
from spamctl.errors import DataError
from spamctl.progress import ProgressUpdate
from spamctl.schema.monitor import Check, Estimate, Judgement, Outcome, Overview, Overviews, Quality, Verdict

# Summarise each finding of monitoring in one sentence, with what to do next.

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


def too_few_check(reference: int, current: int) -> Check:
    """Report that there are too few distinct rows on either side for a test."""
    if current < FEWEST:
        return Check(
            "volume",
            "warning",
            f"too few messages: {messages_phrase(current)} in the window, {FEWEST} distinct ones are needed",
            "widen the window with --since or --samples, or wait for more traffic",
        )
    return Check(
        "volume",
        "warning",
        f"too few messages: the model's test part has {messages_phrase(reference)}, {FEWEST} distinct ones are needed",
        "train on more messages with `spamctl train --dataset FILE`",
    )


def volume_check(reference: int, current: int) -> Check:
    """Report how many distinct rows were compared."""
    sentence = f"{current:,} distinct messages are compared with {reference:,} distinct ones of the test part"
    if max(reference, current) > MOST_OF_A_SIDE:
        sentence += f"; texts and features on a random {MOST_OF_A_SIDE:,} of either side"
    return Check("volume", "ok", sentence)


def drift_check(outcomes: Sequence[Outcome], kind: str, rate: float) -> Check:
    """Report whether inputs or outputs have drifted, and how far."""
    name, subject = {"input": ("inputs", "messages"), "output": ("outputs", "verdicts")}[kind]
    alarms = sorted(
        (one for one in outcomes if one.kind == kind and one.alarm), key=lambda one: one.exceeds, reverse=True
    )
    if not alarms:
        return Check(name, "ok", f"{subject} are like those of the test part (false alarms: {rate:.0%} of windows)")
    return Check(name, "failed", f"{subject} have changed: {'; '.join(map(changed_sentence, alarms))}", NEXT)


def quality_check(outcomes: Sequence[Outcome], found: Quality | None, *, alike: bool) -> Check:
    """Report whether verdicts have become worse; missing labels are the usual state, and no reason to warn."""
    alarms = [one for one in outcomes if one.kind == "quality" and one.alarm]
    if alarms:
        return Check("quality", "failed", f"verdicts are worse: {'; '.join(map(changed_sentence, alarms))}", NEXT)
    if found is None or found.accuracy is None:
        return Check("quality", "not done", "not measured: no message of the window has a trusted label")
    right = found.accuracy
    says = f"{right.value:.1%} of {messages_phrase(found.rows)} with a trusted label are classified correctly"
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


def estimate_check(found: Estimate, *, drifted: bool) -> Check:
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


def repeats_check(rows: int, distinct: int) -> Check:
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


def changed_sentence(outcome: Outcome) -> str:
    """Describe a test's result: from which value to which, or by what multiple of its threshold."""
    words, shown = WORDS[outcome.name]
    if outcome.reference is None or outcome.current is None:
        return f"{words} drifted ({outcome.exceeds:.3g} × threshold)"
    if shown(outcome.reference) == shown(outcome.current):
        return f"{words}, distributed differently around {shown(outcome.current)}"
    return f"{words} {shown(outcome.reference)} → {shown(outcome.current)}"


def messages_phrase(rows: int) -> str:
    """Count messages in words."""
    return f"{rows:,} message" if rows == 1 else f"{rows:,} messages"


# Count what a sample holds: rows, repeats, empty texts, lengths, scripts.

MOST_SCRIPTS = 8


def overview(sample: Sample, distinct: int) -> Overview:
    """Return the figures of all rows of a sample, of which `distinct` are left once near duplicates count as one."""
    lengths = [len(text) for text in sample.texts]
    return Overview(
        rows=len(sample),
        distinct=distinct,
        repeated=len(sample) - distinct,
        empty=sum(not text.strip() for text in sample.texts),
        length_median=float(np.median(lengths)) if lengths else 0.0,
        odd_unicode_share=sum(odd_characters(text) > 0 for text in sample.texts) / max(1, len(sample)),
        scripts=scripts(sample),
    )


def scripts(sample: Sample) -> dict[str, float]:
    """Return the share of each script among all letters, the most frequent first."""
    characters: Counter[str] = Counter()
    for text in sample.texts:
        characters.update(text)
    letters: Counter[str] = Counter()
    for char, count in characters.items():
        if char.isalpha():
            letters[script(char)] += count
    return {name: count / letters.total() for name, count in letters.most_common(MOST_SCRIPTS)}


TASK = "judging"
STEPS = 6


@dataclass(frozen=True, slots=True)
class JudgementConfig:
    """Family-wise false-alarm rate, number of permutations, and seed of the tests."""

    false_alarm_rate: float = 0.05
    replicates: int = 2_000
    seed: int = 0


def judge(
    reference: Sample, current: Sample, plan: JudgementConfig, labelled: Sample | None = None
) -> Generator[ProgressUpdate, None, Judgement]:
    """Compare the rows of a window with the test part, test, and explain; yield progress.

    Near duplicates count once, or a message that is sent often would be drift. Neither the order of rows nor that of
    the steps changes the answer: each draws from a generator of its own. That a window has no labels is its usual
    state and no warning; labels that are not a random sample of it are, and are not tested. Where `current` is a
    sample of a larger window, `labelled` is one of its rows with a trusted label: quality is measured on that, and
    tested on `current`. Raise DataError without rows.
    """
    _require_rows(reference, current)
    draws = [np.random.default_rng([plan.seed, step]) for step in range(STEPS)]
    sides = _in_order(reference).distinct(), _in_order(current).distinct()
    known = _in_order(current if labelled is None else labelled)
    found = quality.measured(known, draws[0])
    yield ProgressUpdate(TASK, 1, STEPS, "steps")
    enough = min(map(len, sides)) >= FEWEST
    pooled = hypothesis_tests.pool_samples(*sides, plan.replicates, draws[1]) if enough else None
    yield ProgressUpdate(TASK, 2, STEPS, "steps")
    alike = quality.alike(_one_of_each(current, draws[2]), draws[2])
    outcomes = _outcomes(pooled, plan, draws[3], alike=alike) if pooled else []
    yield ProgressUpdate(TASK, 3, STEPS, "steps")
    drifted = any(outcome.alarm and outcome.name in {"text", "features"} for outcome in outcomes)
    guessed = _estimate(current, pooled, draws[4], drifted=drifted)
    yield ProgressUpdate(TASK, 4, STEPS, "steps")
    why = causes.explain(pooled) if pooled else causes.NOTHING
    yield ProgressUpdate(TASK, 5, STEPS, "steps")
    tells_apart = causes.classify_domains(pooled.text, pooled.is_current, draws[5]) if pooled else None
    yield ProgressUpdate(TASK, 6, STEPS, "steps")
    said = [
        *_drift_checks(sides, outcomes, plan),
        quality_check(outcomes, found, alike=alike),
        estimate_check(guessed, drifted=drifted),
        repeats_check(len(current), len(sides[1])),
    ]
    return Judgement(
        verdict=verdict(said),
        checks=tuple(said),
        tests=tuple(outcomes),
        drift_score=max((outcome.exceeds for outcome in outcomes), default=None),
        quality=found,
        simulated=quality.simulated(current),
        quality_by=quality.by_group(known),
        estimate=guessed,
        causes=why,
        data=Overviews(overview(reference, len(sides[0])), overview(current, len(sides[1]))),
        domain_classifier=tells_apart,
    )


def _require_rows(reference: Sample, current: Sample) -> None:
    """Refuse to compare with nothing."""
    if not len(current):
        raise DataError("no message in the window: widen it with --since or --samples, or send some: spamctl traffic")
    if not len(reference):
        raise DataError("the reference has no message: train the model again with `spamctl train`")


def _in_order(sample: Sample) -> Sample:
    """Put rows in an order that depends on them alone, so that the same rows get the same permutations.

    Those with a trusted label come first: of near duplicates one with a label stays.
    """
    trusted, texts, probabilities = sample.trusted, sample.texts, sample.probabilities
    return sample.take(sorted(range(len(sample)), key=lambda row: (not trusted[row], texts[row], probabilities[row])))


def _one_of_each(sample: Sample, rng: np.random.Generator) -> Sample:
    """Keep a random one of near duplicates, not a labelled one, else repeated rows would be labelled more often."""
    ordered = _in_order(sample)
    return ordered.take(rng.permutation(len(ordered))).distinct()


def _outcomes(pooled: Pool, plan: JudgementConfig, rng: np.random.Generator, *, alike: bool) -> list[Outcome]:
    """Run the tests, those of quality only where labels are a random sample of the window."""
    trusted = [side.take(side.trusted) for side in (pooled.reference, pooled.current)]
    nulls = hypothesis_tests.quality_nulls(trusted[0], trusted[1], plan.replicates, rng) if alike else {}
    return hypothesis_tests.run_tests(pooled, nulls, plan.false_alarm_rate)


def _estimate(current: Sample, pooled: Pool | None, rng: np.random.Generator, *, drifted: bool) -> Estimate:
    """Estimate accuracy, and mark it reliable only while messages are like the reference's."""
    beyond = None
    if pooled:
        space = pooled.text if pooled.features is None else pooled.features
        beyond = quality.share_outside_support(space, pooled.is_current)
    return Estimate(
        accuracy=quality.estimate_accuracy(_in_order(current), rng),
        outside_support=beyond,
        trustworthy=beyond is not None and beyond.p_value > quality.DOUBT and not drifted,
        assumption=quality.ASSUMPTION,
    )


def _drift_checks(sides: tuple[Sample, Sample], outcomes: list[Outcome], plan: JudgementConfig) -> list[Check]:
    sizes = len(sides[0]), len(sides[1])
    if not outcomes:
        return [too_few_check(*sizes)]
    kinds = [drift_check(outcomes, kind, plan.false_alarm_rate) for kind in ("input", "output")]
    return [volume_check(*sizes), *kinds]
