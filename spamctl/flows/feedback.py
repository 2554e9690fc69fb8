"""Add labelled answers to a training: read them from their store, split them, and exclude doubtful ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from spamctl.config.options import date_of_age
from spamctl.config.train import RecalibrateOptions, TrainOptions
from spamctl.errors import DataError, UsageError
from spamctl.schema.codec import JsonObject, from_json, to_json
from spamctl.schema.train import FeedbackSummary, LearntAnswers, NoAnswers

if TYPE_CHECKING:
    from spamctl.data.feedback import Answer, Feedback, Intake, TakenAnswers
    from spamctl.schema.message import Split
    from spamctl.store.database import Store
    from spamctl.store.deletion import Tombstones

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
        from spamctl.reports import train

        yield from train.feedback_notes(self._summary())

    @property
    def warnings(self) -> Iterator[str]:
        """Describe what may mislead."""
        from spamctl.reports import train

        yield from train.feedback_warnings(self._summary())

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


@dataclass(frozen=True)
class Labelled:
    """Labelled answers of the accepted sources in a store, and counts of labels from other ones."""

    store: str
    rows: Sequence[Answer]
    passed_over: dict[str, int]


def prepare(options: TrainOptions, divided: Split) -> Lesson:
    """Leave out what was forgotten, and add labelled answers if that was asked for.

    Raises UsageError if a store that was named cannot be used, DataError if there is nothing in it to learn from.
    """
    from spamctl.data import corpus, feedback
    from spamctl.schema import message

    gone = tombstones(options)
    frozen, forgotten = feedback.without(divided, gone.hold)
    told: JsonObject = {"forgotten": forgotten}
    test_sha256 = message.digest(frozen.test)
    if options.feedback == "none":
        return Lesson(frozen, test_sha256, [], told, corpus.training_weights(frozen.train))
    labelled = _labelled(options)
    built = feedback.build_training_set(labelled.rows, frozen, _intake(options, gone), options.feedback_weight)
    answers = _answers(labelled, built.taken)
    if not built.taken.parts.train:
        raise DataError(
            f"--feedback {labelled.store}: none of {len(labelled.rows):,} labelled answers is left to learn "
            f"from{answers.because}: label more with spamctl label, or leave out --feedback"
        )
    told |= answers.told | {"one_sided": [to_json(side) for side in built.one_sided]}
    recent = message.to_rows(answer.message for answer in built.taken.parts.recent)
    return Lesson(built.parts, test_sha256, recent, told, built.weights)


def read(options: Asking, frozen: Split, gone: Tombstones, learnt_until: datetime | None = None) -> Answers:
    """Read the labelled answers that count, divide them, and set doubtful ones aside.

    What `frozen` holds is left out, and so is what was forgotten, and what a version may have learnt that took labelled
    answers up to `learnt_until`. Raises UsageError if the store cannot be used.
    """
    from spamctl.data import feedback

    labelled = _labelled(options)
    return _answers(labelled, feedback.take(labelled.rows, frozen, _intake(options, gone, learnt_until)))


def _intake(options: Asking, gone: Tombstones, learnt_until: datetime | None = None) -> Intake:
    """Return how answers are taken, by the options."""
    from spamctl.data.feedback import Intake
    from spamctl.metrics.label_quality import doubts

    return Intake(
        options.recent_share, gone.hold, lambda older, known: doubts(older, known, seed=options.seed), learnt_until
    )


def _answers(labelled: Labelled, taken: TakenAnswers) -> Answers:
    """Describe what was read and taken, without any text: what is told is logged."""
    from spamctl.data import feedback

    parts, every = taken.parts, taken.every
    told: JsonObject = {
        "store": labelled.store,
        "sources": dict(Counter(answer.source for answer in every)),
        "rows": taken.rows,
        "left_out": taken.left_out,
        "passed_over": labelled.passed_over,
        "train": feedback.balance(parts.train),
        "validation": feedback.balance(parts.validation),
        "recent": feedback.balance(parts.recent),
        "set_aside": [_listed(answer) for answer in taken.doubtful[:MOST_LISTED]],
        "doubtful": len(taken.doubtful),
        "doubt": taken.doubt,
        "newest": max(answer.date for answer in every).isoformat(timespec="seconds") if every else "",
        "recent_since": parts.recent[0].date.isoformat(timespec="seconds") if parts.recent else "",
        "sha256": taken.sha256,
    }
    return Answers(parts, told)


def _open(address: str) -> Store:
    from spamctl.store.database import open_store

    return open_store(address, patience_s=PATIENCE_S)


def tombstones(options: Asking) -> Tombstones:
    """Read what was forgotten, from the store of the labels and from the usual one if that is there."""
    from spamctl.store import address, deletion

    wanted = [options.feedback, options.forgotten]
    usual = next(option.default for option in options.declared() if option.name == "forgotten")
    file = address.parse(options.forgotten).file if options.forgotten != "none" else None
    if options.forgotten == usual and file and not file.exists():
        wanted.pop()
    found = deletion.Tombstones()
    for place in {place for place in wanted if place != "none"}:
        try:
            with _open(place) as store:
                found |= deletion.tombstones(store)
        except UsageError as error:
            flag = "--feedback" if place == options.feedback else "--forgotten"
            needed = place == options.feedback and options.verb != "train"
            raise UsageError(f"{flag}: {error}{'' if needed else f'; {flag} none does without'}") from None
    return found


def _labelled(options: Asking) -> Labelled:
    """Read the labelled answers of the accepted sources and ages."""
    from spamctl.data.feedback import Answer
    from spamctl.schema.message import SPAM
    from spamctl.store import queries

    now = datetime.now(UTC)
    since = date_of_age(options.feedback_max_age, now)
    sources = set(options.feedback_sources.split(","))
    answers, others = [], Counter[str]()
    with _open(options.feedback) as store:
        for page in queries.pages(store, queries.Window(since, now, labelled=True)):
            for row in page:
                if row.label_source not in sources or row.ground_truth is None:
                    others[f"from {row.label_source}"] += 1
                    continue
                called = row.classification == SPAM
                answers.append(
                    Answer(row.uuid, row.date, row.text, row.ground_truth, row.label_source, row.probability, called)
                )
        return Labelled(store.address.name, answers, dict(others))


def _listed(answer: Answer) -> JsonObject:
    """Name a row that was set aside, without its text."""
    return {"uuid": answer.uuid, "label": answer.label, "source": answer.source, "probability": answer.probability}
