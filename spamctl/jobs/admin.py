"""Run a short verb that needs a store or the registry: roll back, forget, trace.

None is a flow: nothing of it is worth keeping. The command line imports this module when such a verb is typed, since it
needs SQLAlchemy or MLflow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from spamctl.config.admin import ForgetOptions, RollbackOptions, TraceOptions
from spamctl.config.options import duration
from spamctl.errors import UsageError
from spamctl.schema.message import canonical_uuid
from spamctl.schema.version import ForgetResult, RollbackResult, TraceResult

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from spamctl.progress import ProgressGenerator
    from spamctl.store.database import Store
    from spamctl.store.deletion import Removed
    from spamctl.store.tables import StoredRow
    from spamctl.store.text_locations import Wanted

PATIENCE_S = 60.0


def rollback(options: RollbackOptions) -> RollbackResult:
    """Move the alias champion."""
    from spamctl.registry import registry_file

    with _registry() as client:
        change = registry_file.roll_back(client, options.model_name, "" if options.to == "previous" else options.to)
    return RollbackResult(options.model_name, change.before, change.after)


def forget(options: ForgetOptions, uuid: str) -> ForgetResult:
    """Remove rows, one alone if its `uuid` is not empty, and what is left of them elsewhere."""
    with _open(options.datastore_uri) as store:
        result = forget_everywhere(store, options, uuid)
        if result is None:
            raise _unknown(uuid, store)
    return result


def trace(options: TraceOptions, uuid: str) -> TraceResult:
    """Follow an answer back."""
    from spamctl.registry import versions
    from spamctl.store import queries

    with _open(options.datastore_uri) as store:
        found = list(queries.find(store, [uuid]).values())
        if not found:
            raise _unknown(uuid, store)
        (row,) = found
        name = store.address.name
    with _registry() as client:
        origin = versions.lineage(client, row.model_name, row.model_version, row.package_sha256 or "")
    return TraceResult(_chain(row, name) | origin, row.text if options.text else None)


def _chain(row: StoredRow, store: str) -> dict[str, str]:
    """Return the links of an answer's chain that its row holds."""
    return {
        "row": f"{row.uuid} in {store}",
        "answered": row.date.isoformat(timespec="seconds"),
        "verdict": f"{row.classification}, probability {row.probability:.4f}, threshold {row.threshold:.4f}",
        "in reach": {None: "unknown", True: "yes", False: "no: unlike all that was trained on"}[row.in_reach],
        "label": f"{row.ground_truth} (from {row.label_source})" if row.ground_truth else "none yet",
        "model version": f"{row.model_name} {row.model_version}",
        "package sha256": row.package_sha256 or "unknown (stored before packages were told apart)",
    }


@contextmanager
def _registry() -> Iterator[MlflowClient]:
    """Yield the client of an existing registry; looking into one creates none."""
    from spamctl.registry import tracking

    uri = tracking.tracking_uri()
    tracking.require_reachable(uri)
    if (path := tracking.file_of(uri)) and not path.is_file():
        raise UsageError(
            f"{tracking.shown(uri)}: no model is registered here; go to the folder that it was trained in, "
            "or set MLFLOW_TRACKING_URI"
        )
    with tracking.open_tracking(uri) as client:
        yield client


def _open(address: str) -> Store:
    from spamctl.store.database import open_store

    return open_store(address, patience_s=PATIENCE_S)


def _unknown(uuid: str, store: Store) -> UsageError:
    """Report that there is no such row; what was typed may be anything."""
    return UsageError(f"{uuid[:80]}: no row of {store.address.name} has this uuid; copy it from an answer")


# Forget: remove rows from the store, then from its files, and then from every place that keeps their texts.


def forget_everywhere(store: Store, options: ForgetOptions, uuid: str) -> ForgetResult | None:
    """Remove what was asked for, a single row by its `uuid` if that is not empty; None if that names no row.

    Raises UsageError if the file of wishes cannot be read.
    """
    wishes: list[str] = []
    aged = options.older_than != "never"
    if aged:
        from spamctl.store.deletion import forget_before

        removed = _ended(forget_before(store, datetime.now(UTC) - duration(options.older_than)))
    else:
        from spamctl.store.deletion import forget_rows

        wishes = _wishes(options, uuid)
        removed = _ended(forget_rows(store, wishes))
    if uuid and removed.unknown:
        return None
    elsewhere = {
        wish for number, wish in enumerate(wishes, 1) if number in set(removed.unknown) and canonical_uuid(wish) is None
    }
    listed = frozenset({Path(options.matching).absolute()}) if wishes and not uuid else frozenset[Path]()
    places, left = _elsewhere(store, removed, elsewhere, listed)
    return ForgetResult(
        rows=removed.rows,
        related=removed.related,
        already=removed.already,
        unknown=tuple(removed.unknown),
        copies=removed.copies,
        store=store.address.name,
        date=_when(store, uuid) if uuid else "",
        kind="uuid" if uuid else "older_than" if aged else "matching",
        wish=options.older_than if aged else options.matching,
        listed=bool(listed) and any(canonical_uuid(wish) is None for wish in wishes),
        places=places,
        left=tuple(left),
    )


def _wishes(options: ForgetOptions, uuid: str) -> list[str]:
    """Return the uuids and texts that are asked for; a blank line is none."""
    if uuid:
        return [canonical_uuid(uuid) or ""]  # an empty one names no row
    try:
        lines = Path(options.matching).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise UsageError(f"--matching {options.matching}: cannot be read: {why}; name another file") from None
    return [line.removesuffix("\r") for line in lines if line.strip()]


def _elsewhere(
    store: Store, removed: Removed, wished: set[str], listed: frozenset[Path]
) -> tuple[dict[str, int], list[str]]:
    """Take texts out of the store's files and of all places; return counts by place, and what is left."""
    from spamctl.store import deletion
    from spamctl.store.text_locations import Sweep

    texts = frozenset(removed.texts | wished)
    left = list(deletion.purge(store, removed.texts)) if removed.texts else []
    if not texts and not removed.uuids:
        return {}, left
    file = store.address.file
    ends = ("", "-wal", "-shm", "-journal")
    own = frozenset(file.with_name(file.name + end) for end in ends) if file else frozenset[Path]()
    wanted, places = _wanted(store, texts), Counter[str]()
    folders = {Path.cwd(), *([file.parent] if file else [])}
    for folder in sorted({*folders, *_artefact_folder()}):
        sweep = Sweep(folder, wanted, frozenset(removed.uuids), removed.labelled, store.address.name, own | listed)
        sweep.run() if folder in folders else sweep.tracked()
        places += sweep.taken
        left += sweep.left
    return {name: count for name, count in sorted(places.items()) if count}, [*left, *_out_of_reach()]


def _wanted(store: Store, texts: frozenset[str]) -> Wanted:
    """Collect what to search for: the texts, and words that monitoring may have quoted and no row has any more."""
    from spamctl import display
    from spamctl.drift.causes import terms
    from spamctl.store import queries
    from spamctl.store.tables import data
    from spamctl.store.text_locations import Wanted

    words = {term for text in texts for term in terms(text)}
    columns = (data.c.uuid, data.c.date, data.c.text)
    for page in queries.column_pages(store, columns, queries.ALL) if words else ():
        for row in page:
            words.difference_update(terms(row.text))
        if not words:
            break
    return Wanted(texts, frozenset(words), display.html)


def _artefact_folder() -> Iterator[Path]:
    """Yield the folder of a registry in a file, beside which its artefacts lie."""
    from spamctl import sqlite_url
    from spamctl.registry import tracking

    if (file := sqlite_url.file_of(tracking.tracking_uri())) is not None:
        yield file.absolute().parent


def _out_of_reach() -> Iterator[str]:
    """Name stores of others that were not searched."""
    from spamctl import sqlite_url
    from spamctl.registry import tracking

    uri = tracking.tracking_uri()
    if sqlite_url.file_of(uri) is None:
        yield (
            f"MLflow at {tracking.shown(uri)}: the test parts of its trainings (evaluation/test_part.json) were not "
            "searched: look there for messages that were learnt from this store"
        )


def _when(store: Store, uuid: str) -> str:
    """Return when a row was removed."""
    from sqlalchemy import select

    from spamctl.store.tables import forgotten

    with store.reading() as connection:
        date = connection.scalar(select(forgotten.c.date).where(forgotten.c.uuid == canonical_uuid(uuid)))
    return date.isoformat(timespec="seconds") if date else ""


def _ended(work: ProgressGenerator[Removed]) -> Removed:
    """Work to the end: seconds, which nobody needs to watch."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            removed: Removed = end.value
            return removed
