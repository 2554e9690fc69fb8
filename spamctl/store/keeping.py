"""Verify that a database keeps the rows it is given: a trigger or a rule may drop rows silently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, column, func, select, table

from spamctl.store.faults import Fault, NotKeptError
from spamctl.store.queries import among

Row = Mapping[str, Any]


def require_kept(connection: Connection, into: Table, rows: Sequence[Row]) -> None:
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
    """Return whether a trigger fires on inserts into one of some tables: it may delete them afterwards."""
    names = [each.name for each in tables]
    if connection.dialect.name == "sqlite":
        known, kind, owner = table("sqlite_master", column("type"), column("tbl_name")), "type", "tbl_name"
        chosen = select(func.count()).select_from(known).where(known.c[kind] == "trigger", known.c[owner].in_(names))
    else:
        held = table("triggers", column("event_object_table"), schema="information_schema")
        chosen = select(func.count()).select_from(held).where(held.c.event_object_table.in_(names))
    return bool(connection.scalar(chosen))
