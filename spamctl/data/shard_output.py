"""Keep the scored shards of an input as parts in a folder or a bucket, each of which is whole or not there.

    verdicts/_plan.json             the shards, what is scored by what, and the id of the run that began it
    verdicts/part-<digest>.parquet  the rows of a shard; its footer holds what was counted of them
    verdicts/_report.json           the counts of all, when every part is whole

Readers of such folders pass over names that begin with an underscore or a full stop.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from spamctl import folders
from spamctl.data import storage
from spamctl.data.score_output import COLUMNS, TEXT, Fingerprint, ScoredRow, parquet_table
from spamctl.errors import DataError, UsageError
from spamctl.schema.codec import JsonObject, from_json, to_json
from spamctl.schema.score import Shard, ShardPlan, ShardSummary

PLAN, REPORT = "_plan.json", "_report.json"
_OURS = re.compile(r"_plan\.json|_report\.json|part-[0-9a-f]{24}\.parquet|\.part-[0-9a-f]{24}\.[0-9a-f]{8}\.draft")
_DRAFT = re.compile(r"\.part-.*\.draft")
_SUMMARY: Final = b"spamctl"  # the key in a part's footer
_ROWS_OF_GROUP = 20_000


@dataclass(frozen=True, slots=True)
class BegunScoring:
    """A scoring whose parts are in a folder: what it is made of, its shards, and the id of the run that began it."""

    run: str
    fingerprint: Fingerprint
    plan: ShardPlan


@dataclass(slots=True)
class PartFolder:
    """Folder, or place in a bucket, of the parts of one scoring."""

    place: str
    _begun: BegunScoring | None = field(default=None, init=False)

    @property
    def begun(self) -> BegunScoring:
        """Return the scoring that was begun here; raise DataError if there is none."""
        if self._begun is None:
            told = storage.read_file(self._name(PLAN))
            if told is None:
                raise DataError(
                    f"{self._name(PLAN)}: is not there: steps on other machines need an --output in a bucket, s3://…"
                )
            self._begun = from_json(BegunScoring, json.loads(told))
        return self._begun

    def check(self, *, resume: bool, overwrite: bool) -> None:
        """Refuse a place that cannot be used as asked, before anything is read.

        Raises UsageError where it is not said what becomes of parts, DataError where other files lie there.
        """
        storage.make_folder(self.place)
        names = self._names()
        if others := sorted(name for name in names if not _OURS.fullmatch(name)):
            raise DataError(f"--output {self.place}: holds {others[0]}, which no scoring has written: name another one")
        if names and not (resume or overwrite):
            raise UsageError(
                f"--output {self.place}: parts are there already: add --resume to continue, or --overwrite to discard"
            )

    def begin(self, fingerprint: Fingerprint, plan: ShardPlan, *, overwrite: bool) -> BegunScoring:
        """Begin with a plan, or continue with the one that is there; raise UsageError if that is another scoring."""
        if not overwrite and PLAN in self._names():
            if others := fingerprint.differences(self.begun.fingerprint):
                raise UsageError(
                    f"--resume: {' and '.join(others)} changed since it was begun: give the same again, or start over "
                    "with --overwrite instead"
                )
            self._remove(name for name in self._names() if _DRAFT.fullmatch(name))
            return self.begun
        self._remove(self._names())
        self._begun = BegunScoring(secrets.token_hex(8), fingerprint, plan)
        self._put(PLAN, to_json(self._begun))
        return self._begun

    def summary(self, shard: Shard) -> ShardSummary | None:
        """Return what was counted of a part that is whole, None if there is none that is.

        Of a file on this machine every page is read and compared with its checksum; what is in a bucket is whole, or
        is not there.
        """
        import pyarrow as pa
        from pyarrow import parquet

        name = self.name_of(shard)
        if not storage.list_files(name):
            return None
        verify = not storage.is_remote(name)
        try:
            with (
                storage.open_file(name) as file,
                parquet.ParquetFile(file, page_checksum_verification=verify) as part,
            ):
                told = (part.metadata.metadata or {}).get(_SUMMARY)
                found = from_json(ShardSummary, json.loads(told)) if told else None
                rows = sum(batch.num_rows for batch in part.iter_batches()) if verify else part.metadata.num_rows
        except (pa.ArrowException, OSError, ValueError):
            return None
        except DataError:  # also of a checksum that differs; a server that does not answer says nothing of the part
            if verify:
                return None
            raise
        return found if found and found.rows == rows else None

    @contextlib.contextmanager
    def writing(self, shard: Shard, *, with_text: bool) -> Iterator[PartWriter]:
        """Yield the writer of a part, which appears when the block has ended; raise DataError if it cannot be."""
        name, draft = self.name_of(shard), f".part-{shard.digest}.{secrets.token_hex(4)}.draft"
        with contextlib.ExitStack() as stack:
            remote = storage.is_remote(name)
            folder = stack.enter_context(folders.temporary_folder("part")) if remote else Path(self.place)
            path = folder / draft
            stack.callback(path.unlink, missing_ok=True)
            try:
                with PartWriter(path, with_text=with_text) as writer:
                    yield writer
            except OSError as error:
                raise DataError(f"--output {path.parent}: cannot be written ({error.strerror}): make room") from error
            storage.put(path, name)

    def report(self, told: JsonObject) -> None:
        """Write the report."""
        self._put(REPORT, told)

    def name_of(self, shard: Shard) -> str:
        """Return the name of a part."""
        return self._name(f"part-{shard.digest}.parquet")

    def _name(self, name: str) -> str:
        return storage.join(self.place, name)

    def _names(self) -> list[str]:
        return [storage.name_of(one.name) for one in storage.list_files(self.place)]

    def _remove(self, names: Iterator[str] | Sequence[str]) -> None:
        """Remove files, the plan first: without it no part counts."""
        for name in sorted(names, key=lambda name: name != PLAN):
            storage.remove(self._name(name))

    def _put(self, name: str, told: object) -> None:
        """Write a small file for its owner alone."""
        with folders.temporary_folder("part") as folder:
            beside = folder if storage.is_remote(self.place) else Path(self.place)
            draft = beside / f".part-{'0' * 24}.{secrets.token_hex(4)}.draft"
            try:
                draft.touch(mode=0o600)
                draft.write_text(json.dumps(told), encoding="utf-8")
                storage.put(draft, self._name(name))
            except OSError as error:
                raise DataError(f"--output {self.place}: cannot be written ({error.strerror}): make room") from error


class PartWriter:
    """Writer of the rows of a part, and of what was counted of them: without that it is not whole."""

    def __init__(self, path: Path, *, with_text: bool) -> None:
        from pyarrow import parquet

        self._columns: Mapping[str, type] = COLUMNS | TEXT if with_text else COLUMNS
        self._held: list[ScoredRow] = []
        path.touch(mode=0o600)
        schema = parquet_table([], self._columns).schema
        self._file: Any = parquet.ParquetWriter(path, schema, write_page_checksum=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, rows: Sequence[ScoredRow]) -> None:
        """Add rows; what is held back of them is bounded."""
        self._held += rows
        if len(self._held) >= _ROWS_OF_GROUP:
            self._flush()

    def finish(self, summary: ShardSummary) -> None:
        """Add what was counted of all rows."""
        self._flush()
        self._file.add_key_value_metadata({_SUMMARY.decode(): json.dumps(to_json(summary))})

    def _flush(self) -> None:
        if self._held:
            self._file.write_table(parquet_table(self._held, self._columns))
            self._held = []
