"""Add labelled answers to a training: read them from their store, split them, and exclude doubtful ones."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from spamctl.config.moments import duration
from spamctl.config.recalibrate import RecalibrateOptions
from spamctl.config.train import TrainOptions
from spamctl.errors import DataError, UsageError
from spamctl.schema.codec import from_json, to_json
from spamctl.schema.feedback import FeedbackSummary, LearntAnswers, NoAnswers

if TYPE_CHECKING:
    from spamctl.data.feedback import Answer, Feedback
    from spamctl.data.parts import Split
    from spamctl.store.database import Store
    from spamctl.store.forgotten import Tombstones

PATIENCE_S = 60.0  # for the store's one lock, which a busy server and a labelling take too
MOST_LISTED = 50

Asking = TrainOptions | RecalibrateOptions


@dataclass(frozen=True)
class Lesson:
    """Parts of a training, the recent rows as [text, label], and notes about them.

    `weights` says how much each message of the training part counts; without any, all count the same.
    """

    parts: Split
    frozen_sha256: str  # of the test part before anything was added
    recent: list[list[str]]
    told: dict[str, Any]
    weights: tuple[float, ...] = ()

    @property
    def notes(self) -> Iterator[str]:
        """Describe what was added and what was left out."""
        from spamctl.reports import feedback

        yield from feedback.notes(self._summary())

    @property
    def warnings(self) -> Iterator[str]:
        """Describe what may mislead."""
        from spamctl.reports import feedback

        yield from feedback.warnings(self._summary())

    def _summary(self) -> FeedbackSummary:
        if "store" in self.told:
            return from_json(LearntAnswers, self.told)
        return from_json(NoAnswers, self.told)


@dataclass(frozen=True)
class Answers:
    """Labelled answers of the accepted sources, split, and notes on all that were read."""

    parts: Feedback
    told: dict[str, Any]

    @property
    def because(self) -> str:
        """Give the reasons in brackets, if anything was left out."""
        counts = self.told["left_out"] | self.told["passed_over"]
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in counts.items())
        return f" ({reasons})" if reasons else ""


def prepare(options: TrainOptions, divided: Split) -> Lesson:
    """Leave out what was forgotten, and add labelled answers if that was asked for.

    Raises UsageError if a store that was named cannot be used, DataError if there is nothing in it to learn from.
    """
    from spamctl.data import datasets, feedback, looks, parts

    gone = tombstones(options)
    frozen, forgotten = feedback.without(divided, gone.hold)
    told: dict[str, Any] = {"forgotten": forgotten}
    test_sha256 = parts.digest(frozen.test)
    if options.feedback == "none":
        return Lesson(frozen, test_sha256, [], told, datasets.training_weights(frozen.train))
    answers = read(options, frozen, gone)
    carved = answers.parts
    if not carved.train:
        raise DataError(
            f"--feedback {answers.told['store']}: none of {answers.told['rows']:,} labelled answers is left to learn "
            f"from{answers.because}: label more with spamctl label, or leave out --feedback"
        )
    found = looks.sides([answer.message for answer in carved.train], frozen.train, options.feedback_weight)
    told |= answers.told | {"one_sided": [to_json(side) for side in found]}
    recent = parts.to_rows(answer.message for answer in carved.recent)
    merged = feedback.merge(frozen, carved)
    answered = feedback.weights(merged, carved, options.feedback_weight, found)
    return Lesson(merged, test_sha256, recent, told, datasets.training_weights(merged.train, answered))


def read(options: Asking, frozen: Split, gone: Tombstones, learnt_until: datetime | None = None) -> Answers:
    """Read the labelled answers that count, divide them, and set doubtful ones aside.

    What `frozen` holds is left out, and so is what was forgotten. `learnt_until` is when a version, which is not
    trained again, took labelled answers last: what it may have learnt of them is left out too. Raises UsageError if
    the store cannot be used.
    """
    from spamctl.data import feedback

    with _open(options.feedback) as store:
        rows, passed_over = _read(options, store)
        name = store.address.name
    kept, left_out = feedback.distinct(rows, frozen, gone.hold)
    if learnt_until is not None:
        new = feedback.not_learnt(kept, learnt_until)
        left_out |= {"learnt by the version itself": len(kept) - len(new)} if len(new) < len(kept) else {}
        kept = new
    carved, doubtful = _doubt(feedback.carve(kept, options.recent_share), frozen, options.seed)
    every = [*carved.train, *carved.validation, *carved.recent]
    judged = len(carved.train) + len(carved.validation) + len(doubtful)
    told: dict[str, Any] = {
        "store": name,
        "sources": dict(Counter(answer.source for answer in every)),
        "rows": len(rows),
        "left_out": left_out,
        "passed_over": passed_over,
        **{part: feedback.balance(getattr(carved, part)) for part in ("train", "validation", "recent")},
        "set_aside": [_listed(answer) for answer in doubtful[:MOST_LISTED]],
        "doubtful": len(doubtful),
        "doubt": len(doubtful) / judged if judged else 0.0,
        "newest": max(answer.date for answer in every).isoformat(timespec="seconds") if every else "",
        "recent_since": carved.recent[0].date.isoformat(timespec="seconds") if carved.recent else "",
        "sha256": _digest(every),
    }
    return Answers(carved, told)


def _open(address: str) -> Store:
    from spamctl.store.database import open_store

    return open_store(address, patience_s=PATIENCE_S)


def tombstones(options: Asking) -> Tombstones:
    """Read what was forgotten, from the store of the labels and from the usual one if that is there."""
    from spamctl.store import address, forgotten

    wanted = [options.feedback, options.forgotten]
    usual = next(option.default for option in options.declared() if option.name == "forgotten")
    file = address.parse(options.forgotten).file if options.forgotten != "none" else None
    if options.forgotten == usual and file and not file.exists():
        wanted.pop()
    found = forgotten.Tombstones()
    for place in {place for place in wanted if place != "none"}:
        try:
            with _open(place) as store:
                found |= forgotten.tombstones(store)
        except UsageError as error:
            flag = "--feedback" if place == options.feedback else "--forgotten"
            needed = place == options.feedback and options.verb != "train"
            raise UsageError(f"{flag}: {error}{'' if needed else f'; {flag} none does without'}") from None
    return found


def _read(options: Asking, store: Store) -> tuple[list[Answer], dict[str, int]]:
    """Return the labelled answers that count, and how many labels of other sources were passed over."""
    from spamctl.data.feedback import Answer
    from spamctl.message import SPAM
    from spamctl.store import queries

    now = datetime.now(UTC)
    since = None if options.feedback_max_age == "always" else now - duration(options.feedback_max_age)
    sources = set(options.feedback_sources.split(","))
    answers, others = [], Counter[str]()
    for page in queries.pages(store, queries.Window(since, now, labelled=True)):
        for row in page:
            if row.label_source not in sources or row.ground_truth is None:
                others[f"from {row.label_source}"] += 1
                continue
            called = row.classification == SPAM
            answers.append(
                Answer(row.uuid, row.date, row.text, row.ground_truth, row.label_source, row.probability, called)
            )
    return answers, dict(others)


def _doubt(carved: Feedback, frozen: Split, seed: int) -> tuple[Feedback, list[Answer]]:
    """Set doubtful labels aside, of those that would be learnt from or chosen by: what is held out judges as it is."""
    from spamctl.model.doubts import doubts

    older = [*carved.train, *carved.validation]
    doubtful = [older[place] for place in doubts(older, frozen.train, seed=seed)]
    uuids = {answer.uuid for answer in doubtful}
    train, validation = (
        tuple(answer for answer in part if answer.uuid not in uuids) for part in (carved.train, carved.validation)
    )
    return replace(carved, train=train, validation=validation), doubtful


def _listed(answer: Answer) -> dict[str, Any]:
    """Name a row that was set aside, without its text: what is told is logged."""
    return {name: asdict(answer)[name] for name in ("uuid", "label", "source", "probability")}


def _digest(answers: list[Answer]) -> str:
    """Return the sha256 of what a training took from a store."""
    whole = hashlib.sha256()
    for line in sorted(json.dumps([answer.uuid, answer.text, answer.label]) for answer in answers):
        whole.update(line.encode() + b"\n")
    return whole.hexdigest()
