"""Describe what a training used of labelled answers, and how the new version compares with the champion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from spamctl.reports.scores import Measure, interval, number, winner
from spamctl.schema.comparison import PartRates
from spamctl.schema.feedback import Answers, FittedAnswers, LearntAnswers, NoAnswers, Side

PARTS = {"test": "frozen test part", "recent": "recent messages"}
SHOWN = (
    Measure("accuracy", "accuracy"),
    Measure("recall", "recall"),
    Measure("false_positive_rate", "false-positive rate", lower_is_better=True),
)
COLUMNS = ("part", "messages", "score", "new version", "95 % interval", "champion", "95 % interval")


def notes(told: Answers | NoAnswers) -> Iterator[str]:
    """Yield what was added, left out and set aside."""
    if told.forgotten:
        yield f"left out: {_rows(told.forgotten, 'forgotten message')} of the dataset (spamctl forget)"
    if isinstance(told, NoAnswers):
        return
    yield f"feedback from {told.store}: {summary(told)}"
    for reason, count in {**told.left_out, **told.passed_over}.items():
        yield f"feedback left out: {_rows(count, 'label')} {reason}"
    if told.doubtful:
        first = ", ".join(label.uuid for label in told.set_aside[:3]) + (", …" if told.doubtful > 3 else "")  # noqa: PLR2004 - as many as fit a line
        yield f"feedback excluded: {_rows(told.doubtful, 'doubtful label')}, {told.doubt:.0%} of them ({first})"
    if isinstance(told, LearntAnswers):
        yield from map(_one_sided, told.one_sided)


def _one_sided(side: Side) -> str:
    """Describe a surface pattern whose answers are of one class, and what balances it."""
    learnt = f"{_rows(side.answers, 'answer')} {side.look} labelled {side.label}, and none labelled {side.other}"
    if not side.counterparts:
        return f"feedback of one class: {learnt}: the dataset has no such message either, so each counts for 1"
    return (
        f"feedback of one class: {learnt}: balanced by {_rows(side.counterparts, 'message')} of the dataset "
        f"(counting {side.counterpart_weight:.3g} each, the answers {side.answer_weight:.3g} each)"
    )


def warnings(told: Answers | NoAnswers) -> Iterator[str]:
    """Yield what may mislead: labels of one kind alone, and labels made from verdicts."""
    if isinstance(told, NoAnswers):
        return
    if isinstance(told, LearntAnswers) and told.train.spam in {0, told.train.rows}:
        kind = "spam" if told.train.spam else "not spam"
        yield f"all labelled answers for training are {kind}: no label was checked against the others"
    if made := told.sources.get("simulated"):
        yield f"{_rows(made, 'label')} simulated from verdicts: the model learns its own predictions"


def summary(told: Answers) -> str:
    """Return how many answers each part got, and how many of them are spam."""
    counts = [("held out as recent", told.recent)]
    if isinstance(told, LearntAnswers):
        counts = [("training", told.train), ("validation", told.validation), *counts]
    if isinstance(told, FittedAnswers):
        counts = [("to fit to", told.fitted), *counts]
    listed = ", ".join(f"{part.rows:,} {word} ({part.spam:,} spam)" for word, part in counts)
    return f"{listed}; the newest from {told.newest}"


def comparison_rows(parts: Mapping[str, PartRates]) -> Iterator[tuple[str, str, str, str, str, str, str, str]]:
    """Yield the cells of the table of both versions on each part, and which of them is better."""
    for part, found in parts.items():
        title = PARTS.get(part, f"{part}, of the class without labels")
        for index, measure in enumerate(SHOWN):
            new, old = measure.of(found.challenger), measure.of(found.champion)
            head = (title, f"{found.rows:,}") if index == 0 else ("", "")
            better = {"model": "new", "baseline": "old"}.get(winner(measure, new, old), "")
            yield (
                *head,
                measure.name,
                number(new.value),
                interval(new),
                number(old.value),
                interval(old),
                better,
            )


def _rows(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
