"""The commands that README prints for the ways in work as they are printed."""

import json
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.served import served

README = Path(__file__).parents[2] / "README.md"
ADDRESS = "http://127.0.0.1:8080"
SECTION = README.read_text(encoding="utf-8").partition("## Ways in\n")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", SECTION, re.DOTALL | re.MULTILINE)
LINES = [line for block in BLOCKS for line in block.splitlines() if line.startswith("curl ")]
MAIL = b"From: Ann <ann@home.example>\nSubject: Sunday\n\nShall we walk? http://walks.example/map\n"


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Return what each command prints, typed one after the other."""
    if shutil.which("curl") is None:
        pytest.skip("no curl on PATH: apt-get install -y curl")
    folder = tmp_path_factory.mktemp("ways")
    (folder / "message.eml").write_bytes(MAIL)
    with served(folder) as server:
        told = {}
        for line in LINES:
            command = re.sub(r" +# .*$", "", line).replace(ADDRESS, server.address).replace("curl ", "curl -sS -f ", 1)
            done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=False)
            assert done.returncode == 0, (line, done.stderr)
            told[line] = done.stdout
        with closing(sqlite3.connect(server.database)) as database:
            rows = database.execute("SELECT text, source, ground_truth FROM data ORDER BY date").fetchall()
        yield told, rows


def of(answers, *words):
    """Return what the one command printed that holds these words."""
    ((_, told),) = ((line, told) for line, told in answers[0].items() if all(word in line for word in words))
    return told


def test_there_are_three_for_each_way():
    assert sum("/v1/" in line for line in LINES) == sum("/1.1/" in line for line in LINES) == 3
    assert sum("/mail" in line or re.search(r"8080/ ", line) is not None for line in LINES) == 3


def test_the_wire_of_openai(answers):
    names = [model["id"] for model in json.loads(of(answers, "/v1/models"))["data"]]
    assert names == ["spamctl", "spamctl-json", "spamctl-score100"]
    lines = json.loads(of(answers, '"spamctl"'))["choices"][0]["message"]["content"].split("\n")
    assert 0 < float(lines[0]) < 1
    assert len(lines) == 3
    assert 0 <= int(json.loads(of(answers, '"spamctl-score100"'))["choices"][0]["message"]["content"]) <= 100
    assert ("Subject: You have won\n\nClaim it today", "openai", None) in answers[1]


def test_the_wire_of_akismet(answers):
    assert of(answers, "verify-key") == "valid"
    assert of(answers, "comment-check") in {"true", "false"}
    assert of(answers, "submit-spam") == "Thanks for making the web a better place."
    assert ("Cheap Watches\nNice post", "akismet", "spam") in answers[1]


def test_the_page_and_what_it_does(answers):
    assert "<title>spamctl</title>" in of(answers, "# the page")
    told = json.loads(of(answers, "explain=true"))
    assert told["mail"]["hosts"] == ["walks.example"]
    assert told["prediction"]["explanation"]
    assert told["prediction"]["captured"] is False
    assert json.loads(of(answers, "8080/mail -H"))["prediction"]["captured"] is True
    assert sum(source == "mail" for _, source, _ in answers[1]) == 1
