"""Write labels: one at a time with its history, many at once, from a file or from a review."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Literal

from sqlalchemy import ColumnElement, Connection, and_, case, delete, exists, func, insert, select, update

from spamctl.progress import ProgressGenerator, ProgressUpdate
from spamctl.schema.message import FILE, NOT_SPAM, REVIEW, SIMULATED, SPAM, USER, Conflict, Label, canonical_uuid
from spamctl.store import queries
from spamctl.store.database import Store
from spamctl.store.queries import Standing, Window, among, not_kept
from spamctl.store.tables import StoredRow, data, labels

Outcome = Literal["recorded", "unchanged", "unknown"]

WITHDRAWN = "withdrawn"  # in the history alone: the label that a person took back

_CHUNK = 5_000  # uuids in one statement: SQLite takes 32,766 values, PostgreSQL's protocol 65,535
_PAUSE_S = 0.02  # SQLite gives the lock to whoever asks first, and a server that waits for it asks now and then


@dataclass(frozen=True, slots=True)
class GivenLabel:
    """A label and its source."""

    date: datetime
    label: Label
    source: str
    annotator: str


def set_labels(store: Store, given: Mapping[str, Label], source: str, *, overwrite: bool = False) -> int:
    """Label rows by their uuid, set-based, one transaction for each few thousand; return how many were labelled.

    A row that has a label keeps it, also one that another process gives it meanwhile, unless `overwrite` is set; an
    unknown uuid changes nothing. Raises ValueError for a label or a uuid that is none, UnavailableError if the database
    fails: what was labelled by then stays labelled, and the same call goes on from there.
    """
    written, chunks = 0, list(_chunks(given))
    for number, chunk in enumerate(chunks):
        if number:
            time.sleep(_PAUSE_S)
        with store.writing() as connection:
            if connection.dialect.name != "sqlite":  # which has one lock, and we hold it
                _hold(connection, [uuid for uuid, _ in chunk])
            for label in (SPAM, NOT_SPAM):
                chosen = [among(connection, [uuid for uuid, given_label in chunk if given_label == label])]
                chosen += [] if overwrite else [data.c.ground_truth.is_(None)]
                values = {"ground_truth": label, "label_source": source, "labeled_at": datetime.now(UTC)}
                written += connection.execute(update(data).where(*chosen).values(values)).rowcount
    return written


def feedback(store: Store, uuid: str, label: Label, *, source: str = "user", annotator: str = "") -> Outcome:
    """Set or correct the label of a row, and keep the history.

    The same label from the same source again changes nothing (`unchanged`), a uuid that is not stored is `unknown`.
    Raises ValueError for a label that is none, UnavailableError if the database fails.
    """
    _check_label(label)
    row = canonical_uuid(uuid)
    with store.writing() as connection:
        current = select(data.c.ground_truth, data.c.label_source).where(data.c.uuid == row).with_for_update()
        found = connection.execute(current).one_or_none() if row else None
        if found is None:
            return "unknown"
        if found == (label, source):
            return "unchanged"
        now = datetime.now(UTC)
        values = {"ground_truth": label, "label_source": source, "labeled_at": now}
        written = connection.execute(update(data).where(data.c.uuid == row).values(values)).rowcount
        entry = {"uuid": row, "date": now, "label": label, "source": source, "annotator": annotator}
        logged = connection.execute(insert(labels).execution_options(preserve_rowcount=True), [entry]).rowcount
        if written != 1 or logged != 1:
            raise not_kept(labels if written else data, 1)
    return "recorded"


def withdraw(store: Store, uuid: str, *, source: str = "user", annotator: str = "") -> bool:
    """Remove the label of a row if it is from `source`, and return whether it was; labels of others stay.

    The history keeps the label with the source `withdrawn`. Raises UnavailableError if the database fails.
    """
    row = canonical_uuid(uuid)
    with store.writing() as connection:
        current = select(data.c.ground_truth, data.c.label_source).where(data.c.uuid == row).with_for_update()
        found = connection.execute(current).one_or_none() if row else None
        if found is None or found.ground_truth is None or found.label_source != source:
            return False
        nothing = {"ground_truth": None, "label_source": None, "labeled_at": None}
        written = connection.execute(update(data).where(data.c.uuid == row).values(nothing)).rowcount
        entry = {"uuid": row, "date": datetime.now(UTC), "label": found.ground_truth}
        entry |= {"source": WITHDRAWN, "annotator": annotator}
        logged = connection.execute(insert(labels).execution_options(preserve_rowcount=True), [entry]).rowcount
        if written != 1 or logged != 1:
            raise not_kept(labels if written else data, 1)
    return True


def history(store: Store, uuid: str) -> list[GivenLabel]:
    """Return the labels that a row was given one at a time, the oldest first; raise as `feedback` does."""
    chosen = select(labels.c.date, labels.c.label, labels.c.source, labels.c.annotator)
    with store.reading() as connection:
        rows = connection.execute(chosen.where(labels.c.uuid == canonical_uuid(uuid)).order_by(labels.c.number))
        return [GivenLabel(*row) for row in rows]


def _hold(connection: Connection, uuids: Sequence[str]) -> None:
    """Lock rows in one order, so that two programs that label the same rows do not deadlock."""
    connection.execute(select(data.c.uuid).where(data.c.uuid.in_(uuids)).order_by(data.c.uuid).with_for_update())


def _chunks(given: Mapping[str, Label]) -> Iterator[Sequence[tuple[str, Label]]]:
    """Check all labels before the first is written, and cut them into chunks in the order of their uuids."""
    checked: list[tuple[str, Label]] = []
    for uuid, label in given.items():
        _check_label(label)
        row = canonical_uuid(uuid)
        if row is None:
            raise ValueError(f"{uuid[:40]!r} is no uuid")
        checked.append((row, label))
    ordered = iter(sorted(checked))
    return iter(lambda: list(islice(ordered, _CHUNK)), [])


def _check_label(label: str) -> None:
    """Refuse a label that is not one of ours."""
    if label not in {SPAM, NOT_SPAM}:
        raise ValueError("a label is spam or not spam")


# Assign the labels of a file to rows, and report where the two disagree.

_MOST_NAMED = 5
_TASK, _UNIT = "labelling", "rows"


@dataclass(slots=True)
class Assignment:
    """Counts of the labels of a file by outcome, and the first conflicts."""

    most: int
    overwrite: bool
    labelled: int = 0  # rows that had no label
    replaced: int = 0  # rows that had another, or the same from elsewhere
    standing: int = 0  # rows that have this very label already
    conflicts: int = 0  # rows that have another, and keep it
    unknown: int = 0  # labels for rows that are not in the store, or not in the window
    first_conflicts: list[Conflict] = field(default_factory=list)
    first_unknown: list[str] = field(default_factory=list)

    @property
    def written(self) -> int:
        """Count the rows that were written."""
        return self.labelled + self.replaced

    def give(self, store: Store, pairs: Iterable[tuple[Standing, Label]]) -> None:
        """Label the rows of one chunk, those that have no label first."""
        new: dict[str, Label] = {}
        other: dict[str, Label] = {}
        for row, label in pairs:
            if row.ground_truth is None:
                new[row.uuid] = label
            elif self.overwrite and (row.ground_truth, row.label_source) != (label, FILE):
                other[row.uuid] = label
            elif row.ground_truth == label:
                self.standing += 1
            else:
                self._note(Conflict(row.uuid, row.ground_truth, str(row.label_source), label))
        self.labelled += set_labels(store, self._allowed(new), FILE)
        self.replaced += set_labels(store, self._allowed(other), FILE, overwrite=True)

    def miss(self, unknown: Sequence[str]) -> None:
        """Count labels that match no row of the window, each by its name in the file."""
        self.unknown += len(unknown)
        self.first_unknown += unknown[: _MOST_NAMED - len(self.first_unknown)]

    def _note(self, conflict: Conflict) -> None:
        self.conflicts += 1
        if len(self.first_conflicts) < _MOST_NAMED:
            self.first_conflicts.append(conflict)

    def _allowed(self, given: dict[str, Label]) -> dict[str, Label]:
        return dict(list(given.items())[: max(0, self.most - self.written)])


def assign_by_uuid(
    store: Store, window: Window, chunks: Iterable[dict[str, Label]], assignment: Assignment, total: int
) -> ProgressGenerator[Assignment]:
    """Label the rows of a window whose uuids a file names, in chunks of at most a few thousand; `total` in the file."""
    done = 0
    for chunk in chunks:
        rows = queries.standing(store, list(chunk), window)
        assignment.miss(list(chunk.keys() - {row.uuid for row in rows}) if len(rows) < len(chunk) else [])
        assignment.give(store, [(row, chunk[row.uuid]) for row in rows])
        done += len(chunk)
        yield ProgressUpdate(_TASK, done, total, _UNIT)
    return assignment


def assign_by_text(
    store: Store, window: Window, labels_of: Callable[[Sequence[str]], list[Label | None]], assignment: Assignment
) -> ProgressGenerator[Assignment]:
    """Label every row of a window whose text a file names; the store is read once, in pages."""
    done, total = 0, queries.count(store, window)
    for page in queries.standing_texts(store, window):
        found = zip(page, labels_of([text for _, text in page]), strict=True)
        assignment.give(store, [(row, label) for (row, _), label in found if label is not None])
        done += len(page)
        yield ProgressUpdate(_TASK, min(done, total), total, _UNIT)
    return assignment


# Select rows for review, and record each decision, by whom and when.

_BY_PEOPLE = (REVIEW, USER)


@dataclass(frozen=True, slots=True)
class PreviousLabel:
    """Label of a row before a decision."""

    uuid: str
    ground_truth: Label | None
    label_source: str | None
    labeled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision, the rows it applies to, and their previous labels, which an undo restores."""

    label: Label
    annotator: str
    date: datetime
    before: tuple[PreviousLabel, ...]


@dataclass(frozen=True, slots=True)
class ScoredLabel:
    """A label beside the probability of spam that the model gave."""

    uuid: str
    probability: float
    label: Label
    source: str


def most_doubtful(store: Store, window: Window, most: int) -> list[StoredRow]:
    """Return rows of a window, at most `most`, those first whose probability is nearest to their threshold.

    A message out of reach is as doubtful as one at its threshold, whatever its probability. The distance is measured in
    parts of the way from the threshold to certainty, so that both sides weigh the same where the threshold is far from
    a half.
    """
    statement = (
        select(*queries.STORED).where(*window.conditions()).order_by(_certainty(), data.c.date.desc(), data.c.uuid)
    )
    with store.reading() as connection:
        return [StoredRow(*row) for row in connection.execute(statement.limit(most))]


def judged_texts(store: Store) -> list[str]:
    """Return the texts that people have labelled one at a time."""
    with store.reading() as connection:
        return list(connection.scalars(select(data.c.text).where(data.c.label_source.in_(_BY_PEOPLE)).distinct()))


def scored_labels(store: Store, window: Window) -> list[ScoredLabel]:
    """Return the labels of a window that are not simulated."""
    columns = (data.c.uuid, data.c.probability, data.c.ground_truth, data.c.label_source)
    chosen = [*window.conditions(), data.c.ground_truth.is_not(None), data.c.label_source != SIMULATED]
    with store.reading() as connection:
        return [ScoredLabel(*row) for row in connection.execute(select(*columns).where(*chosen).order_by(data.c.uuid))]


def awaiting_second(store: Store, window: Window, annotator: str, most: int) -> list[StoredRow]:
    """Return rows of a window that somebody else has reviewed and this annotator has not, the most doubtful first."""
    said = exists().where(labels.c.uuid == data.c.uuid, labels.c.source == REVIEW)
    chosen = [*window.conditions(), said.where(labels.c.annotator != annotator)]
    statement = select(*queries.STORED).where(*chosen, ~said.where(labels.c.annotator == annotator))
    with store.reading() as connection:
        rows = connection.execute(statement.order_by(_certainty(), data.c.uuid).limit(most))
        return [StoredRow(*row) for row in rows]


def record_decision(store: Store, uuids: Sequence[str], label: Label, annotator: str, *, replace: bool) -> Decision:
    """Label rows (at most a few thousand) by a person's decision, and record who decided and when.

    A row that has a label by now is left alone, unless the decision is to `replace` it. Raises UnavailableError if the
    database fails; then nothing was decided.
    """
    now = datetime.now(UTC)
    open_rows = [data.c.uuid.in_(uuids), *([] if replace else [data.c.ground_truth.is_(None)])]
    columns = [data.c[name] for name in PreviousLabel.__slots__]
    with store.writing() as connection:
        held = connection.execute(select(*columns).where(*open_rows).order_by(data.c.uuid).with_for_update())
        before = tuple(PreviousLabel(*row) for row in held)
        if before:
            values = {"ground_truth": label, "label_source": REVIEW, "labeled_at": now}
            connection.execute(update(data).where(data.c.uuid.in_([row.uuid for row in before])).values(values))
            entry = {"date": now, "label": label, "source": REVIEW, "annotator": annotator}
            entries = [entry | {"uuid": row.uuid} for row in before]
            statement = insert(labels).execution_options(preserve_rowcount=True)
            if (written := connection.execute(statement, entries).rowcount) != len(entries):
                raise not_kept(labels, len(entries) - written)
    return Decision(label, annotator, now, before)


def take_back(store: Store, decision: Decision) -> int:
    """Undo a decision, in the history too, unless somebody has decided otherwise since; return the changed rows."""
    undone = 0
    with store.writing() as connection:
        for row in decision.before:
            stands = [data.c.uuid == row.uuid, data.c.label_source == REVIEW, data.c.labeled_at == decision.date]
            values = {name: getattr(row, name) for name in PreviousLabel.__slots__ if name != "uuid"}
            undone += connection.execute(update(data).where(*stands).values(values)).rowcount
        entries = (labels.c.date == decision.date, labels.c.annotator == decision.annotator)
        uuids = [row.uuid for row in decision.before]
        connection.execute(delete(labels).where(labels.c.uuid.in_(uuids), labels.c.source == REVIEW, *entries))
    return undone


def opinions(store: Store) -> dict[str, dict[str, Label]]:
    """Return what each named annotator last said of each row, by annotator and uuid."""
    said: dict[str, dict[str, Label]] = {}
    columns = (labels.c.annotator, labels.c.uuid, labels.c.label)
    with store.reading() as connection:
        for annotator, uuid, label in connection.execute(select(*columns).order_by(labels.c.number)):
            if annotator:
                said.setdefault(annotator, {})[uuid] = label
    return said


def _certainty() -> ColumnElement[float]:
    """Compute in SQL the confidence of a verdict: 0 at the threshold and out of reach, 1 where the model is certain."""
    probability, threshold = data.c.probability, data.c.threshold
    above = (probability - threshold) / func.nullif(1 - threshold, 0)
    below = (threshold - probability) / func.nullif(threshold, 0)
    sure = case((data.c.in_reach.is_(False), 0.0), (and_(probability >= threshold), above), else_=below)
    return func.coalesce(sure, 0.0)
