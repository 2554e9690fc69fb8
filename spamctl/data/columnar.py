"""Read the rows of parquet files, whose values are typed."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import IO, TYPE_CHECKING

from spamctl.data.encodings import open_bytes
from spamctl.data.rows import UNREADABLE, Columns, Row, refuse_column, typed_row
from spamctl.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

_UNDECODED = object()


def read_parquet(path: Path, columns: Columns) -> Iterator[Row]:
    """Yield the rows of a parquet file; a column inside another is named with a full stop between."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with ExitStack() as stack, parquet.ParquetFile(_seekable(path, stack)) as file:
            schema = file.schema_arrow
            for option, column in columns.asked():
                if _field(schema, column) is None:
                    raise refuse_column(path, list(_leaves(schema)), columns, (option, column))
            places = count(1)
            for batch in file.iter_batches(columns=[columns.text, columns.label]):
                values = (_plain(_column(batch, column)) for _, column in columns.asked())
                for text, label in zip(*values, strict=True):
                    yield _decoded_row(next(places), text, label)
    except pa.ArrowException as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path} is no parquet file that can be read ({reason}): write it again") from error


def _seekable(path: Path, stack: ExitStack) -> IO[bytes] | Path:
    """Return a file whose end can be read first: itself, or its unpacked copy."""
    with open_bytes(path) as file:
        if not isinstance(file, gzip.GzipFile):
            return path
        unpacked = tempfile.TemporaryFile()  # noqa: SIM115 - the stack closes it
        stack.enter_context(unpacked)
        shutil.copyfileobj(file, unpacked)
        unpacked.seek(0)
        return unpacked


def _field(schema: pa.Schema, column: str) -> pa.Field | None:
    """Return what a column, or one inside another, is."""
    import pyarrow as pa

    if schema.names.count(column) == 1:
        return schema.field(column)
    head, _, rest = column.partition(".")
    if not rest or schema.names.count(head) != 1 or not pa.types.is_struct(schema.field(head).type):
        return None
    return _field(pa.schema(list(schema.field(head).type)), rest)


def _leaves(schema: pa.Schema, before: str = "") -> Iterator[str]:
    """Yield the names of the columns, those inside others with the names around them."""
    import pyarrow as pa

    for one in schema:
        if pa.types.is_struct(one.type):
            yield from _leaves(pa.schema(list(one.type)), f"{before}{one.name}.")
        else:
            yield before + one.name


def _column(batch: pa.RecordBatch, column: str) -> pa.Array:
    """Return the values of a column, or of one inside another."""
    import pyarrow.compute as pc

    if column in batch.schema.names:
        return batch.column(column)
    head, _, rest = column.partition(".")
    return pc.struct_field(batch.column(head), rest.split("."))


def _plain(column: pa.Array) -> list[object]:
    """Return a column's values, strings as bytes: they need not be UTF-8."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.binary_view())
    values: list[object] = column.to_pylist()
    return values


def _decoded_row(place: int, text: object, label: object) -> Row:
    """Return the row that parquet values make."""
    text, label = (_decoded(value) for value in (text, label))
    if label is _UNDECODED:
        return Row(place, fault=UNREADABLE)
    if text is _UNDECODED:
        return Row(place, label=typed_row(place, None, label).label, fault=UNREADABLE)
    return typed_row(place, text, label)


def _decoded(value: object) -> object:
    """Return bytes as a string, if they are UTF-8."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return _UNDECODED
