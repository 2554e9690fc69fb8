"""Write down requests that are wrong: malformed ones with their status, wrong values with the words that name them."""

import json

JSON, CSV = "application/json", "text/csv"
OK = b'{"inputs": [{"text": "my secret"}]}'


def of(value):
    return json.dumps(value).encode()


# What does not reach a row: (content type, body, status)
MALFORMED = {
    "nothing": (JSON, b"", 400),
    "blanks": (JSON, b" \n ", 400),
    "a NUL": (JSON, b"\x00", 400),
    "a word": (JSON, b"spam", 400),
    "null": (JSON, b"null", 400),
    "true": (JSON, b"true", 400),
    "a number": (JSON, b"5", 400),
    "a huge number": (JSON, b"9" * 10_000, 400),
    "text": (JSON, b'"my secret"', 400),
    "a list": (JSON, of([{"text": "my secret"}]), 400),
    "an empty object": (JSON, b"{}", 400),
    "an empty list": (JSON, b"[]", 400),
    "only params": (JSON, of({"params": {}}), 400),
    "cut": (JSON, OK[:-3], 400),
    "cut in a text": (JSON, OK[:-8], 400),
    "cut in an escape": (JSON, b'{"inputs": ["my secret\\', 400),
    "cut in a key": (JSON, b'{"inp', 400),
    "a brace too many": (JSON, OK + b"}", 400),
    "two documents": (JSON, OK + OK, 400),
    "lines of JSON": (JSON, OK + b"\n" + OK, 400),
    "a comma too many": (JSON, b'{"inputs": [{"text": "my secret"},]}', 400),
    "a comma too few": (JSON, b'{"inputs": ["my secret" "b"]}', 400),
    "a colon too few": (JSON, b'{"inputs" ["my secret"]}', 400),
    "single quotes": (JSON, b"{'inputs': ['my secret']}", 400),
    "bare keys": (JSON, b"{inputs: ['my secret']}", 400),
    "a comment": (JSON, b'{"inputs": ["a"]} // my secret', 400),
    "Python": (JSON, b'{"inputs": [None, True]}', 400),
    "a bad escape": (JSON, b'{"inputs": ["my secret \\x41"]}', 400),
    "a bad \\u": (JSON, b'{"inputs": ["my secret \\u12"]}', 400),
    "a raw line end": (JSON, b'{"inputs": ["my\nsecret"]}', 400),
    "a raw NUL": (JSON, b'{"inputs": ["my\x00secret"]}', 400),
    "a raw tab": (JSON, b'{"inputs": ["my\tsecret"]}', 400),
    "Latin-1": (JSON, '{"inputs": ["gr\u00fc\u00df dich"]}'.encode("latin-1"), 400),
    "UTF-16": (JSON, '{"inputs": ["my secret"]}'.encode("utf-16"), 400),
    "UTF-16 without a mark": (JSON, '{"inputs": ["my secret"]}'.encode("utf-16-le"), 400),
    "UTF-32": (JSON, '{"inputs": ["my secret"]}'.encode("utf-32"), 400),
    "UTF-7": (JSON, b'{"inputs": ["+AGE"]}'[:-3], 400),
    "a surrogate as bytes": (JSON, b'{"inputs": ["\xed\xa0\x80"]}', 400),
    "an overlong slash": (JSON, b'{"inputs": ["\xc0\xaf"]}', 400),
    "a cut character": (JSON, b'{"inputs": ["\xf0\x9f\x98"]}', 400),
    "0xff": (JSON, b"\xff\xfe\xfd", 400),
    "gzip": (JSON, b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", 415),
    "a form": (JSON, b"text=my+secret", 400),
    "XML": (JSON, b"<text>my secret</text>", 400),
    "deep lists": (JSON, b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
    "deep lists that stay open": (JSON, b"[" * 100_000, 400),
    "deep objects": (JSON, b'{"inputs": ' * 100_000, 400),
    "a key twice": (JSON, b'{"inputs": ["a"], "inputs": ["my secret"]}', 400),
    "a column twice": (JSON, b'{"inputs": [{"text": "a", "text": "my secret"}]}', 400),
    "a parameter twice": (JSON, b'{"inputs": ["a"], "params": {"explain": true, "explain": false}}', 400),
    "inputs and instances": (JSON, of({"inputs": ["a"], "instances": ["a"]}), 400),
    "all keys": (JSON, of(dict.fromkeys(["inputs", "instances", "dataframe_records", "dataframe_split"])), 400),
    "an unknown key": (JSON, of({"inputs": ["a"], "input": ["my secret"]}), 400),
    "a chat": (JSON, of({"messages": [{"role": "user", "content": "my secret"}]}), 400),
    "a prompt": (JSON, of({"prompt": "my secret"}), 400),
    "bare text as inputs": (JSON, of({"inputs": "my secret"}), 400),
    "null as inputs": (JSON, of({"inputs": None}), 400),
    "a number as inputs": (JSON, of({"inputs": 5}), 400),
    "an empty object as inputs": (JSON, of({"inputs": {}}), 400),
    "records that are columns": (JSON, of({"dataframe_records": {"text": ["my secret"]}}), 400),
    "records that are bare": (JSON, of({"dataframe_records": ["my secret"]}), 400),
    "a split that is a list": (JSON, of({"dataframe_split": [["my secret"]]}), 400),
    "a split without columns": (JSON, of({"dataframe_split": {"data": [["my secret"]]}}), 400),
    "a split without data": (JSON, of({"dataframe_split": {"columns": ["text"]}}), 400),
    "a split with more": (JSON, of({"dataframe_split": {"columns": ["text"], "data": [], "dtypes": []}}), 400),
    "a split with a short index": (
        JSON,
        of({"dataframe_split": {"columns": ["text"], "index": [1], "data": [["a"], ["b"]]}}),
        400,
    ),
    "a split whose index is none": (
        JSON,
        of({"dataframe_split": {"columns": ["text"], "index": "my secret", "data": [["a"]]}}),
        400,
    ),
    "no Content-Type": (None, OK, 415),
    "an empty Content-Type": ("", OK, 415),
    "plain text": ("text/plain", OK, 415),
    "a form by its type": ("application/x-www-form-urlencoded", b"text=my+secret", 415),
    "form data": ("multipart/form-data; boundary=x", b"--x--", 415),
    "parquet": ("application/vnd.apache.parquet", b"PAR1", 415),
    "lines of JSON by their type": ("application/x-ndjson", OK, 415),
    "a relative of JSON": ("application/vnd.api+json", OK, 415),
    "anything": ("*/*", OK, 415),
    "two types": ("application/json, text/csv", OK, 415),
    "nonsense": ("application/json/x", OK, 415),
    "another charset": ("application/json; charset=latin-1", OK, 415),
    "another charset of a table": ("text/csv; charset=utf-16", b"text\n", 415),
    "a parameter": ("application/json; profile=my", OK, 415),
    "a table of nothing": (CSV, b"", 400),
    "a table without a header": (CSV, b"my secret\nb\n", 400),
    "a table in Latin-1": (CSV, "text\ngr\u00fc\u00df dich\n".encode("latin-1"), 400),
    "a table with an open quote": (CSV, b'text\n"my secret\n', 400),
    "a table with text behind a quote": (CSV, b'text\n"my" secret\n', 400),
    "a table with a comma": (CSV, b"text\nmy, secret\n", 400),
    "a table of tabs": (CSV, b"id\ttext\n1\tmy secret\n", 400),
    "a table that is JSON": (CSV, OK, 400),
}

# What stands in the place of a text, and what it is called
VALUES = {
    "null": ("null", "null"),
    "NaN": ("NaN", "NaN"),
    "Infinity": ("Infinity", "Infinity"),
    "-Infinity": ("-Infinity", "Infinity"),
    "an integer": ("7", "a number"),
    "a huge integer": ("9" * 5000, "a number"),
    "a float": ("-0.5e3", "a number"),
    "a float beyond all": ("1e999", "a number"),
    "true": ("true", "true"),
    "false": ("false", "false"),
    "a list": ('["my secret"]', "a list"),
    "an empty list": ("[]", "a list"),
    "an object": ('{"k": "my secret"}', "an object"),
    "an empty object": ("{}", "an object"),
}

# What is wrong with rows: (body, the start of the message)
WRONG = {
    "a row without a column": ('{"inputs": [{"text": "a"}, {}]}', "row 1: column 'text' is missing"),
    "a row with another column": (
        '{"inputs": [{"txt": "my secret"}]}',
        "row 0: there is no column 'txt'; did you mean 'text'?",
    ),
    "a row with a column too many": (
        '{"inputs": [{"text": "my secret", "id": 7}]}',
        "row 0: there is no column 'id': send",
    ),
    "a long name of a column": ('{"inputs": [{"' + "n" * 500 + '": "a"}]}', "row 0: there is no column 'nnnnn"),
    "a hostile name of a column": (
        r'{"inputs": [{"\u202e\u0000<b>": "a"}]}',
        r"row 0: there is no column '\u202e\x00<b>'",
    ),
    "columns without text": ('{"inputs": {"txt": ["a"]}}', "inputs: there is no column 'txt'"),
    "columns too many": ('{"inputs": {"text": ["a"], "id": [1]}}', "inputs: there is no column 'id'"),
    "bare texts and records": ('{"inputs": ["a", {"text": "my secret"}]}', "row 1: column 'text' holds an object"),
    "records and bare texts": ('{"inputs": [{"text": "a"}, "my secret"]}', "row 1: holds text, not an object"),
    "records and nothing": ('{"instances": [{"text": "a"}, null]}', "row 1: holds null, not an object"),
    "a row that is a list": ('{"inputs": [["my secret"]]}', "row 0: column 'text' holds a list, not text"),
    "columns that are ragged": ('{"inputs": {"text": ["a", ["my secret"]]}}', "row 1: column 'text' holds a list"),
    "a column that is an object": ('{"inputs": {"text": {"0": "a"}}}', "row 0: column 'text' holds an object"),
    "a column that is null": ('{"instances": {"text": null}}', "row 0: column 'text' holds null, not text"),
    "a split with another column": (
        '{"dataframe_split": {"columns": ["id"], "data": [[1]]}}',
        "dataframe_split.columns: there is no column 'id'",
    ),
    "a split with a column too many": (
        '{"dataframe_split": {"columns": ["text", "id"], "data": [["my secret", 1]]}}',
        "dataframe_split.columns: there is no column 'id'",
    ),
    "a split with a column twice": (
        '{"dataframe_split": {"columns": ["text", "text"], "data": [["a", "b"]]}}',
        "dataframe_split.columns: column 'text' stands twice",
    ),
    "a split without any column": (
        '{"dataframe_split": {"columns": [], "data": []}}',
        "dataframe_split.columns: column 'text' is missing",
    ),
    "a split with a column of no name": (
        '{"dataframe_split": {"columns": [null], "data": [["a"]]}}',
        "dataframe_split.columns: there is no column 'null'",
    ),
    "a split with a long row": (
        '{"dataframe_split": {"columns": ["text"], "data": [["a"], ["b", "my secret"]]}}',
        "row 1: holds 2 cells, where 1 cell belongs",
    ),
    "a split with a short row": (
        '{"dataframe_split": {"columns": ["text"], "data": [["a"], []]}}',
        "row 1: holds 0 cells, where 1 cell belongs",
    ),
    "a split with a bare row": (
        '{"dataframe_split": {"columns": ["text"], "data": [["a"], "my secret"]}}',
        "row 1: holds text, where 1 cell belongs",
    ),
}


def heavy(size):
    """Return bodies of so many bytes that would cost most, by what they are made of."""
    pieces = {
        "lists": ('{"inputs":[', "[],", "[]]}"),
        "objects": ('{"inputs":[', "{},", "{}]}"),
        "numbers": ('{"inputs":[', "1,", "1]}"),
        "texts": ('{"inputs":[', '"",', '""]}'),
        "commas": ('{"inputs":[', ",", ""),
        "keys": ("{", '"a":1,', '"a":1}'),
        "open lists": ('{"inputs":', "[", ""),
        "open objects": ("", '{"a":', ""),
        "digits": ('{"inputs":[', "9", "]}"),
        "one text": ('{"inputs":["', "x", '"]}'),
        "escapes": ('{"inputs":["', "\\u0041", '"]}'),
        "backslashes": ('{"inputs":["', "\\\\", '"]}'),
        "an open text": ('{"inputs":["', "x", ""),
        "an open escape": ('{"inputs":["', "\\", ""),
        "quotes": ('{"inputs":["', '"', ""),
        "one key": ('{"', "x", '":1}'),
        "blanks": ("", " ", ""),
        "line ends": ("", "\n", ""),
    }
    tables = {
        "cells": ("text\n", "ab,", ""),
        "empty lines": ("text\n", "\n", ""),
        "empty texts": ("text\n", '""\n', ""),
        "rows": ("text\n", "a\n", ""),
        "quotes": ("text\n", '"', ""),
        "one text": ("text\n", "x", ""),
        "an open text": ('text\n"', "x", ""),
        "doubled quotes": ('text\n"', '""', '"'),
        "columns": ("", "text,", ""),
    }
    made = {f"JSON of {name}": (JSON, _filled(*parts, size)) for name, parts in pieces.items()}
    return made | {f"a table of {name}": (CSV, _filled(*parts, size)) for name, parts in tables.items()}


def _filled(start, piece, end, size):
    return (start + piece * ((size - len(start) - len(end)) // len(piece)) + end).encode()
