"""Store the true labels of simulated traffic beside the answers, and read them back by uuid."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from sqlalchemy import and_, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from spamctl.schema.message import NOT_SPAM, SPAM, Label, canonical_uuid
from spamctl.store.database import Store
from spamctl.store.queries import ALL, PAGE, Window, require_kept
from spamctl.store.tables import data, truth

_BOOK_ROWS = 500
_BOOK_S = 1.0  # what a killed run forgets at most


@dataclass(frozen=True, slots=True)
class TrueRow:
    """True label of one answered message; raise ValueError if the database would refuse it.

    `origin` and `family` say where its text is from, `drift_type` and `dose` in [0, 1] what it was subject to, `seed`
    and `traffic_run` which traffic it was part of.
    """

    uuid: str
    label: Label
    origin: str
    family: str
    drift_type: str
    dose: float
    seed: int
    traffic_run: str

    def __post_init__(self) -> None:
        if canonical_uuid(self.uuid) != self.uuid:
            raise ValueError(f"{self.uuid[:40]!r} is no uuid in its canonical form")
        if self.label not in {SPAM, NOT_SPAM}:
            raise ValueError("a label is spam or not spam")
        if not 0 <= self.dose <= 1:
            raise ValueError("a dose lies between 0 and 1")


@dataclass(frozen=True, slots=True)
class TrueTally:
    """Number of answered rows of a traffic run with the same truth, verdict and drift."""

    label: Label
    classification: Label
    origin: str
    drift_type: str
    rows: int


class TruthBook:
    """Writer of true labels, a few hundred at a time, or each second, and the last ones on leaving `with`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[TrueRow] = []
        self._written = time.monotonic()
        self.rows = 0

    def add(self, rows: Sequence[TrueRow]) -> None:
        """Add rows, and write all that are queued if it is time; raise UnavailableError if the database fails."""
        self._waiting += rows
        if len(self._waiting) >= _BOOK_ROWS or time.monotonic() - self._written >= _BOOK_S:
            self._write()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._write()

    def _write(self) -> None:
        remember(self._store, self._waiting)
        self.rows += len(self._waiting)
        self._waiting = []
        self._written = time.monotonic()


def remember(store: Store, rows: Sequence[TrueRow]) -> int:
    """Write true labels in one transaction, and return how many were new: existing ones are left unchanged.

    Raises UnavailableError if the database fails, or does not keep one of them; then none of them is written.
    """
    if not rows:
        return 0
    now = datetime.now(UTC)
    insert = sqlite.insert if store.address.file else postgresql.insert
    statement = insert(truth).on_conflict_do_nothing().execution_options(preserve_rowcount=True)
    with store.writing() as connection:
        values = [asdict(row) | {"date": now} for row in rows]
        if (new := connection.execute(statement, values).rowcount) < len(rows):
            require_kept(connection, truth, values)
        return new


def find(store: Store, uuids: Sequence[str]) -> dict[str, TrueRow]:
    """Return what is true of some uuids (at most a few thousand) by their uuid; unknown ones are left out."""
    known = [uuid for uuid in map(canonical_uuid, uuids) if uuid]
    columns = [truth.c[name] for name in TrueRow.__slots__]
    with store.reading() as connection:
        found = [TrueRow(*row) for row in connection.execute(select(*columns).where(truth.c.uuid.in_(known)))]
    return {row.uuid: row for row in found}


def count(store: Store, traffic_run: str) -> tuple[int, int]:
    """Count the true labels of a traffic run, and those of them with a stored answer."""
    statement = (
        select(func.count(), func.count(data.c.uuid))
        .select_from(truth.outerjoin(data, truth.c.uuid == data.c.uuid))
        .where(truth.c.traffic_run == traffic_run)
    )
    with store.reading() as connection:
        kept, answered = connection.execute(statement).one()
    return kept, answered


def tally(store: Store, traffic_run: str) -> list[TrueTally]:
    """Count the answered rows of a traffic run: all that its confusion matrices need."""
    key = (truth.c.label, data.c.classification, truth.c.origin, truth.c.drift_type)
    statement = (
        select(*key, func.count())
        .join_from(truth, data, truth.c.uuid == data.c.uuid)
        .where(truth.c.traffic_run == traffic_run)
        .group_by(*key)
        .order_by(*key)
    )
    with store.reading() as connection:
        return [TrueTally(*row) for row in connection.execute(statement)]


def revealable(
    store: Store, window: Window = ALL, source: str = "", *, labelled_too: bool = False, size: int = PAGE
) -> Iterator[list[tuple[str, Label]]]:
    """Yield (uuid, true label) of the window's rows whose truth was kept, the oldest first, in pages.

    Those that have no label; with `labelled_too` also those whose label is another one, or is not from `source`. They
    may be labelled page by page: what has been yielded does not come again, labelled or not.
    """
    free = data.c.ground_truth.is_(None)
    differs = or_(free, data.c.ground_truth != truth.c.label, data.c.label_source != source)
    chosen = (
        select(data.c.uuid, data.c.date, truth.c.label)
        .join_from(data, truth, data.c.uuid == truth.c.uuid)
        .where(*window.conditions(), differs if labelled_too else free)
        .order_by(data.c.date, data.c.uuid)
        .limit(size)
    )
    statement = chosen
    while True:
        with store.reading() as connection:
            page = connection.execute(statement).all()
        if page:
            yield [(row.uuid, row.label) for row in page]
        if len(page) < size:
            return
        date, uuid = page[-1].date, page[-1].uuid
        statement = chosen.where(and_(data.c.date >= date, or_(data.c.date > date, data.c.uuid > uuid)))
