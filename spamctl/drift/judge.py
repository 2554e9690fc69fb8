"""Judge whether a filter is still as good as on its test part, and if not, why."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from spamctl.drift import alarm, causes, checks, domain, estimate, quality
from spamctl.drift.alarm import FEWEST, Pool
from spamctl.drift.overview import overview
from spamctl.drift.sample import Sample
from spamctl.errors import DataError
from spamctl.model.tick import Tick
from spamctl.schema.monitor import Check, Estimate, Judgement, Outcome, Overviews

TASK = "judging"
STEPS = 6


@dataclass(frozen=True, slots=True)
class Plan:
    """Family-wise false-alarm rate, number of permutations, and seed of the tests."""

    false_alarm_rate: float = 0.05
    replicates: int = 2_000
    seed: int = 0


def judge(
    reference: Sample, current: Sample, plan: Plan, labelled: Sample | None = None
) -> Generator[Tick, None, Judgement]:
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
    yield Tick(TASK, 1, STEPS, "steps")
    enough = min(map(len, sides)) >= FEWEST
    pooled = alarm.pool(*sides, plan.replicates, draws[1]) if enough else None
    yield Tick(TASK, 2, STEPS, "steps")
    alike = quality.alike(_one_of_each(current, draws[2]), draws[2])
    outcomes = _outcomes(pooled, plan, draws[3], alike=alike) if pooled else []
    yield Tick(TASK, 3, STEPS, "steps")
    drifted = any(outcome.alarm and outcome.name in {"text", "features"} for outcome in outcomes)
    guessed = _estimate(current, pooled, draws[4], drifted=drifted)
    yield Tick(TASK, 4, STEPS, "steps")
    why = causes.explain(pooled) if pooled else causes.NOTHING
    yield Tick(TASK, 5, STEPS, "steps")
    tells_apart = domain.classify(pooled.text, pooled.is_current, draws[5]) if pooled else None
    yield Tick(TASK, 6, STEPS, "steps")
    said = [
        *_drift_checks(sides, outcomes, plan),
        checks.quality(outcomes, found, alike=alike),
        checks.estimate(guessed, drifted=drifted),
        checks.repeats(len(current), len(sides[1])),
    ]
    return Judgement(
        verdict=checks.verdict(said),
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


def _outcomes(pooled: Pool, plan: Plan, rng: np.random.Generator, *, alike: bool) -> list[Outcome]:
    """Run the tests, those of quality only where labels are a random sample of the window."""
    trusted = [side.take(side.trusted) for side in (pooled.reference, pooled.current)]
    nulls = alarm.quality_nulls(trusted[0], trusted[1], plan.replicates, rng) if alike else {}
    return alarm.run(pooled, nulls, plan.false_alarm_rate)


def _estimate(current: Sample, pooled: Pool | None, rng: np.random.Generator, *, drifted: bool) -> Estimate:
    """Estimate accuracy, and mark it reliable only while messages are like the reference's."""
    beyond = None
    if pooled:
        space = pooled.text if pooled.features is None else pooled.features
        beyond = estimate.outside(space, pooled.is_current)
    return Estimate(
        accuracy=estimate.accuracy(_in_order(current), rng),
        outside_support=beyond,
        trustworthy=beyond is not None and beyond.p_value > estimate.DOUBT and not drifted,
        assumption=estimate.ASSUMPTION,
    )


def _drift_checks(sides: tuple[Sample, Sample], outcomes: list[Outcome], plan: Plan) -> list[Check]:
    sizes = len(sides[0]), len(sides[1])
    if not outcomes:
        return [checks.too_few(*sizes)]
    kinds = [checks.drift(outcomes, kind, plan.false_alarm_rate) for kind in ("input", "output")]
    return [checks.volume(*sizes), *kinds]
