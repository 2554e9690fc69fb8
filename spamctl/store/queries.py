"""Query answered messages in pages with constant memory, and verify that written rows were kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import Column, ColumnElement, Connection, Row, Select, Table, and_, column, func, or_, select, table

from spamctl.schema.message import Label, SourceTally, canonical_uuid
from spamctl.store.database import Fault, NotKeptError, Store
from spamctl.store.tables import StoredRow, data, shadow_verdicts, truth

PAGE = 5_000

AnyRow: TypeAlias = "Row[*tuple[Any, ...]]"
AnySelect: TypeAlias = "Select[*tuple[Any, ...]]"


@dataclass(frozen=True, slots=True)
class Window:
    """Selection of rows: from `since`, before `until`, of a version, a model, with or without a label; None takes all.

    `package` is the digest of the version's package: rows of another one are left out, those that name none are not.
    """

    since: datetime | None = None
    until: datetime | None = None
    model_version: str | None = None
    labelled: bool | None = None
    model_name: str | None = None
    package: str | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the window as conditions of SQL."""
        chosen: list[ColumnElement[bool]] = []
        if self.since is not None:
            chosen.append(data.c.date >= self.since)
        if self.until is not None:
            chosen.append(data.c.date < self.until)
        if self.model_version is not None:
            chosen.append(data.c.model_version == self.model_version)
        if self.model_name is not None:
            chosen.append(data.c.model_name == self.model_name)
        if self.package is not None:
            chosen.append(or_(data.c.package_sha256 == self.package, data.c.package_sha256.is_(None)))
        if self.labelled is not None:
            chosen.append(data.c.ground_truth.is_not(None) if self.labelled else data.c.ground_truth.is_(None))
        return chosen


@dataclass(frozen=True, slots=True)
class Tally:
    """Number of rows with the same version, verdict, label and label source."""

    model_version: str
    classification: Label
    ground_truth: Label | None
    label_source: str | None
    rows: int


class Standing(NamedTuple):
    """Label of a row, and its source."""

    uuid: str
    ground_truth: Label | None
    label_source: str | None


ALL = Window()

STORED = [data.c[name] for name in StoredRow.__slots__]
_STANDING = (data.c.uuid, data.c.ground_truth, data.c.label_source)  # the order of Standing


def count(store: Store, window: Window = ALL) -> int:
    """Count the rows of a window; raise UnavailableError if the database fails, as all functions here do."""
    with store.reading() as connection:
        return connection.scalar(select(func.count()).select_from(data).where(*window.conditions())) or 0


def tally(store: Store, window: Window = ALL) -> list[Tally]:
    """Count the rows of a window by version, verdict, label and source: all that a confusion matrix needs."""
    key = (data.c.model_version, data.c.classification, data.c.ground_truth, data.c.label_source)
    statement = select(*key, func.count()).where(*window.conditions()).group_by(*key).order_by(*key)
    with store.reading() as connection:
        return [Tally(*row) for row in connection.execute(statement)]


def by_version(store: Store, window: Window = ALL) -> dict[tuple[str, str], int]:
    """Count the rows of a window by (model, version), the most first."""
    key, rows = (data.c.model_name, data.c.model_version), func.count()
    statement = select(*key, rows).where(*window.conditions()).group_by(*key).order_by(rows.desc(), *key)
    with store.reading() as connection:
        return {(name, version): count for name, version, count in connection.execute(statement)}


def versions(store: Store) -> list[str]:
    """Return the versions that have answered, of whatever model; reads an index alone."""
    with store.reading() as connection:
        return list(connection.scalars(select(data.c.model_version).distinct().order_by(data.c.model_version)))


def by_source(store: Store, window: Window = ALL) -> list[SourceTally]:
    """Count the labels of a window by their source, in the order of its name."""
    counts: dict[str, list[int]] = {}
    for found in tally(store, window):
        if found.label_source is not None:
            count_of = counts.setdefault(found.label_source, [0, 0])
            count_of[0] += found.rows
            count_of[1] += found.rows * (found.classification == found.ground_truth)
    return [SourceTally(source, *counts[source]) for source in sorted(counts)]


def newest(store: Store, most: int, window: Window = ALL) -> list[StoredRow]:
    """Return the newest rows of a window, the newest first, at most `most`."""
    if most < 1:
        return []
    statement = _ordered(select(*STORED).where(*window.conditions()), newest_first=True).limit(most)
    with store.reading() as connection:
        return [StoredRow(*row) for row in connection.execute(statement)]


def find(store: Store, uuids: Sequence[str]) -> dict[str, StoredRow]:
    """Return the rows of some uuids (at most a few thousand) by their uuid; unknown ones are left out."""
    known = [uuid for uuid in map(canonical_uuid, uuids) if uuid]
    with store.reading() as connection:
        rows = [StoredRow(*row) for row in connection.execute(select(*STORED).where(data.c.uuid.in_(known)))]
    return {row.uuid: row for row in rows}


def standing(store: Store, uuids: Sequence[str], window: Window = ALL) -> list[Standing]:
    """Return the labels as they stand of some rows of a window, by their canonical uuids (at most a few thousand)."""
    with store.reading() as connection:
        statement = select(*_STANDING).where(among(connection, uuids), *window.conditions())
        return [Standing(*row) for row in connection.execute(statement)]


def among(
    connection: Connection, uuids: Sequence[str], column: ColumnElement[str] = data.c.uuid
) -> ColumnElement[bool]:
    """Select rows by their uuids; one JSON parameter costs SQLite two thirds of the time of many."""
    if connection.dialect.name != "sqlite":
        return column.in_(uuids)
    listed = func.json_each(json.dumps(uuids)).table_valued("value")
    return column.in_(select(listed.c.value))


def pages(
    store: Store, window: Window = ALL, *, size: int = PAGE, newest_first: bool = False
) -> Iterator[list[StoredRow]]:
    """Yield all rows of a window in the order of their dates, `size` at a time.

    Each page is a transaction of its own, so a long read holds up nobody. A row that arrives, or is labelled, meanwhile
    may be in it or not; none comes twice. Bound the window by `until` for an end that does not move.
    """
    for page in column_pages(store, STORED, window, size=size, newest_first=newest_first):
        yield [StoredRow(*row) for row in page]


def unlabelled(store: Store, window: Window = ALL, *, size: int = PAGE) -> Iterator[list[tuple[str, Label]]]:
    """Yield (uuid, classification) of the window's rows that have no label, the oldest first, in pages.

    They may be labelled page by page: what has been yielded does not come again, labelled or not.
    """
    chosen = replace(window, labelled=False)
    for page in column_pages(store, [data.c.uuid, data.c.date, data.c.classification], chosen, size=size):
        yield [(row.uuid, row.classification) for row in page]


def standing_texts(store: Store, window: Window = ALL, *, size: int = PAGE) -> Iterator[list[tuple[Standing, str]]]:
    """Yield the label as it stands and the text of the window's rows, the oldest first, in pages."""
    for page in column_pages(store, [*_STANDING, data.c.date, data.c.text], window, size=size):
        yield [(Standing(*row[: len(_STANDING)]), row.text) for row in page]


def labelled_rows(
    store: Store, window: Window = ALL, *, leave_out: str = "", size: int = PAGE
) -> Iterator[list[tuple[str, Label, str, str, datetime]]]:
    """Yield (text, label, uuid, source, date) of the window's labelled rows, the oldest first, in pages.

    Labels from the source `leave_out` are left out.
    """
    columns = [data.c.text, data.c.ground_truth, data.c.uuid, data.c.label_source, data.c.date]
    for page in column_pages(store, columns, replace(window, labelled=True), size=size):
        yield [tuple(row) for row in page if row.label_source != leave_out]


def count_known(store: Store, window: Window = ALL) -> int:
    """Count the rows of a window whose truth was kept."""
    known = select(func.count()).select_from(data.join(truth, data.c.uuid == truth.c.uuid))
    with store.reading() as connection:
        return connection.scalar(known.where(*window.conditions())) or 0


def shadow_tally(store: Store, shadow_version: str, window: Window = ALL) -> dict[tuple[Label, Label], int]:
    """Count the rows of a window by (served verdict, verdict of the shadow version)."""
    key = (data.c.classification, shadow_verdicts.c.classification)
    statement = (
        select(*key, func.count())
        .join_from(data, shadow_verdicts, data.c.uuid == shadow_verdicts.c.uuid)
        .where(shadow_verdicts.c.model_version == shadow_version, *window.conditions())
        .group_by(*key)
    )
    with store.reading() as connection:
        return {(served, shadow): rows for served, shadow, rows in connection.execute(statement)}


def column_pages(
    store: Store, columns: Sequence[Column[Any]], window: Window, *, size: int = PAGE, newest_first: bool = False
) -> Iterator[Sequence[AnyRow]]:
    """Yield pages of columns, uuid and date among them; each begins behind the last row of the one before."""
    yield from chosen_pages(store, columns, window.conditions(), size=size, newest_first=newest_first)


def chosen_pages(
    store: Store,
    columns: Sequence[Column[Any]],
    chosen: Sequence[ColumnElement[bool]],
    *,
    size: int = PAGE,
    newest_first: bool = False,
) -> Iterator[Sequence[AnyRow]]:
    """Yield pages of columns, as `column_pages` does, of the rows that meet some conditions."""
    statement = _ordered(select(*columns).where(*chosen), newest_first=newest_first).limit(size)
    page = _page(store, statement)
    while page:
        yield page
        page = _page(store, statement.where(_behind(page[-1], newest_first=newest_first))) if len(page) == size else []


def among_newest(store: Store, most: int, window: Window) -> list[ColumnElement[bool]]:
    """Return a window as conditions that leave no more than its newest rows, at most `most`, 0: all of them."""
    chosen = window.conditions()
    if not most:
        return chosen
    last = _ordered(select(data.c.date, data.c.uuid).where(*chosen), newest_first=True).offset(most - 1).limit(1)
    if not (found := _page(store, last)):
        return chosen
    date, uuid = found[0]
    return [*chosen, data.c.date >= date, or_(data.c.date > date, data.c.uuid >= uuid)]


def _page(store: Store, statement: AnySelect) -> Sequence[AnyRow]:
    with store.reading() as connection:
        return connection.execute(statement).all()


def _ordered(statement: AnySelect, *, newest_first: bool) -> AnySelect:
    """Order by date, and by uuid where dates agree: a request's rows have one date."""
    if newest_first:
        return statement.order_by(data.c.date.desc(), data.c.uuid.desc())
    return statement.order_by(data.c.date, data.c.uuid)


def _behind(row: AnyRow, *, newest_first: bool) -> ColumnElement[bool]:
    """Select what comes after a row; the first condition alone can use an index."""
    date, uuid = data.c.date, data.c.uuid
    if newest_first:
        return and_(date <= row.date, or_(date < row.date, uuid < row.uuid))
    return and_(date >= row.date, or_(date > row.date, uuid > row.uuid))


# Verify that a database keeps the rows it is given: a trigger or a rule may drop rows silently.

RowValues = Mapping[str, Any]


def require_kept(connection: Connection, into: Table, rows: Sequence[RowValues]) -> None:
    """Raise NotKeptError, inside the transaction that wrote rows, unless each of them, by its key, is in the table."""
    key = [column.name for column in into.primary_key]
    chosen = among(connection, [row["uuid"] for row in rows], into.c.uuid)
    found = {tuple(row) for row in connection.execute(select(*into.primary_key).where(chosen))}
    if missing := {tuple(row[name] for name in key) for row in rows} - found:
        raise not_kept(into, len(missing))


def not_kept(into: Table, rows: int) -> NotKeptError:
    """Describe a table that lacks rows which were written to it."""
    lacks = "a row of this transaction is" if rows == 1 else f"{rows} rows of this transaction are"
    return NotKeptError(f"table {into.name}: {Fault.NOT_KEPT.words}, {lacks} not there: {Fault.NOT_KEPT.cure}")


def has_triggers(connection: Connection, *tables: Table) -> bool:
    """Return whether a trigger fires on inserts into one of some tables, or a partition: it may delete them again."""
    names = [each.name for each in tables]
    if connection.dialect.name == "sqlite":
        known, kind, owner = table("sqlite_master", column("type"), column("tbl_name")), "type", "tbl_name"
        chosen = select(func.count()).select_from(known).where(known.c[kind] == "trigger", known.c[owner].in_(names))
    else:
        held = table("triggers", column("event_object_table"), schema="information_schema")
        ours = f"^({'|'.join(names)})(_[0-9]+)?$"
        chosen = select(func.count()).select_from(held).where(held.c.event_object_table.regexp_match(ours))
    return bool(connection.scalar(chosen))
