"""A request is read as MLflow reads it, or refused by row and column; nothing is made up for it."""

import json
import re
import time
import tracemalloc

import pandas as pd
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from spamctl.serving import access
from spamctl.serving.access import Refusal
from spamctl.serving.protocol import KEYS, ScoringRequest, read, read_object
from tests.each import each
from tests.mlflow_loaded import load_mlflow
from tests.serving import bad_bodies
from tests.serving.spellings import CSV, EVERY, JSON, ODD, ODD_CASES, SPELLINGS, as_mlflow_reads, spell


def outcome(kind, body, most_rows=1000):
    """Return the texts of a body, or the status of its refusal."""
    try:
        return read(kind, body, most_rows=most_rows).texts
    except Refusal as told:
        return told.status


def refused(kind, body, most_rows=1000):
    with pytest.raises(Refusal) as caught:
        read(kind, body if isinstance(body, bytes) else body.encode(), most_rows=most_rows)
    return caught.value


@pytest.fixture(scope="module")
def mlflow():
    load_mlflow()


@each("name", EVERY)
@each("texts", [["a"], ["FREE entry, now", "ok", "ok"]])
def test_every_spelling_holds_the_texts_that_mlflow_reads(mlflow, name, texts):
    kind, body = spell(name, texts)
    assert read(kind, body, most_rows=1000) == ScoringRequest(texts)
    assert as_mlflow_reads(kind, body) == texts


@pytest.mark.parametrize("name", EVERY)
@given(texts=st.lists(st.text(min_size=1), min_size=1, max_size=5))
@example(texts=['"', "a,b", ' "quoted" ', "\\", "\t", "'"])
def test_any_texts_are_read_as_mlflow_reads_them(mlflow, name, texts):
    assume(name in SPELLINGS or not any("\r" in text for text in texts))  # pandas writes it without quotes
    kind, body = spell(name, texts)
    assert read(kind, body, most_rows=1000).texts == texts
    if all(mlflow_keeps(name, text) for text in texts):
        assert as_mlflow_reads(kind, body) == texts


def mlflow_keeps(name, text):
    """Tell whether MLflow's own reading keeps a text: numpy drops its last NULs, pandas finds words for NaN."""
    return "\0" not in text and (name in SPELLINGS or (text.strip() and text not in pd._libs.parsers.STR_NA_VALUES))


@each(("name", "odd"), ODD_CASES)
def test_odd_text_is_text(name, odd):
    text = ODD[odd]
    kind, body = spell(name, ["ok", text])
    assert read(kind, body, most_rows=2).texts == ["ok", text]


def test_what_pandas_calls_missing_is_text_in_a_table():
    words = ["NA", "null", "NaN", "None", "n/a", ""]
    assert read(CSV, b'text\nNA\nnull\nNaN\nNone\nn/a\n""\n', most_rows=9).texts == words


@each("table", ["\n\ntext\n\na\n\r\n\nb", "text\ra\rb", "\ufefftext\r\na\r\nb\r\n", '"text"\n"a"\n"b"'])
def test_empty_lines_and_the_kind_of_line_end_mean_nothing(mlflow, table):
    assert read(CSV, table.encode(), most_rows=2).texts == ["a", "b"] == as_mlflow_reads(CSV, table.encode())


def test_a_line_of_blanks_is_a_message():
    assert read(CSV, b"text\n \na\n", most_rows=2).texts == [" ", "a"]


@each("name", EVERY)
def test_no_rows_are_no_texts(name):
    kind, body = spell(name, [])
    assert read(kind, body, most_rows=1).texts == []


def test_one_text_under_its_column_is_one_row(mlflow):
    for key in ("inputs", "instances"):
        body = json.dumps({key: {"text": "a"}}).encode()
        assert read(JSON, body, most_rows=1).texts == ["a"] == as_mlflow_reads(JSON, body)


@each("start", ["\ufeff", " \r\n\t"])
def test_a_mark_of_byte_order_and_blanks_may_come_first(start):
    assert read(JSON, f'{start}{{"inputs": ["a"]}} \n'.encode(), most_rows=1).texts == ["a"]


@each(
    "kind",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        'application/json; charset="utf-8"',
        "application/json; charset=utf8",
        " application/json ;",
    ],
)
def test_a_media_type_may_be_written_in_several_ways(kind):
    assert read(kind, b'{"inputs": ["a"]}', most_rows=1).texts == ["a"]


@each(
    ("params", "ask"),
    [
        (None, ScoringRequest(["a"])),
        ({}, ScoringRequest(["a"])),
        ({"data_capture": True}, ScoringRequest(["a"], data_capture=True)),
        ({"data_capture": False}, ScoringRequest(["a"], data_capture=False)),
        ({"explain": True}, ScoringRequest(["a"], explain=True)),
        ({"explain": False, "data_capture": False}, ScoringRequest(["a"], data_capture=False)),
    ],
)
@each("key", SPELLINGS)
def test_params_are_switches(key, params, ask):
    assert read(JSON, json.dumps(SPELLINGS[key](["a"]) | {"params": params}).encode(), most_rows=1) == ask


@each("name", EVERY)
def test_a_row_too_many_is_refused(name):
    kind, body = spell(name, ["a"] * 4)
    assert len(read(kind, body, most_rows=4).texts) == 4
    told = refused(kind, body, most_rows=3)
    assert (told.status, told.message) == (413, "the body has more than 3 rows: send fewer in each request")


@each(("kind", "body", "status"), bad_bodies.MALFORMED.values())
def test_a_malformed_body_is_refused_with_its_status(kind, body, status):
    assert refused(kind, body).status == status


def test_forty_malformed_bodies_are_tried_and_more():
    assert len({body for _, body, _ in bad_bodies.MALFORMED.values()}) >= 40


@each(("body", "words"), bad_bodies.WRONG.values())
def test_a_wrong_value_is_named_by_row_and_column(body, words):
    told = refused(JSON, body)
    assert (told.status, told.code) == (400, "INVALID_PARAMETER_VALUE")
    assert told.message.startswith(words)


@each(("value", "named"), bad_bodies.VALUES.values())
@each("name", SPELLINGS)
def test_a_value_that_is_no_text_is_refused_in_every_spelling(name, value, named):
    body = json.dumps(SPELLINGS[name](["a", "b", "IT"])).replace('"IT"', value)
    told = refused(JSON, body)
    assert told.status == 400
    assert told.message.startswith(f"row 2: column 'text' holds {named}, not text")


@each(
    ("table", "words"),
    [
        ("text\na,b\n", "row 0: has 2 cells, where 1 belong: put quotes around a text"),
        ("text\nok\na,b,c,d,e,f,g,h,i,j\n", "row 1: has 8 cells"),
        (",text\n0,a\nb\n", "row 1: has 1 cells, where 2 belong"),
        ("", "the first line names no column 'text': send a line that says text, then a message a line"),
        ("\n\n", "the first line names no column 'text'"),
        ("my secret\nb\n", "the first line names no column 'text'"),
        ("Text\nb\n", "the first line names no column 'text'"),
        (" text\nb\n", "the first line names no column 'text'"),
        ("text,id\na,1\n", "the first line: there is no column 'id'"),
        ("text,text\na,b\n", "the first line: column 'text' stands twice"),
        ("text,\na,\n", "the first line: there is no column ''"),
        ('text\n"a\n', "line 2: the quotes do not close a cell"),
        ('text\nok\n"a"b\n', "line 3: the quotes do not close a cell"),
    ],
)
def test_a_table_that_is_none_is_refused_where_it_is_wrong(table, words):
    told = refused(CSV, table)
    assert told.status == 400
    assert told.message.startswith(words)


@each(
    ("params", "words"),
    [
        ([], "params holds a list, not an object"),
        ("no", "params holds text, not an object"),
        ({"data_capture": None}, "params.data_capture holds null: send true or false"),
        ({"data_capture": "false"}, "params.data_capture holds text"),
        ({"explain": 1}, "params.explain holds a number"),
        ({"data-capture": False}, "there is no parameter 'data-capture': did you mean data_capture?"),
        ({"explian": True}, "there is no parameter 'explian': did you mean explain?"),
        ({"temperature": True}, "there is no parameter 'temperature': send"),
    ],
)
def test_params_that_are_none_are_refused_by_name(params, words):
    told = refused(JSON, json.dumps({"inputs": ["a"], "params": params}))
    assert told.status == 400
    assert told.message.startswith(words)


def test_a_missing_content_type_is_refused_with_what_to_send():
    told = refused(None, b'{"inputs": ["a"]}')
    assert (told.status, told.code) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert told.message == "the request has no Content-Type: send it as Content-Type: application/json"


EVERY_BAD = [
    *((kind, body) for kind, body, _ in bad_bodies.MALFORMED.values()),
    *((JSON, body.encode()) for body, _ in bad_bodies.WRONG.values()),
]


@each(("kind", "body"), EVERY_BAD)
def test_a_refusal_is_short_ascii_and_shows_no_message(kind, body):
    told = refused(kind, body)
    answer = access.error_body(told, "x" * 128)
    assert len(answer) <= 1024
    assert answer.isascii()
    assert "secret" not in told.message
    assert sum(map(len, re.findall(r"'([^']*)'", told.message))) <= 80 + len("text")
    assert re.search(r": (send|use|put|double|did you mean|leave)|; did you mean", told.message), told.message


def is_an_answer(found):
    return found in {400, 413} if isinstance(found, int) else all(isinstance(text, str) for text in found)


COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")  # how gzip and zstd begin


@given(body=st.binary() | st.binary().map(lambda rest: COMPRESSED[len(rest) % len(COMPRESSED)] + rest))
def test_any_bytes_are_read_or_refused(body):
    for kind in (JSON, CSV):
        found = outcome(kind, body)
        assert found == 415 if body.startswith(COMPRESSED) and found != 413 else is_an_answer(found)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["text", "columns", "data"]), inner),
)


@given(document=st.dictionaries(st.sampled_from([*KEYS, "params", "input"]), json_values, min_size=1))
def test_any_json_is_read_or_refused(document):
    assert is_an_answer(outcome(JSON, json.dumps(document).encode()))


@each(("kind", "body"), bad_bodies.heavy(2**19).values())
def test_a_hostile_body_costs_little_more_than_its_bytes(kind, body):
    tracemalloc.start()
    began = time.process_time()
    assert is_an_answer(outcome(kind, body))
    seconds, peak = time.process_time() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 5  # in practice a twentieth of one
    assert peak < 8 * len(body)


def test_an_object_is_read_as_strictly():
    assert read_object(JSON, b'{"uuid": "a", "label": "spam"}') == {"uuid": "a", "label": "spam"}
    for kind, body, status in [
        (None, b"{}", 415),
        (CSV, b"text\n", 415),
        ("text/plain", b"{}", 415),
        (JSON, b'{"a": 1, "a": 2}', 400),
        (JSON, b"[]", 400),
        (JSON, b'{"a": ' + b"[" * 100_000, 400),
        (JSON, b'{"a": [' + b"1," * 100_000 + b"1]}", 413),
    ]:
        with pytest.raises(Refusal) as told:
            read_object(kind, body)
        assert told.value.status == status
