"""The errands do what they say beside a real registry and a real store, or refuse in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import insert

from spamctl.registry import registry_file, tracking
from spamctl.registry.versions import fetch
from spamctl.store import deletion, labels, queries, tables
from spamctl.store.database import open_store
from spamctl.store.tables import values
from tests import registered
from tests.mlflow_loaded import load_mlflow
from tests.store.made_rows import row

pytestmark = pytest.mark.slow
ASKED = row("Call 0900 111 \x1b[31mnow", 0)
OTHER = row("see you at eight", 1, model_version="7")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder with two versions that were champion one after the other, and a store with two rows."""
    load_mlflow()
    folder = tmp_path_factory.mktemp("errands")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for threshold in (0.4, 0.6):
            version = registered.register(threshold)
            with tracking.open_tracking(registered.URI) as client:
                registry_file.crown(client, "spam", version)
        with open_store("spam.db", create=True) as store:
            with store.writing() as connection:
                connection.execute(insert(tables.data), [values(ASKED), values(OTHER)])
            labels.feedback(store, ASKED.uuid, "spam")
    return folder


@pytest.fixture
def run(place):
    """Type a command in that folder; return its exit code, output and errors."""

    def run(*words, folder=place, **variables):
        answer = subprocess.run(
            [sys.executable, "-m", "spamctl", *words],
            cwd=folder, env=os.environ | variables, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return answer.returncode, answer.stdout, answer.stderr

    return run


def served(place):
    """Return the version that a server which follows the champion fetches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        return fetch("spam", "champion", Path("models")).version


def test_rollback_moves_what_a_server_follows_and_ends_where_it_began(place, run):
    assert served(place) == "2"
    code, out, err = run("rollback")
    assert (code, err) == (0, "")
    assert out.startswith("spam: version 1 is champion, version 2 before;")
    assert served(place) == "1"
    code, out, err = run("rollback")
    assert (code, out) == (2, "")
    assert err == "spamctl: there is no champion of spam before version 1; name a version with --to VERSION\n"
    assert run("rollback", "--to", "2")[0] == 0
    assert served(place) == "2"
    code, _, err = run("rollback", "--to", "9")
    assert (code, err) == (2, "spamctl: --to 9: spam has no such version; there are 1, 2\n")


def test_trace_leads_to_the_training_and_keeps_the_text_to_itself(run):
    code, out, err = run("trace", ASKED.uuid, COLUMNS="120")
    assert (code, err) == (0, "")
    for word in (ASKED.uuid, "spam 1", "probability 0.7500", "spam (from user)", "MLflow run", "git commit"):
        assert word in out
    assert "0900" not in out
    out = run("trace", ASKED.uuid.upper(), "--text")[1]
    assert "Call 0900 111" in out
    assert "\x1b" not in out


@pytest.mark.parametrize("verb", ["trace", "forget"])
@pytest.mark.parametrize("uuid", ["\x1b[31mred", "5d5b1c39-6f3b-5a0e-9d1c-3f1f0a2b7c44"])
def test_an_unknown_uuid_is_one_line_and_exit_code_2(run, verb, uuid):
    code, out, err = run(verb, uuid)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.endswith("no row of spam.db has this uuid; copy it from an answer")
    assert "\x1b" not in err


def test_a_version_that_is_not_here_is_said(run):
    code, out, err = run("trace", OTHER.uuid)
    assert (code, out) == (2, "")
    assert err.startswith("spamctl: version 7 of spam is not registered here: go to the folder")


def test_a_folder_without_store_or_registry_stays_as_it_is(run, tmp_path):
    for words, told in (
        (("forget", ASKED.uuid), "spam.db: there is no store yet"),
        (("rollback",), "sqlite:///mlflow.db: no model is registered here"),
    ):
        code, _, err = run(*words, folder=tmp_path)
        assert (code, err.count("\n")) == (2, 1)
        assert told in err
    assert {path.name for path in tmp_path.iterdir()} <= {".metaflow", ".spamctl"}


def test_forget_takes_a_row_away_and_says_so_again(place, run):
    with open_store(str(place / "forgettable.db"), create=True) as store:
        with store.writing() as connection:
            connection.execute(insert(tables.data), [values(ASKED)])
        words = ("forget", ASKED.uuid, "--datastore-uri", "forgettable.db")
        code, out, err = run(*words)
        assert (code, err) == (0, "")
        assert out.startswith("forgotten: the row, in forgettable.db; later trainings exclude it")
        assert queries.count(store) == 0
        assert deletion.tombstones(store).hold(ASKED.text)
    code, out, _ = run(*words)
    assert (code, out.startswith("already forgotten on 20")) == (0, True)


def test_a_password_is_in_no_list_of_processes_and_no_error(run):
    uri = "postgresql://ada:hunter2@127.0.0.1:1/spam"
    code, out, err = run("forget", ASKED.uuid, SPAMCTL_FORGET_DATASTORE_URI=uri)
    assert code == 2
    assert "hunter2" not in out + err
