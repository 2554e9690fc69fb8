"""Select rows for review, and record each decision, by whom and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, and_, case, delete, exists, func, insert, select, update

from spamctl.message import Label
from spamctl.schema.label import REVIEW, SIMULATED, USER
from spamctl.store.database import Store
from spamctl.store.keeping import not_kept
from spamctl.store.queries import Window
from spamctl.store.rows import StoredRow
from spamctl.store.tables import data, labels

_BY_PEOPLE = (REVIEW, USER)


@dataclass(frozen=True, slots=True)
class Before:
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
    before: tuple[Before, ...]


@dataclass(frozen=True, slots=True)
class Scored:
    """A label beside the probability of spam that the model gave."""

    uuid: str
    probability: float
    label: Label
    source: str


def doubtful(store: Store, window: Window, most: int) -> list[StoredRow]:
    """Return rows of a window, at most `most`, those first whose probability is nearest to their threshold.

    A message out of reach is as doubtful as one at its threshold, whatever its probability. The distance is measured in
    parts of the way from the threshold to certainty, so that both sides weigh the same where the threshold is far from
    a half.
    """
    statement = select(data).where(*window.conditions()).order_by(_certainty(), data.c.date.desc(), data.c.uuid)
    with store.reading() as connection:
        return [StoredRow(*row) for row in connection.execute(statement.limit(most))]


def judged_texts(store: Store) -> list[str]:
    """Return the texts that people have labelled one at a time."""
    with store.reading() as connection:
        return list(connection.scalars(select(data.c.text).where(data.c.label_source.in_(_BY_PEOPLE)).distinct()))


def scored(store: Store, window: Window) -> list[Scored]:
    """Return the labels of a window that are not simulated."""
    columns = (data.c.uuid, data.c.probability, data.c.ground_truth, data.c.label_source)
    chosen = [*window.conditions(), data.c.ground_truth.is_not(None), data.c.label_source != SIMULATED]
    with store.reading() as connection:
        return [Scored(*row) for row in connection.execute(select(*columns).where(*chosen).order_by(data.c.uuid))]


def awaiting_second(store: Store, window: Window, annotator: str, most: int) -> list[StoredRow]:
    """Return rows of a window that somebody else has reviewed and this annotator has not, the most doubtful first."""
    said = exists().where(labels.c.uuid == data.c.uuid, labels.c.source == REVIEW)
    chosen = [*window.conditions(), said.where(labels.c.annotator != annotator)]
    statement = select(data).where(*chosen, ~said.where(labels.c.annotator == annotator))
    with store.reading() as connection:
        rows = connection.execute(statement.order_by(_certainty(), data.c.uuid).limit(most))
        return [StoredRow(*row) for row in rows]


def decide(store: Store, uuids: Sequence[str], label: Label, annotator: str, *, replace: bool) -> Decision:
    """Label rows (at most a few thousand) by a person's decision, and record who decided and when.

    A row that has a label by now is left alone, unless the decision is to `replace` it. Raises UnavailableError if the
    database fails; then nothing was decided.
    """
    now = datetime.now(UTC)
    open_rows = [data.c.uuid.in_(uuids), *([] if replace else [data.c.ground_truth.is_(None)])]
    columns = [data.c[name] for name in Before.__slots__]
    with store.writing() as connection:
        held = connection.execute(select(*columns).where(*open_rows).order_by(data.c.uuid).with_for_update())
        before = tuple(Before(*row) for row in held)
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
            values = {name: getattr(row, name) for name in Before.__slots__ if name != "uuid"}
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
