"""Remove rows from exported files, and detect forgotten rows in other files of messages."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from spamctl.data.export import COLUMNS
from spamctl.data.rows import LONGEST_LINE
from spamctl.data.tables import unguarded

_UUID, _TEXT = COLUMNS.index("uuid"), COLUMNS.index("text")


@dataclass(frozen=True, slots=True)
class Gone:
    """Rows to remove: those of some uuids, and those whose text equals one of some texts."""

    uuids: Collection[str]
    texts: Collection[str]

    def has(self, uuid: object, text: object) -> bool:
        """Return whether a row is one of them."""
        return uuid in self.uuids or text in self.texts


def without(path: Path, gone: Gone) -> int:
    """Take rows out of a file as `export` writes it, in its place, and return how many they were.

    The file is for its owner alone afterwards. Raises OSError if it cannot be read or written, ValueError if it is not
    as `export` wrote it.
    """
    read = _REWRITERS.get(path.suffix.lower())
    if read is None:
        raise ValueError("no exported file has such a name")
    content, rows = read(path, gone)
    if rows:
        replace(path, content)
    return rows


def replace(path: Path, content: bytes) -> None:
    """Write a file for its owner alone beside its place, and move it there; raise OSError if that fails."""
    waiting = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(waiting, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        waiting.replace(path)
    finally:
        waiting.unlink(missing_ok=True)


def read(path: Path) -> bytes:
    """Return what a file says: unpacked if it is packed, the columns of text of a parquet file as JSON."""
    content = path.read_bytes()
    if content.startswith(b"\x1f\x8b"):
        return gzip.decompress(content)
    if content.startswith(b"PAR1"):
        from pyarrow import parquet

        return json.dumps(parquet.read_table(io.BytesIO(content)).to_pydict(), default=str).encode()
    return content


def _table(path: Path, gone: Gone, delimiter: str) -> tuple[bytes, int]:
    """Return a file of quoted cells, a row of which may be many lines, without the rows."""
    csv.field_size_limit(LONGEST_LINE)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file, delimiter=delimiter))
    except csv.Error as error:
        raise ValueError(str(error)) from error
    if not rows or rows[0] != list(COLUMNS) or any(len(row) != len(COLUMNS) for row in rows):
        raise ValueError("its columns are not those of an export")
    kept = [row for row in rows if not gone.has(row[_UUID], unguarded(row[_TEXT]))]
    paper = io.StringIO()
    csv.writer(paper, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(kept)
    return paper.getvalue().encode(), len(rows) - len(kept)


def _jsonl(path: Path, gone: Gone) -> tuple[bytes, int]:
    """Return a file of an object a line without the rows."""
    lines = path.read_bytes().splitlines(keepends=True)
    kept = []
    for line in lines:
        row = json.loads(line)
        if not isinstance(row, dict) or "uuid" not in row:
            raise ValueError("a line is no row")
        if not gone.has(row["uuid"], row.get("text")):
            kept.append(line)
    return b"".join(kept), len(lines) - len(kept)


def _parquet(path: Path, gone: Gone) -> tuple[bytes, int]:
    """Return a table without the rows."""
    from pyarrow import ArrowException, parquet

    try:
        table = parquet.read_table(path)
        pairs = zip(table["uuid"].to_pylist(), table["text"].to_pylist(), strict=True)
        stay = [place for place, pair in enumerate(pairs) if not gone.has(*pair)]
    except (ArrowException, KeyError) as error:
        raise ValueError(str(error)) from error
    written = io.BytesIO()
    parquet.write_table(table.take(stay), written)
    return written.getvalue(), table.num_rows - len(stay)


_REWRITERS: dict[str, Callable[[Path, Gone], tuple[bytes, int]]] = {
    ".csv": lambda path, gone: _table(path, gone, ","),
    ".tsv": lambda path, gone: _table(path, gone, "\t"),
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".parquet": _parquet,
}
