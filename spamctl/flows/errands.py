"""Run one short verb that needs a store or the registry, as a child: `python -m spamctl.flows.errands`.

It is no flow: nothing of it is worth keeping. The command at the terminal sends the verb, the options and the argument
as one line of JSON, and reads the answer as another; so it needs neither SQLAlchemy nor MLflow itself.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from spamctl.errors import SpamctlError, UsageError

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from spamctl.store.database import Store

PATIENCE_S = 60.0

Asked = Mapping[str, Any]


def rollback(asked: Asked) -> dict[str, Any]:
    """Move the alias champion."""
    from spamctl.model import succession

    with _registry() as client:
        change = succession.roll_back(client, asked["model_name"], "" if asked["to"] == "previous" else asked["to"])
    return {"name": asked["model_name"], "before": change.before, "after": change.after}


def forget(asked: Asked) -> dict[str, Any]:
    """Remove rows, and what is left of them elsewhere."""
    from spamctl.flows.forget import forget

    with _open(asked) as store:
        told = forget(store, asked)
        if told is None:
            raise _unknown(asked, store)
    return told


def trace(asked: Asked) -> dict[str, Any]:
    """Follow an answer back."""
    from spamctl.model import lineage
    from spamctl.store import queries

    with _open(asked) as store:
        found = list(queries.find(store, [asked["uuid"]]).values())
        if not found:
            raise _unknown(asked, store)
        (row,) = found
        name = store.address.name
    with _registry() as client:
        origin = lineage.lineage(client, row.model_name, row.model_version, row.package_sha256 or "")
    label = f"{row.ground_truth} (from {row.label_source})" if row.ground_truth else "none yet"
    return {
        "chain": {
            "row": f"{row.uuid} in {name}",
            "answered": row.date.isoformat(timespec="seconds"),
            "verdict": f"{row.classification}, probability {row.probability:.4f}, threshold {row.threshold:.4f}",
            "in reach": {None: "unknown", True: "yes", False: "no: unlike all that was trained on"}[row.in_reach],
            "label": label,
            "model version": f"{row.model_name} {row.model_version}",
            "package sha256": row.package_sha256 or "unknown (stored before packages were told apart)",
            **origin,
        },
        "text": row.text if asked["text"] else None,
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


def _open(asked: Asked) -> Store:
    from spamctl.store.database import open_store

    return open_store(asked["datastore_uri"], patience_s=PATIENCE_S)


def _unknown(asked: Asked, store: Store) -> UsageError:
    """Report that there is no such row; what was typed may be anything."""
    return UsageError(f"{asked['uuid'][:80]}: no row of {store.address.name} has this uuid; copy it from an answer")


ERRANDS: Mapping[str, Callable[[Asked], dict[str, Any]]] = {"rollback": rollback, "forget": forget, "trace": trace}


def main() -> None:
    """Read what is asked, and answer, or say why not."""
    asked = json.loads(sys.stdin.readline())
    try:
        told = ERRANDS[asked["verb"]](asked)
    except SpamctlError as refusal:
        told = {"refusal": str(refusal), "exit_code": refusal.exit_code}
    print(json.dumps({"errand": told}), flush=True)


if __name__ == "__main__":
    main()
