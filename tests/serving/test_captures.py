"""A process opens a store once, a child opens its own, and a store that cannot be opened is not asked all the time."""

import atexit
import os
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from spamctl.errors import OptionsError, UnavailableError
from spamctl.serving import mlflow_model
from spamctl.serving.mlflow_model import Captures, CaptureTarget
from spamctl.store import queries
from spamctl.store.capture import Capture
from spamctl.store.database import open_store
from spamctl.store.tables import CapturedRow

CHILD = """
import os, sys
from tests.serving.test_captures import TARGET, row
from spamctl.serving.mlflow_model import captures_of_process
assert captures_of_process.keep(TARGET, [row()])
child = os.fork()
if not child:
    assert captures_of_process.keep(TARGET, [row()])
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
assert captures_of_process.keep(TARGET, [row()])
"""
TARGET = CaptureTarget("spam.db", "required")
BEST_EFFORT = CaptureTarget("spam.db", "best-effort")


def row():
    return CapturedRow(
        uuid=str(uuid.uuid4()),
        date=datetime.now(UTC),
        text="hello",
        classification="not spam",
        probability=0.25,
        model_name="spam",
        model_version="1",
        threshold=0.5,
        request_id="r",
        latency_ms=1.0,
        source="mlflow",
    )


@pytest.fixture
def ours():
    """Return the captures of a process of its own."""
    ours = Captures()
    yield ours
    ours.close()
    atexit.unregister(ours.close)


def count():
    with open_store("spam.db") as store:
        return queries.count(store)


def writers():
    return sum(thread.name == "capture-writer" for thread in threading.enumerate())


def test_without_settings_the_target_is_the_working_folders_store_and_it_is_required(tmp_path):
    assert CaptureTarget.of_environment() == CaptureTarget(str(tmp_path / "spam.db"), "required")


def test_a_server_stays_as_it_was_written(monkeypatch):
    monkeypatch.setenv("SPAMCTL_SERVE_DATASTORE_URI", "postgresql://me:secret@host/spam")
    target = CaptureTarget.of_environment()
    assert target.address == "postgresql://me:secret@host/spam"
    assert "secret" not in repr(target)


@pytest.mark.parametrize(("value", "mode"), [("required", "required"), ("best-effort", "best-effort"), ("off", None)])
def test_the_mode_is_read(monkeypatch, value, mode):
    monkeypatch.setenv("SPAMCTL_SERVE_CAPTURE", value)
    assert CaptureTarget.of_environment().mode == mode


def test_all_wrong_settings_are_named_at_once(monkeypatch):
    monkeypatch.setenv("SPAMCTL_SERVE_CAPTURE", "yes")
    monkeypatch.setenv("SPAMCTL_SERVE_DATASTORE_URI", "mysql://host/spam")
    with pytest.raises(OptionsError) as refused:
        CaptureTarget.of_environment()
    assert [fault.partition(":")[0] for fault in refused.value.faults] == [
        "SPAMCTL_SERVE_CAPTURE",
        "SPAMCTL_SERVE_DATASTORE_URI",
    ]


def test_many_threads_open_one_store(ours):
    before = writers()
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: ours.keep(TARGET, [row()]), range(40)))
    assert writers() == before + 1
    assert count() == 40


def test_what_is_not_kept_opens_nothing(ours, tmp_path):
    assert ours.keep(CaptureTarget("spam.db", None), [row()]) is False
    assert ours.keep(TARGET, []) is False
    assert list(tmp_path.iterdir()) == []


def test_after_its_end_the_next_answer_opens_the_store_again(ours):
    ours.keep(TARGET, [row()])
    ours.close()
    assert ours.keep(TARGET, [row()])
    assert count() == 2


@pytest.mark.parametrize("target", [TARGET, BEST_EFFORT], ids=lambda target: target.mode)
def test_a_store_that_could_not_be_opened_is_left_alone_for_a_while(ours, target, monkeypatch, tmp_path):
    (tmp_path / "spam.db").write_text("no database\n" * 400)

    def kept():
        try:
            return ours.keep(target, [row()])
        except UnavailableError as error:
            return str(error)

    first = kept()
    assert (
        first is False if target.mode == "best-effort" else first.startswith("the answer could not be stored: spam.db")
    )
    (tmp_path / "spam.db").unlink()
    assert kept() == first
    monkeypatch.setattr(mlflow_model, "AGAIN_S", 0.0)
    assert kept() is True


def test_nobody_waits_in_turn_for_a_store_that_is_locked(ours):
    Capture("spam.db").close()
    with closing(sqlite3.connect("spam.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda _: ours.keep(BEST_EFFORT, [row()]), range(6)))
        assert answers == [False] * 6
        assert time.monotonic() - began < 14
        other.execute("ROLLBACK")


def test_a_refusal_is_logged_once(ours, caplog, tmp_path):
    (tmp_path / "spam.db").mkdir()
    for _ in range(3):
        assert ours.keep(BEST_EFFORT, [row()]) is False
    (record,) = caplog.records
    assert "spam.db" in record.getMessage()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system makes no child by fork")
def test_a_forked_child_opens_the_store_for_itself_and_leaves_its_parents_alone(tmp_path):
    path = {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", CHILD],  # newer Pythons warn of forks with threads
        env=os.environ | path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "spam.db-wal").exists()  # SQLite removes it when the last process closes the store
    assert count() == 3
