"""Spell a list of texts in each way that the scoring protocol knows."""

import io
import json

import pandas as pd

JSON, CSV = "application/json", "text/csv"


def records(texts):
    return [{"text": text} for text in texts]


def split(texts):
    return {"columns": ["text"], "data": [[text] for text in texts]}


def table(texts):
    return pd.DataFrame({"text": pd.Series(texts, dtype=object)})


SPELLINGS = {
    "inputs, records": lambda texts: {"inputs": records(texts)},
    "inputs, columns": lambda texts: {"inputs": {"text": texts}},
    "inputs, bare": lambda texts: {"inputs": texts},
    "instances, records": lambda texts: {"instances": records(texts)},
    "instances, columns": lambda texts: {"instances": {"text": texts}},
    "instances, bare": lambda texts: {"instances": texts},
    "dataframe_records": lambda texts: {"dataframe_records": records(texts)},
    "dataframe_split": lambda texts: {"dataframe_split": split(texts)},
    "dataframe_split, index": lambda texts: {"dataframe_split": split(texts) | {"index": list(range(len(texts)))}},
    "dataframe_split, bare": lambda texts: {"dataframe_split": split(texts) | {"data": texts}},
}
TABLES = {
    "csv": lambda texts: table(texts).to_csv(index=False),
    "csv, index": lambda texts: table(texts).to_csv(),
    "csv, Windows": lambda texts: table(texts).to_csv(index=False, lineterminator="\r\n"),
    "csv, all quoted": lambda texts: table(texts).to_csv(index=False, quoting=1),
}
EVERY = (*SPELLINGS, *TABLES)

ODD = {
    "empty": "",
    "blank": " ",
    "one": "a",
    "NUL": "a\x00b\x00",
    "lone surrogate": "win \ud800 now",
    "reversed surrogates": "\udc00\ud800",
    "zero width": "fr\u200bee\ufeff",
    "right to left": "\u202egnp.exe",
    "combining marks": "a\u0301" * 99,
    "full width": "ＦＲＥＥ",
    "emoji": "👩\u200d👩\u200d👧 win",
    "line ends": "a\r\nb\nc\rd\u2028e",
    "JSON": '{"text": "a"}',
    "a table": 'text\n"a",b\n',
    "null": "null",
    "a number": "1",
    "very long": "win " * 100_000,
}
# A table has no escapes, and UTF-8 no bytes for half a surrogate pair.
ODD_CASES = [(name, odd) for name in EVERY for odd in ODD if name in SPELLINGS or "surrogate" not in odd]


def spell(name, texts):
    """Return the content type and the body."""
    if name in TABLES:
        return CSV, TABLES[name](texts).encode()
    return JSON, json.dumps(SPELLINGS[name](texts)).encode()


def as_mlflow_reads(kind, body):
    """Return the texts that reach a model with one string column under MLflow's own scoring server."""
    from mlflow.models import Model, ModelSignature
    from mlflow.models.utils import _enforce_schema
    from mlflow.pyfunc import scoring_server
    from mlflow.types import ColSpec, Schema

    schema = Schema([ColSpec("string", "text")])
    if kind == CSV:
        data = scoring_server.parse_csv_input(io.StringIO(body.decode()), schema)
    else:
        data = scoring_server._parse_json_data(body, Model(signature=ModelSignature(inputs=schema)), schema).data
    return _enforce_schema(data, schema)["text"].tolist()
