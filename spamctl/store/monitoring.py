"""Store the result of each monitoring, and read the latest for the trend."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from spamctl.schema.codec import from_json, to_json
from spamctl.schema.monitor import Figures, Verdict
from spamctl.store.database import Store
from spamctl.store.keeping import not_kept
from spamctl.store.tables import monitoring

_NEWEST = 60


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of a monitoring: the version, the window, and its figures, which are stored as JSON."""

    run_id: str
    date: datetime
    model_name: str
    model_version: str
    window_since: datetime | None
    window_until: datetime
    rows: int
    verdict: Verdict
    figures: Figures


def append(store: Store, finding: Finding) -> bool:
    """Insert a result and return whether it is new: an existing run is left unchanged.

    Raises UnavailableError if the database fails; then nothing is written.
    """
    insert = sqlite.insert if store.address.file else postgresql.insert
    values = {name: getattr(finding, name) for name in Finding.__slots__}
    values |= {"figures": json.dumps(to_json(finding.figures), allow_nan=False)}
    statement = insert(monitoring).on_conflict_do_nothing().execution_options(preserve_rowcount=True)
    with store.writing() as connection:
        if new := bool(connection.execute(statement, [values]).rowcount):
            return new
        if connection.scalar(select(monitoring.c.run_id).where(monitoring.c.run_id == finding.run_id)) is None:
            raise not_kept(monitoring, 1)
        return new


def history(store: Store, model_name: str, most: int = _NEWEST) -> list[Finding]:
    """Return the last findings about a model, all versions, the oldest first; raise UnavailableError as all do."""
    statement = (
        select(monitoring)
        .where(monitoring.c.model_name == model_name)
        .order_by(monitoring.c.date.desc(), monitoring.c.run_id.desc())
        .limit(most)
    )
    with store.reading() as connection:
        rows = connection.execute(statement).all()
    read = [row._asdict() for row in reversed(rows)]
    return [Finding(**row | {"figures": from_json(Figures, json.loads(row["figures"]))}) for row in read]
