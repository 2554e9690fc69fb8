"""Load the messages of a monitoring by their uuids, so that forgetting a message reaches its steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spamctl.errors import UsageError

if TYPE_CHECKING:
    from spamctl.drift.columns import PackedSample
    from spamctl.drift.sample import Sample
    from spamctl.model.versions import Found
    from spamctl.schema.monitor import Causes
    from spamctl.store.database import Store


@dataclass(frozen=True)
class Samples:
    """Reference, window, its labelled rows if they are others, and the window's uuids by text."""

    measured: Sample
    seen: Sample
    labelled: Sample | None
    uuids: Mapping[str, str]


def samples(
    store: Store, found: Found, digest: str, packed: tuple[PackedSample, PackedSample, PackedSample | None]
) -> Samples:
    """Return samples that a step packed, with their texts; rows that were forgotten meanwhile are left out.

    `digest` is that of the version's test part then. Raises UsageError if the test part is another one.
    """
    from spamctl.drift import columns
    from spamctl.model import reference
    from spamctl.store import window

    test_part = reference.fetch(found)
    if test_part.digest != digest:
        raise UsageError("the test part has changed since the run began, as spamctl forget may do: monitor again")
    measured, seen, labelled = packed
    texts = window.texts(store, seen.uuids)
    return Samples(
        columns.unpack(measured, [row.text for row in test_part.rows]),
        columns.unpack(seen, texts),
        columns.unpack(labelled, window.texts(store, labelled.uuids)) if labelled else None,
        {text: uuid for text, uuid in zip(texts, seen.uuids, strict=True) if text is not None},
    )


def quoted(store: Store, causes: Causes) -> dict[str, str]:
    """Return the texts of a finding's examples by uuid, for the one page that shows them."""
    from spamctl.store import queries

    rows = queries.find(store, [each.uuid for found in causes.examples.values() for each in found if each.uuid])
    return {uuid: row.text for uuid, row in rows.items()}


def left_for_terminal(causes: Causes, run_id: str) -> str:
    """Leave what holds words of messages in a file for us alone: logs keep what is told, and carry no message."""
    from spamctl.schema.codec import to_json

    path = Path(".spamctl", f"monitor-{run_id}.json")
    path.touch(mode=0o600)
    path.write_text(json.dumps(to_json(causes)), encoding="utf-8")
    return str(path)
