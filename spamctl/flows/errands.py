"""Run one short verb that needs a store or the registry, as a child: `python -m spamctl.flows.errands`.

It is no flow: nothing of it is worth keeping. The command at the terminal sends the verb, the options and the argument
as one line of JSON, and reads the answer as another; so it needs neither SQLAlchemy nor MLflow itself.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spamctl.config.errands import ForgetOptions, RollbackOptions, TraceOptions
from spamctl.errors import SpamctlError, UsageError
from spamctl.schema.codec import to_json
from spamctl.schema.errands import ErrandAnswer, RollbackResult, TraceResult

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from spamctl.store.database import Store
    from spamctl.store.rows import StoredRow

PATIENCE_S = 60.0


@dataclass(frozen=True)
class Asked:
    """One errand as the terminal sends it: the verb, the uuid of a row, if one is named, and the verb's options."""

    verb: str
    uuid: str
    options: dict[str, Any]


def rollback(asked: Asked) -> ErrandAnswer:
    """Move the alias champion."""
    from spamctl.model import succession

    options = RollbackOptions(**asked.options)
    with _registry() as client:
        change = succession.roll_back(client, options.model_name, "" if options.to == "previous" else options.to)
    return ErrandAnswer(rollback=RollbackResult(options.model_name, change.before, change.after))


def forget(asked: Asked) -> ErrandAnswer:
    """Remove rows, and what is left of them elsewhere."""
    from spamctl.flows.forget import forget

    options = ForgetOptions(**asked.options)
    with _open(options.datastore_uri) as store:
        result = forget(store, options, asked.uuid)
        if result is None:
            raise _unknown(asked.uuid, store)
    return ErrandAnswer(forget=result)


def trace(asked: Asked) -> ErrandAnswer:
    """Follow an answer back."""
    from spamctl.model import lineage
    from spamctl.store import queries

    options = TraceOptions(**asked.options)
    with _open(options.datastore_uri) as store:
        found = list(queries.find(store, [asked.uuid]).values())
        if not found:
            raise _unknown(asked.uuid, store)
        (row,) = found
        name = store.address.name
    with _registry() as client:
        origin = lineage.lineage(client, row.model_name, row.model_version, row.package_sha256 or "")
    return ErrandAnswer(trace=TraceResult(_chain(row, name) | origin, row.text if options.text else None))


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
    from spamctl.model import tracking

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


ERRANDS: Mapping[str, Callable[[Asked], ErrandAnswer]] = {"rollback": rollback, "forget": forget, "trace": trace}


def main() -> None:
    """Read what is asked, and answer, or say why not."""
    options = json.loads(sys.stdin.readline())
    asked = Asked(options.pop("verb"), options.pop("uuid", ""), options)
    try:
        answer = ERRANDS[asked.verb](asked)
    except SpamctlError as refusal:
        answer = ErrandAnswer(refusal=str(refusal), exit_code=refusal.exit_code)
    print(json.dumps({"errand": to_json(answer)}), flush=True)


if __name__ == "__main__":
    main()
