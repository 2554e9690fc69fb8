"""The database is locked, full or stopped, and the server says so, goes on, and recovers unaided."""

import subprocess
import sys
import time

import pytest

from spamctl.serving.state import Settings
from spamctl.store import deletion
from spamctl.store.database import open_store
from tests.faults.clients import ROWS, Load, get, once
from tests.faults.processes import AT_LENGTH, PATIENCE_S, a_server, locked, until
from tests.store.test_survival import assert_whole, requests_stored

pytestmark = pytest.mark.timeout(5 * PATIENCE_S)
SHORT_S = 1.0  # how long an answer waits for its row in these tests
DEFAULT_S = Settings.__dataclass_fields__["capture_seconds"].default
WAITS = {"capture_seconds": DEFAULT_S if AT_LENGTH else SHORT_S}
LOCKED_S = 10.0 if AT_LENGTH else 0.0
RECONNECTED_S = 5.0 if AT_LENGTH else 10.0
MIB = 2**20


def test_a_short_lock_is_waited_for(package, address):
    waits = {"datastore_uri": address, "capture_seconds": DEFAULT_S if AT_LENGTH else PATIENCE_S}
    with a_server(package, **waits) as server, Load(server.port, 8) as load:
        until(lambda: load.answers)
        with locked(address):
            time.sleep(1.0)
            during = load.count
        until(lambda: load.count > during + 20)
        load.stop()
        assert load.statuses() == {200}
    assert requests_stored(address) == dict.fromkeys(load.captured(), ROWS)


def test_a_long_lock_is_told_of_and_its_end_is_noticed(package, address):
    with a_server(package, datastore_uri=address, **WAITS) as server, Load(server.port, 8) as load:
        until(lambda: load.of(200))
        with locked(address):
            time.sleep(LOCKED_S)
            until(lambda: len(load.of(503)) > 20 and get(server.port, "/ready").status == 503)
            assert get(server.port, "/ready").json()["reason"] == "the store: it is locked by another program"
            assert get(server.port, "/ping").status == 200
        ended = time.monotonic()
        until(lambda: any(answer.left > ended for answer in load.of(200)))
        load.stop()
        assert get(server.port, "/ready").json()["ready"] is True
    assert load.statuses() == {200, 503}
    for answer in load.of(503):
        assert answer.reply.headers["retry-after"] == "1"
        assert answer.reply.json()["error_code"] == "TEMPORARILY_UNAVAILABLE"
        assert "locked" in answer.reply.json()["message"]
        assert not AT_LENGTH or answer.came - answer.left < DEFAULT_S + 1.0
    assert_kept(load, address)


def test_at_best_effort_a_long_lock_leaves_answers_that_say_they_are_not_stored(package, address):
    with (
        a_server(package, datastore_uri=address, capture="best-effort", **WAITS) as server,
        Load(server.port, 8) as load,
    ):
        until(lambda: load.of(200))
        with locked(address):
            time.sleep(LOCKED_S)
            until(lambda: len(load.answers) - len(load.captured()) > 20)
        ended = time.monotonic()
        until(lambda: any(answer.left > ended and answer.is_captured for answer in list(load.answers)))
        load.stop()
    assert load.statuses() == {200}
    assert_kept(load, address)


def assert_kept(load, address):
    """Hold that what is said to be stored is there, whole, and no other request more than once."""
    stored = requests_stored(address)
    assert load.captured() <= stored.keys()
    assert set(stored.values()) == {ROWS}
    assert_whole(address)


@pytest.mark.small_disk
@pytest.mark.parametrize(("mode", "statuses"), [("required", {200, 503}), ("best-effort", {200})])
def test_a_full_disk_stores_nothing_that_it_does_not_say_and_works_again_with_room(package, small_disk, mode, statuses):
    ballast, file = small_disk / "ballast", str(small_disk / "spam.db")
    ballast.write_bytes(bytes(2 * MIB))
    settings = {"datastore_uri": file, "capture": mode, "capture_seconds": SHORT_S}
    with a_server(package, **settings) as server, Load(server.port, 4, long=50_000) as load:
        until(lambda: load.captured() and len(load.answers) - len(load.captured()) > 20)
        assert server.process.poll() is None
        assert get(server.port, "/ping").status == 200
        ballast.unlink()
        ended = time.monotonic()
        until(lambda: any(answer.left > ended and answer.is_captured for answer in list(load.answers)))
        load.stop()
    assert load.statuses() == statuses
    assert all(answer.is_captured for answer in load.of(200)) == (mode == "required")
    for answer in load.of(503):
        assert answer.reply.headers["retry-after"] == "1"
        assert answer.reply.json()["error_code"] == "TEMPORARILY_UNAVAILABLE"
        assert small_disk.name not in answer.reply.json()["message"]
    assert mode == "best-effort" or any("its disk" in answer.reply.json()["message"] for answer in load.of(503))
    assert_kept(load, file)


@pytest.mark.postgres
def test_postgresql_stopped_and_started_loses_no_captured_answer(package, mortal_postgres):
    address = mortal_postgres.new_database()
    with a_server(package, datastore_uri=address, capture_seconds=SHORT_S) as server, Load(server.port, 8) as load:
        until(lambda: len(load.of(200)) > 30)
        mortal_postgres.stop("immediate")
        until(lambda: len(load.of(503)) > 20 and get(server.port, "/ready").status == 503)
        mortal_postgres.start()
        started = time.monotonic()
        until(lambda: any(answer.left > started for answer in load.of(200)), RECONNECTED_S)
        load.stop()
    assert load.statuses() == {200, 503}
    assert {answer.reply.headers["retry-after"] for answer in load.of(503)} == {"1"}
    assert not [answer for answer in load.of(503) if b"postgres" in answer.reply.body]
    assert_kept(load, address)


READER = """
import sqlite3, sys
reader = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
reader.execute("BEGIN")
print(reader.execute("SELECT COUNT(*) FROM data").fetchone()[0], flush=True)
sys.stdin.read()
"""


def test_what_a_reader_held_up_of_a_removal_is_done_by_the_server_when_it_has_gone(package, tmp_path):
    file = tmp_path / "spam.db"

    def left():
        script = (
            "import sys, pathlib; print(any(b'CANARY' in p.read_bytes() for p in pathlib.Path(sys.argv[1]).iterdir()))"
        )
        return (
            subprocess.run(  # in another process: who closes the file drops the locks of this one
                [sys.executable, "-c", script, str(tmp_path)], check=True, capture_output=True, text=True
            ).stdout
            == "True\n"
        )

    with a_server(package, datastore_uri=str(file)) as server:
        (prediction,) = once(server.port, "my secret is CANARY-CANARY").reply.json()["predictions"]
        with open_store(str(file)):
            assert left()  # and it is in the database proper by now
        reading = [sys.executable, "-c", READER, str(file)]
        with subprocess.Popen(reading, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
            assert reader.stdout.readline() == b"1\n"
            with open_store(str(file)) as store:
                removal = deletion.forget(store, prediction["uuid"])
                assert len(list(deletion.purge(store, [removal.text], patience_s=0.3))) == 1
            assert left()
            assert b"CANARY" not in get(server.port, "/recent").body
            reader.stdin.close()
        until(lambda: not left())
        assert once(server.port, "another", request_id="another").is_captured
