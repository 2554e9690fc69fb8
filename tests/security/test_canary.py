"""What looks for secrets finds one wherever a run might have left it, and nothing where there is none."""

import base64
import gzip
import json
import pickle
import sqlite3
import zipfile
from contextlib import closing

from tests.canary import leaks
from tests.each import each

SECRET = "canary-7f3-of-mine"


def sqlite(path, text):
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE runs (id INTEGER, params TEXT)")
        database.execute("INSERT INTO runs VALUES (1, ?)", [text])


def packed(path, text):
    with gzip.open(path, "wb") as file:
        pickle.dump({"address": text}, file)


def zipped(path, text):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("params.json", json.dumps({"address": text}))


PLACES = {
    "a log": lambda path, text: path.write_text(f"connecting to {text}\n"),
    "a pickle": lambda path, text: path.write_bytes(pickle.dumps({"address": text})),
    "a pickle that is packed, as Metaflow keeps it": packed,
    "a zip file": zipped,
    "a database": sqlite,
    "UTF-16": lambda path, text: path.write_text(text, encoding="utf-16"),
    "base64": lambda path, text: path.write_bytes(base64.b64encode(text.encode())),
    "base64, one on": lambda path, text: path.write_bytes(base64.b64encode(f"x{text}".encode())),
    "base64, two on": lambda path, text: path.write_bytes(base64.b64encode(f"xx{text}".encode())),
}


@each("place", PLACES)
def test_a_secret_is_found_wherever_it_lies(tmp_path, place):
    for name, text in {"one": f"postgresql://me:{SECRET}@host/db", "other": "postgresql://me@host/db"}.items():
        (tmp_path / place / "deep" / name).mkdir(parents=True)
        PLACES[place](tmp_path / place / "deep" / name / "file", text)
    assert leaks(tmp_path / place, SECRET) == ["deep/one/file"]
    assert leaks(tmp_path / place, "another", SECRET) == ["deep/one/file"]
    assert leaks(tmp_path / place, "another") == []


def test_a_secret_is_found_in_a_name(tmp_path):
    (tmp_path / f"run-{SECRET}").mkdir()
    assert leaks(tmp_path, SECRET) == [f"run-{SECRET}"]
