"""Write labels: many at once where none is yet, or one at a time with its history."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Literal

from sqlalchemy import Connection, insert, select, update

from spamctl.message import NOT_SPAM, SPAM, Label, canonical_uuid
from spamctl.store.database import Store
from spamctl.store.keeping import not_kept
from spamctl.store.queries import among
from spamctl.store.tables import data, labels

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
