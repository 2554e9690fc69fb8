"""Standard input is kept in a private file whose suffix tells the format that it was seen to be in."""

import gzip
import io
import os
import subprocess
import sys

import pytest

from spamctl.cli.score import SUFFIXES, detect, spool
from spamctl.config.score import ScoreOptions
from spamctl.errors import UsageError

BEGINNINGS = {
    b"You won! Call now": "text",
    b"Hello: this is a text\nof two lines": "text",
    b"text": "text",
    b"": "text",
    b"\xff\xfe\x00": "text",
    b"From: a@example.org\nSubject: hi\n\nbody": "mail",
    b"Received: from x\n\tby y\nSubject: hi\n\nbody": "mail",
    b"X-Original-To: me\r\nFrom: a\r\n\r\n": "mail",
    b"From a@example.org Mon Nov 30 09:00:00 2026\nSubject: hi\n\nbody": "mbox",
    b'{"text": "win"}\n': "jsonl",
    b'\xef\xbb\xbf{"text": "win"}\n': "jsonl",
    b'[ {"text": "win"} ]': "jsonl",
    b"[ticket 7] hello": "text",
    b"label,text\nspam,win\n": "csv",
    b'"text";"label"\n"win";1\n': "csv",
    b"text\tlabel\nwin\t1\n": "tsv",
    b"PAR1\x15\x04": "parquet",
}


@pytest.mark.parametrize(("head", "kind"), BEGINNINGS.items(), ids=repr)
def test_a_beginning_tells_the_format(head, kind):
    assert detect(head, "text") == kind


def test_every_format_that_can_be_stated_has_a_suffix():
    (option,) = (option for option in ScoreOptions.declared() if option.name == "stdin_format")
    assert set(option.choices) == {"auto", *SUFFIXES}


@pytest.mark.parametrize(
    ("content", "stated", "suffix"),
    [
        (b"From: a@example.org\n\nbody", "auto", ".eml"),
        (b"From: a@example.org\n\nbody", "text", ".txt"),
        (gzip.compress(b"text,label\nwin,1\n", mtime=0), "auto", ".csv.gz"),
        (b"\x1f\x8bno gzip", "auto", ".txt"),
    ],
)
def test_it_is_kept_byte_for_byte_for_its_owner_alone(monkeypatch, tmp_path, content, stated, suffix):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    path = spool(tmp_path, stated, "text")
    assert path.read_bytes() == content
    assert path.name.endswith(suffix)
    assert path.stat().st_mode & 0o77 == 0
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_command_has_left_is_removed_and_nothing_else(monkeypatch, tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    names = [f"stdin-{ended.pid}-ab.csv", f"stdin-{os.getpid()}-ab.csv", "stdin-x.csv", "other"]
    for name in names:
        (tmp_path / name).touch()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"hey")))
    path = spool(tmp_path, "auto", "text")
    assert {one.name for one in tmp_path.iterdir()} == {path.name, *names[1:]}


def test_nothing_is_refused_and_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(UsageError, match="standard input: is empty"):
        spool(tmp_path, "auto", "text")
    assert list(tmp_path.iterdir()) == []
