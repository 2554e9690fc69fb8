"""A tracking store is reached within seconds, or refused in one line; a SQLite store is made only once."""

import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from filelock import FileLock
from sqlalchemy import make_url

from spamctl import sqlite_url
from spamctl.errors import SpamctlError, UnavailableError, UsageError
from spamctl.registry import tracking
from tests.each import each
from tests.made_once import lay_store
from tests.mlflow_loaded import load_mlflow
from tests.ports import closed_port, silent_port

SECONDS = 15


@pytest.fixture
def answering():
    """Start HTTP servers that answer every path with one status; return how to make one."""
    servers = []

    def start(status):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.send_header("location", "/elsewhere")
                self.end_headers()

            def log_message(self, *words):
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def refusal(uri, kind=UnavailableError):
    """Return the one line with which a store is refused, within the seconds that a user is asked to wait."""
    began = time.monotonic()
    with pytest.raises(kind) as refused:
        tracking.require_reachable(uri)
    assert time.monotonic() - began < SECONDS
    assert "\n" not in str(refused.value)
    assert "MLFLOW_TRACKING_URI" in str(refused.value)
    return str(refused.value)


def test_the_variable_decides_where_a_run_is_tracked(monkeypatch):
    assert tracking.tracking_uri() == "sqlite:///mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5001")
    assert tracking.tracking_uri() == "http://127.0.0.1:5001"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert tracking.tracking_uri() == "sqlite:///mlflow.db"


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_healthy_server_is_reachable(answering, slash):
    tracking.require_reachable(answering(200) + slash)


@pytest.mark.parametrize("status", [302, 401, 403, 404, 500, 503])
def test_another_answer_is_refused_with_its_number(answering, status):
    assert f"/health answers {status}" in refusal(answering(status))


def test_a_closed_port_is_refused_with_what_to_do():
    assert "spamctl ui" in refusal(f"http://127.0.0.1:{closed_port()}")


@pytest.mark.slow
def test_a_server_that_takes_the_call_and_never_speaks_is_refused():
    with silent_port() as port:
        assert "does not answer" in refusal(f"http://127.0.0.1:{port}")


@each("uri", ["http://", "http://[", "http://host:port", "http://127.0.0.1:99999"])
def test_an_address_that_leads_nowhere_is_refused(uri):
    refusal(uri, SpamctlError)


@each("uri", ["mlruns", "./mlruns", "file:///tmp/mlruns", "file:mlruns"])
def test_a_folder_is_refused_with_what_to_do(uri):
    assert "sqlite:///mlflow.db" in refusal(uri, UsageError)


@pytest.mark.parametrize("uri", ["ftp://host/mlruns", "sqlight:///mlflow.db", "C:mlflow.db"])
def test_a_scheme_that_mlflow_does_not_know_is_refused(uri):
    refusal(uri, UsageError)


def test_a_store_in_a_folder_that_is_there_is_reachable(tmp_path):
    tracking.require_reachable("sqlite:///mlflow.db")
    tracking.require_reachable(f"sqlite:///{tmp_path}/mlflow.db")
    assert list(tmp_path.iterdir()) == []


def test_a_store_in_a_folder_that_is_not_there_is_refused(tmp_path):
    assert "cannot be written" in refusal(f"sqlite:///{tmp_path}/none/mlflow.db", UsageError)


def test_a_file_that_is_no_store_is_refused_and_stays_as_it_is(tmp_path):
    (tmp_path / "mlflow.db").write_text("no database" * 100)
    assert "file is not a database; name another file" in refusal("sqlite:///mlflow.db", UsageError)
    assert (tmp_path / "mlflow.db").read_text() == "no database" * 100


def test_what_the_driver_would_not_be_told_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"stands behind the question mark would be done: leave it out"):
        tracking.require_reachable(f"sqlite:///{tmp_path}/mlflow.db?timeout=20")
    assert not list(tmp_path.iterdir())


def test_a_folder_in_place_of_a_store_is_refused(tmp_path):
    (tmp_path / "mlflow.db").mkdir()
    refusal("sqlite:///mlflow.db", UsageError)


def test_a_store_that_is_there_is_reachable(tmp_path):
    with closing(sqlite3.connect("mlflow.db")) as database:
        database.execute("CREATE TABLE experiments (name TEXT)")
    tracking.require_reachable("sqlite:///mlflow.db")


@each(
    ("uri", "shown"),
    [
        ("http://ada:s3cret@host:5001/x", "http://ada:***@host:5001/x"),
        ("http://:s3cret@host", "http://:***@host"),
        ("http://s3cret@host", "http://***@host"),
        ("http://ada:s3@cret@host", "http://ada:***@host"),
        ("http://host:5001", "http://host:5001"),
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
        ("postgresql+psycopg://ada:s3cret@host/db?x=y", "postgresql+psycopg://ada:***@host/db?x=y"),
    ],
)
def test_no_password_is_shown(uri, shown):
    assert tracking.shown(uri) == shown


@pytest.mark.parametrize("journal", ["delete", "truncate", "persist", "wal"])
def test_every_change_of_a_file_is_seen_and_no_question(tmp_path, journal):
    file = tmp_path / "m.db"
    uri, seen = f"sqlite:///{file}", set()
    assert tracking.state_of(uri) == ""
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute(f"PRAGMA journal_mode = {journal}")
        database.execute("CREATE TABLE aliases (name TEXT, version INTEGER)")
        database.execute("INSERT INTO aliases VALUES ('champion', 0)")
        for version in range(1, 21):
            seen.add(tracking.state_of(uri))
            time.sleep(0.01)  # a clock of files ticks every few milliseconds
            database.execute("UPDATE aliases SET version = ?", [version])
        before = tracking.state_of(uri)
        database.execute("SELECT * FROM aliases").fetchall()
        assert tracking.state_of(uri) == before
    assert len(seen | {before}) == 21


def test_a_server_has_no_state_to_see():
    assert tracking.state_of("http://127.0.0.1:9") == ""


def test_no_password_is_in_a_refusal():
    assert "s3cret" not in refusal(f"http://ada:s3cret@127.0.0.1:{closed_port()}")
    assert "s3cret" not in refusal("ftp://ada:s3cret@127.0.0.1", UsageError)


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("what is spam?", "sqlite:///mlflow.db"),
        ("50% off #1", "sqlite:///mlflow.db"),
        ("a?b=c 100%25", "sqlite:///{folder}/mlflow.db"),
    ],
)
def test_a_store_lies_in_its_folder_whatever_that_is_called(tmp_path, monkeypatch, name, typed):
    load_mlflow()
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    uri = typed.format(folder=str(folder).replace("%", "%25"))  # which is an escape in any URL
    tracking.require_reachable(uri)
    with tracking.open_tracking(uri) as client:
        tracking.experiment_id(client, "spam", uri)
    assert list(tmp_path.iterdir()) == [folder]
    assert {path.name for path in folder.iterdir()} == {"mlflow.db", "mlflow.db.lock"}
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        (place,) = database.execute("SELECT artifact_location FROM experiments WHERE name = 'spam'").fetchone()
    assert place == (folder / "mlruns" / "spam").as_uri()
    assert tracking.state_of(uri)


@each(
    ("url", "file"),
    [
        ("sqlite:///mlflow.db", "mlflow.db"),
        ("sqlite:////a/what?/mlflow.db", "/a/what?/mlflow.db"),
        ("sqlite:////a/what%3F/mlflow.db", "/a/what?/mlflow.db"),
        ("sqlite:////a/b#1/mlflow.db", "/a/b#1/mlflow.db"),
        ("sqlite:///mlflow.db?timeout=20", "mlflow.db"),
        ("sqlite:////a/b?c=d/mlflow.db", "/a/b?c=d/mlflow.db"),
        ("sqlite:///what?.db", "what?.db"),
        ("sqlite+pysqlite:///mlflow.db", "mlflow.db"),
        ("sqlite://", ""),
        ("sqlite:///:memory:", ""),
        ("sqlite:///file:mlflow.db?uri=true", ""),
        ("sqlite+pysqlcipher:///mlflow.db", ""),
        ("http://127.0.0.1:5001", ""),
        ("postgresql://host/spam", ""),
    ],
)
def test_the_file_of_a_url(url, file):
    assert sqlite_url.file_of(url) == (Path(file) if file else None)
    if file:
        assert make_url(sqlite_url.url_of(Path(file))).database == file


def test_a_pipe_in_place_of_a_store_is_refused_at_once(tmp_path):
    os.mkfifo("mlflow.db")
    assert "is no file" in refusal("sqlite:///mlflow.db", UsageError)


CREATE = """
import sys
from spamctl.registry import tracking
with tracking.open_tracking("sqlite:///mlflow.db") as client:
    print(tracking.experiment_id(client, "spam", "sqlite:///mlflow.db"))
"""


@pytest.mark.slow
def test_processes_that_use_a_fresh_store_at_once_all_succeed(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CREATE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
        )
        for _ in range(3)
    ]
    answers = [(*process.communicate(timeout=120), process.returncode) for process in processes]
    assert [code for _, _, code in answers] == [0, 0, 0], answers
    assert len({out for out, _, _ in answers}) == 1  # one experiment, not three


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Return a folder that holds a fresh store."""
    load_mlflow()
    return tmp_path_factory.mktemp("store")


@pytest.mark.slow
def test_an_experiment_keeps_its_artefacts_beside_the_store(store, monkeypatch):
    monkeypatch.chdir(store)
    with tracking.open_tracking("sqlite:///mlflow.db") as client:
        found = client.get_experiment(tracking.experiment_id(client, "spam", "sqlite:///mlflow.db"))
        again = tracking.experiment_id(client, "spam", "sqlite:///mlflow.db")
    assert found.experiment_id == again
    assert Path(found.artifact_location.removeprefix("file://")) == store / "mlruns" / "spam"


@pytest.mark.slow
def test_a_deleted_experiment_is_refused_with_what_to_do(store, monkeypatch):
    monkeypatch.chdir(store)
    with tracking.open_tracking("sqlite:///mlflow.db") as client:
        client.delete_experiment(tracking.experiment_id(client, "gone", "sqlite:///mlflow.db"))
        with pytest.raises(UsageError, match="--experiment gone: it was deleted"):
            tracking.experiment_id(client, "gone", "sqlite:///mlflow.db")


@pytest.mark.slow
def test_what_mlflow_refuses_is_one_line(store, monkeypatch):
    monkeypatch.chdir(store)
    opened = tracking.open_tracking("sqlite:///mlflow.db")
    with pytest.raises(UnavailableError, match="refused") as refused, opened as client:
        client.get_run("0" * 32)
    assert "\n" not in str(refused.value)


HELD = ["BEGIN EXCLUSIVE", "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; CREATE TABLE t (n)"]


@pytest.mark.parametrize("begin", HELD)
def test_a_registry_that_another_program_holds_is_waited_for_and_is_no_wrong_input(tmp_path, monkeypatch, begin):
    monkeypatch.setattr(tracking, "PATIENCE", 0.3)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as other:
        other.executescript("CREATE TABLE a (n); " + begin)
        words = refusal(uri)
        assert "database is locked" in words
        assert words.endswith("wait for that program, or stop it, and try again")
        assert "another file" not in words
        other.execute("ROLLBACK")
    tracking.require_reachable(uri)


@pytest.mark.slow
def test_a_registry_that_another_process_makes_for_ever_is_given_up(tmp_path, monkeypatch):
    load_mlflow()
    monkeypatch.setattr(tracking, "LOCK_S", 0.3)
    opening = tracking.open_tracking(f"sqlite:///{tmp_path}/mlflow.db")
    with FileLock(f"{tmp_path}/mlflow.db.lock"), pytest.raises(UnavailableError, match="wait for that program"):
        opening.__enter__()
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.slow
def test_a_registry_that_is_locked_between_two_questions_says_so_in_one_line(tmp_path):
    load_mlflow()
    lay_store(tmp_path)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as other:

        def ask_in_vain():
            with tracking.open_tracking(uri) as client:
                other.execute("BEGIN EXCLUSIVE")
                client.create_experiment("late")

        with pytest.raises(UnavailableError) as refused:
            ask_in_vain()
        other.execute("ROLLBACK")
    assert "\n" not in str(refused.value)
    assert str(refused.value).endswith("wait for that program, or stop it, and try again")
