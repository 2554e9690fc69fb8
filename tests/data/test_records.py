"""JSON of every shape that holds messages, and parquet of every type, is read item by item."""

import gzip
import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from spamctl.data import files
from spamctl.data.files import open_rows
from spamctl.data.rows import Columns, Row
from spamctl.errors import DataError
from tests.each import each

FLAT = [{"text": f'say "{n}"\n[é]', "label": "spam" if n % 2 else "ham"} for n in range(5)]
NESTED = [{"message": {"text": one["text"], "n": 1}, "meta": {"label": one["label"]}} for one in FLAT]
EXPECTED = [(one["text"], one["label"]) for one in FLAT]
INNER = {"text": "message.text", "label": "meta.label"}


def read(tmp_path, content, name="a.jsonl", **columns):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(open_rows(path, Columns(**columns)).rows)


def lines(values):
    return "".join(json.dumps(value) + "\n" for value in values)


SHAPES = {
    "a line each": lines,
    "an array": json.dumps,
    "an array of lines": lambda values: json.dumps(values, indent=1),
    "an array, a line each": lambda values: "[" + ",\n".join(map(json.dumps, values)) + "\n]\n",
    "objects of several lines": lambda values: "\n".join(json.dumps(value, indent=2) for value in values),
    "an array with a mark": lambda values: "\ufeff  " + json.dumps(values),
    "an array in UTF-16": lambda values: json.dumps(values, ensure_ascii=False, indent=1).encode("utf-16"),
    "an array in UTF-16 without a mark": lambda values: json.dumps(values).encode("utf-16-be"),
    "packed": lambda values: gzip.compress(lines(values).encode()),
}


@each("chunk", [1, 7, 2**20])
@each("name", ["a.jsonl", "a.ndjson", "a.json", "a.jsonl.gz"])
@each("shape", SHAPES)
def test_every_shape_gives_the_same_messages(tmp_path, monkeypatch, shape, name, chunk):
    monkeypatch.setattr(files, "_CHUNK", chunk)
    for values, columns in ((FLAT, {}), (NESTED, INNER)):
        rows = read(tmp_path, SHAPES[shape](values), name, **columns)
        assert [(row.text, row.label) for row in rows] == EXPECTED
        assert [row.place for row in rows] == [1, 2, 3, 4, 5]


def test_a_key_with_a_full_stop_goes_before_what_is_inside(tmp_path):
    rows = read(tmp_path, lines([{"m.text": "a", "m": {"text": "b"}, "label": "x"}]), text="m.text")
    assert rows == [Row(1, "a", "x")]


def test_what_is_not_inside_is_no_text(tmp_path):
    content = lines([{"m": {"text": "a"}, "label": "x"}, {"m": "b", "label": "x"}, {"label": "x"}])
    assert [row.text for row in read(tmp_path, content, text="m.text")] == ["a", None, None]


@pytest.mark.parametrize(
    ("content", "columns", "words"),
    [
        (
            lines(NESTED),
            {},
            "no column 'text' (--text-column), but 'message.text', 'message.n', 'meta.label': try --text-column 'mess",
        ),
        (lines(NESTED), {"text": "message", "label": "meta.label"}, "a text that is not a string"),
        (json.dumps(FLAT)[:-1], {}, "ends within its JSON array"),
        (json.dumps(FLAT)[:-20], {}, "item 5 of its JSON array cannot be read"),
        (json.dumps(FLAT) + json.dumps(FLAT), {}, "has more behind its JSON array"),
        (json.dumps(FLAT, indent=1) + "\n[]", {}, "has more behind its JSON array"),
        ('{\n"text": "a"\n}\n{\n"text": }', {}, "object 2 cannot be read"),
        (json.dumps({"data": FLAT}), {}, "is one JSON object, not one for each message: write one a line"),
        (json.dumps({"body": "a"}), {}, "has no column 'text' (--text-column), but 'body'"),
    ],
)
def test_json_that_holds_no_messages_is_told(tmp_path, content, columns, words):
    try:
        told = read(tmp_path, content, **columns)[0].fault
    except DataError as refusal:
        told = str(refusal)
    assert words in told
    assert "\n" not in told


def test_arrays_a_line_are_named_one_by_one(tmp_path):
    rows = read(tmp_path, lines([["a", "ham"], ["b", "ham"]]))
    assert rows == [Row(1, fault="JSON that is no object"), Row(2, fault="JSON that is no object")]


def test_a_large_array_is_read_a_few_items_at_a_time(tmp_path):
    import tracemalloc

    content = json.dumps([{"text": "word " * 200, "label": "ham"}] * 60_000)
    path = tmp_path / "a.json"
    path.write_text(content)
    del content
    tracemalloc.start()
    assert sum(row.label == "ham" for row in open_rows(path, Columns()).rows) == 60_000
    assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
    tracemalloc.stop()


@each(
    ("labels", "words"),
    [
        (pa.array([0.0, 1.0, None]), ["0", "1", None]),
        (pa.array(np.array([0, 1, np.nan], np.float16)), ["0", "1", None]),
        (pa.array([Decimal("0.00"), Decimal("1.00"), None]), ["0", "1", None]),
        (pa.array([Decimal(0), Decimal(1), Decimal("0.5")], pa.decimal128(3, 1)), ["0", "1", "0.5"]),
        (pa.array([False, True, None]), ["false", "true", None]),
        (pa.array(["0.0", "1.0", "x"]), ["0", "1", "x"]),
        (pa.array([0, 1, 1]).dictionary_encode(), ["0", "1", "1"]),
        (pa.array(["a", "b", None], pa.string_view()), ["a", "b", None]),
    ],
)
@each("name", ["a.parquet", "a.parquet.gz"])
def test_a_number_of_a_label_column_is_read_as_one_would_type_it(tmp_path, labels, words, name):
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"text": ["x", "y", "z"], "label": labels}), path)
    content = path.read_bytes()
    rows = read(tmp_path, gzip.compress(content) if name.endswith(".gz") else content, name)
    assert [row.label for row in rows] == words


def test_a_parquet_file_needs_no_encoding(tmp_path):
    path = tmp_path / "a.parquet"
    pd.DataFrame(FLAT).to_parquet(path)
    with pytest.raises(DataError, match="says itself how it spells characters: leave --encoding out"):
        open_rows(path, Columns(encoding="cp1252"))


def test_a_whole_number_of_any_size_is_a_label(tmp_path):
    assert read(tmp_path, f'{{"text": "a", "label": {10**400}}}')[0].label == str(10**400)


def test_columns_inside_others_are_read_and_named(tmp_path):
    path = tmp_path / "a.parquet"
    pd.DataFrame(NESTED).to_parquet(path)
    assert [(row.text, row.label) for row in open_rows(path, Columns(**INNER)).rows] == EXPECTED
    with pytest.raises(DataError, match=r"has no column 'text' .*, but 'message.text', 'message.n', 'meta.label': try"):
        list(open_rows(path, Columns()).rows)
