"""Scored messages are written whole or not at all, and say the same in every format."""

import csv
import json

import pytest
from pyarrow import parquet

from spamctl.data import score_output
from spamctl.errors import DataError

ROWS = [
    {
        "source": "=cmd.csv",
        "place": 1,
        "classification": "spam",
        "probability": 0.1 + 0.2,
        "threshold": 0.5,
        "model_name": "spam",
        "model_version": "3",
        "in_reach": True,
        "truncated": False,
        "label": "not spam",
        "uuid": None,
        "fault": None,
        "text": '=1+1 "quoted"\nline \ud800',
    },
    {"source": "a.csv", "place": 2, "fault": "no text", "text": ""},
]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.ndjson", "a.parquet"])
@pytest.mark.parametrize("with_text", [False, True])
def test_every_format_says_the_same(tmp_path, name, with_text):
    path = tmp_path / name
    score_output.write(path, iter(ROWS), with_text=with_text, overwrite=False)
    columns = [*score_output.COLUMNS, *(["text"] if with_text else [])]
    first, second = read(path)
    assert list(first) == list(second) == columns
    assert float(first["probability"]) == 0.1 + 0.2
    assert (str(first["in_reach"]).lower(), str(first["truncated"]).lower()) == ("true", "false")
    assert first["source"] == ("'=cmd.csv" if path.suffix in {".csv", ".tsv"} else "=cmd.csv")
    assert second["classification"] in (None, "")
    assert second["fault"] == "no text"
    if with_text:
        half = chr(0xD800) if "json" in name else chr(0xFFFD)
        assert first["text"].endswith(f'=1+1 "quoted"\nline {half}')
        assert first["text"].startswith("'") == (path.suffix in {".csv", ".tsv"})
    assert list(tmp_path.iterdir()) == [path]


def read(path):
    if path.suffix == ".parquet":
        return parquet.read_table(path).to_pylist()
    if path.suffix in {".csv", ".tsv"}:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file, delimiter="," if path.suffix == ".csv" else "\t"))
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_file_that_fails_leaves_nothing(tmp_path):
    def rows():
        yield ROWS[0]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        score_output.write(tmp_path / "a.csv", rows(), with_text=False, overwrite=False)
    assert list(tmp_path.iterdir()) == []


def test_the_same_file_may_stand_there_already_and_no_other(tmp_path):
    path = tmp_path / "a.csv"
    for _ in range(2):
        score_output.write(path, ROWS, with_text=False, overwrite=False)
    path.write_text("somebody else's")
    with pytest.raises(DataError, match="another program has made it"):
        score_output.write(path, ROWS, with_text=False, overwrite=False)
    assert path.read_text() == "somebody else's"
    score_output.write(path, ROWS, with_text=False, overwrite=True)
    assert len(read(path)) == 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.xlsx", "not a file of a known kind"),
        ("gone/a.csv", "its folder does not exist"),
        ("folder.csv", "is a folder"),
        ("there.csv", "is there already: name another file, or replace it with --overwrite"),
    ],
)
def test_a_target_that_cannot_be_made_is_refused_at_once(tmp_path, name, words):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "there.csv").touch()
    with pytest.raises(DataError, match=words):
        score_output.check_target(tmp_path / name, overwrite=False)
    score_output.check_target(tmp_path / "there.csv", overwrite=True)
