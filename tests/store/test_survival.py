"""Kill, fill, stop and freeze what holds the store, and count what was acknowledged."""

import contextlib
import itertools
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select, text

from spamctl.errors import UnavailableError
from spamctl.store import queries, tables
from spamctl.store.capture import Capture
from spamctl.store.database import open_store
from tests.store import writer
from tests.store.made_rows import eventually, row

pytestmark = pytest.mark.slow

CYCLES = int(os.environ.get("RELIABILITY_CYCLES", "5"))
ROOT = Path(__file__).parents[2]
MODES = ("required", "best-effort")


def requests_stored(address):
    """Count the stored rows of each request, as another program sees them."""
    with open_store(address) as store, store.reading() as connection:
        return Counter(connection.scalars(select(tables.data.c.request_id)))


def assert_whole(address):
    """Hold that the database itself finds no fault."""
    if "://" in address:
        with open_store(address) as store, store.reading() as connection:
            connection.execute(text("CREATE EXTENSION IF NOT EXISTS amcheck"))
            connection.execute(
                text("SELECT bt_index_check(oid) FROM pg_class WHERE relname LIKE 'data_%' AND relkind = 'i'")
            )
    else:
        with contextlib.closing(sqlite3.connect(address)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def killed_writer(address, name, left, for_s):
    """Run a writer, kill it while it writes, and return what it told: (submitted, stored)."""
    command = [sys.executable, "-m", writer.__name__, address, name, *left]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    lines = []
    for line in child.stdout:
        lines.append(line)
        if sum(told.startswith("stored") for told in lines) > len(left) + 10:
            break
    time.sleep(for_s)
    child.send_signal(signal.SIGKILL)
    lines += child.stdout
    child.stdout.close()
    assert child.wait() == -signal.SIGKILL
    told = [line.split() for line in lines]
    return ({request for word, request in told if word == kind} for kind in ("submitted", "stored"))


@pytest.mark.long
@pytest.mark.timeout(60 + 20 * CYCLES)
def test_kill_9_loses_nothing_acknowledged_and_a_retry_writes_nothing_twice(address):
    chance = random.Random(0)
    acknowledged, left = set(), set()
    for cycle in range(CYCLES):
        submitted, stored = killed_writer(address, f"cycle{cycle}", left, chance.uniform(0, 0.3))
        acknowledged |= stored
        left = (left | submitted) - acknowledged
        assert_whole(address)
        assert acknowledged <= requests_stored(address).keys()
    assert len(acknowledged) > 10 * CYCLES
    with contextlib.closing(Capture(address)) as capture:
        for request in left:
            assert capture.submit(writer.rows(writer.ROWS, request_id=request)).result()
    assert requests_stored(address) == dict.fromkeys(acknowledged | left, writer.ROWS)


def outcomes(capture, size, numbers, mode):
    """Submit rows of a size one after the other, and return the requests that were acknowledged."""
    made = {str(number): capture.submit([row("x" * size, request_id=str(number))]) for number in numbers}
    return {request for request, future in made.items() if is_stored(future, mode)}


def is_stored(future, mode):
    """Return whether a row is said to be stored; that it is not, each mode says in its own way."""
    error = future.exception(60)
    if mode == "best-effort":
        return future.result()
    if error is None:
        assert future.result() is True
        return True
    assert isinstance(error, UnavailableError)
    assert str(error).startswith("the answer could not be stored: ")
    return False


def assert_stored(file, stored, late):
    """Check that what was acknowledged is there once, and beside it only what the store counts as late."""
    found = requests_stored(file)
    assert found.items() >= dict.fromkeys(stored, 1).items()
    assert found.total() - len(stored) == late
    assert_whole(file)


@pytest.mark.small_disk
@pytest.mark.parametrize("mode", MODES)
def test_a_full_disk_acknowledges_nothing_that_is_not_there(mode, small_disk):
    ballast, file = small_disk / "ballast", str(small_disk / "spam.db")
    ballast.write_bytes(bytes(2 * 2**20))
    with contextlib.closing(Capture(file, mode=mode, timeout_s=0.5)) as capture:
        stored = set()
        for start in range(0, 60, 10):
            stored |= outcomes(capture, 50_000, range(start, start + 10), mode)
        assert 3 < len(stored) < 60
        more = itertools.count(100)

        def fails_under_pressure():
            stored.update(outcomes(capture, 50_000, [next(more)], mode))
            return not capture.stats().reachable

        assert eventually(fails_under_pressure)  # without pressure, what little still fits makes it reachable
        assert capture.stats().fault in {"its disk is full", "its disk cannot be read or written"}
        ballast.unlink()
        assert eventually(lambda: capture.stats().reachable)
        stored |= outcomes(capture, 1_000, range(60, 70), mode)
        assert {str(number) for number in range(60, 70)} <= stored
        late = capture.stats().late
    assert_stored(file, stored, late)


FILE_LIMIT = """
import json, resource, sys, time
from spamctl.store.capture import Capture
from tests.store.test_survival import outcomes

file, mode = sys.argv[1:]
capture = Capture(file, mode=mode, timeout_s=0.5)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
stored = outcomes(capture, 50_000, range(20), mode) | outcomes(capture, 50_000, range(20, 40), mode)
full = len(stored)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
while not capture.stats().reachable:
    time.sleep(0.1)
stored |= outcomes(capture, 50_000, range(40, 60), mode)
late = capture.stats().late
capture.close()
print(json.dumps({"full": full, "stored": sorted(stored), "late": late}))
"""


@pytest.mark.parametrize("mode", MODES)
def test_a_file_that_may_not_grow_acknowledges_nothing_that_is_not_there(mode, tmp_path):
    file = str(tmp_path / "spam.db")
    done = subprocess.run(
        [sys.executable, "-c", FILE_LIMIT, file, mode], capture_output=True, text=True, cwd=ROOT, timeout=60, check=True
    )
    told = json.loads(done.stdout)
    assert told["full"] < 40
    assert {str(number) for number in range(40, 60)} <= set(told["stored"])
    assert_stored(file, told["stored"], told["late"])


class Load:
    """Submit from many threads until told to stop, and keep what was acknowledged and when."""

    def __init__(self, capture, clients=6):
        self.capture, self.stored, self.refused, self.stopped = capture, {}, 0, threading.Event()
        self.threads = [threading.Thread(target=self.client, args=(number,)) for number in range(clients)]
        for thread in self.threads:
            thread.start()

    def client(self, number):
        turn = 0
        while not self.stopped.is_set():
            turn += 1
            request = f"{number}-{turn}"
            try:
                assert self.capture.submit(writer.rows(writer.ROWS, request_id=request)).result(60)
                self.stored[request] = time.monotonic()
            except UnavailableError:
                self.refused += 1

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.postgres
@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_postgresql_restarted_under_load_loses_nothing_acknowledged(how, mortal_postgres):
    address = mortal_postgres.new_database()
    with contextlib.closing(Capture(address, timeout_s=1.0)) as capture:
        load = Load(capture)
        assert eventually(lambda: len(load.stored) > 30)
        mortal_postgres.stop(how)
        assert eventually(lambda: load.refused and not capture.stats().reachable)
        assert capture.stats().fault == "it does not answer"
        mortal_postgres.start()
        started = time.monotonic()
        assert eventually(lambda: any(moment > started for moment in list(load.stored.values())), within_s=5)
        load.stop()
        assert capture.stats().reachable
    stored = requests_stored(address)
    assert load.stored.keys() <= stored.keys()
    assert set(stored.values()) == {writer.ROWS}


@pytest.mark.postgres
def test_a_restart_within_the_timeout_refuses_nothing(mortal_postgres):
    address = mortal_postgres.new_database()
    with contextlib.closing(Capture(address, timeout_s=30.0)) as capture:
        load = Load(capture)
        assert eventually(lambda: len(load.stored) > 30)
        mortal_postgres.stop("immediate")
        mortal_postgres.start()
        before = len(load.stored)
        assert eventually(lambda: len(load.stored) > before + 30)
        load.stop()
    assert load.refused == 0
    assert requests_stored(address) == dict.fromkeys(load.stored, writer.ROWS)


def backends(address):
    """Return the processes that serve a database."""
    others = text("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
    with open_store(address) as store, store.reading() as connection:
        return list(connection.scalars(others))


@pytest.mark.postgres
def test_a_server_that_freezes_holds_nobody_up_and_writes_nothing_later(postgres):
    address = postgres.empty_database()
    with contextlib.closing(Capture(address, timeout_s=0.5)) as capture:
        assert capture.submit([row("before")]).result(60)
        frozen = backends(address)
        assert frozen
        for process in frozen:
            os.kill(process, signal.SIGSTOP)
        started = time.monotonic()
        for turn in range(3):
            with pytest.raises(UnavailableError, match="does not answer in time"):
                capture.submit([row(f"while it was frozen {turn}")]).result(60)
        assert time.monotonic() - started < 3
        assert eventually(lambda: not capture.stats().reachable)
        for process in frozen:
            os.kill(process, signal.SIGCONT)
        assert eventually(lambda: capture.stats().reachable)
        assert capture.submit([row("after")]).result(60)
        assert (capture.stats().failed, capture.stats().late, capture.stats().waiting) == (3, 0, 0)
    with open_store(address) as store:
        assert {found.text for found in queries.newest(store, 10)} == {"before", "after"}


SLOW = """
CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1.2); RETURN NEW; END';
CREATE TRIGGER slow AFTER INSERT ON data EXECUTE FUNCTION pause();
"""


@pytest.mark.postgres
def test_what_is_committed_after_its_time_is_counted_and_a_retry_finds_it(postgres):
    address = postgres.empty_database()
    with open_store(address, create=True) as store, store.writing() as connection:
        connection.execute(text(SLOW))
    with contextlib.closing(Capture(address, mode="best-effort", timeout_s=0.5)) as capture:
        assert capture.submit([row("slow")]).result(60) is False
        assert eventually(lambda: capture.stats().late == 1)
        with open_store(address) as store, store.writing() as connection:
            connection.execute(text("DROP TRIGGER slow ON data"))
        assert capture.submit([row("slow")]).result(60) is True
        assert (capture.stats().stored, capture.stats().repeated, capture.stats().failed) == (1, 1, 1)
    assert requests_stored(address) == {"request": 1}


FULL = """
CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql
    AS 'BEGIN RAISE EXCEPTION ''could not extend file'' USING ERRCODE = ''disk_full''; END';
CREATE TRIGGER no_room BEFORE INSERT ON data EXECUTE FUNCTION no_room();
"""


@pytest.mark.postgres
@pytest.mark.parametrize("mode", MODES)
def test_a_full_disk_of_postgresql_is_told_as_one_and_its_end_is_noticed(mode, postgres):
    address = postgres.empty_database()
    with contextlib.closing(Capture(address, mode=mode, timeout_s=0.5)) as capture:
        assert capture.submit([row("before")]).result(60)
        with open_store(address) as store, store.writing() as connection:
            connection.execute(text(FULL))

        def is_full():
            stored = is_stored(capture.submit([row("while it was full")]), mode)
            return not stored and capture.stats().fault == "its disk is full"

        assert eventually(is_full)  # between two of them the store is asked, and answers
        with open_store(address) as store, store.writing() as connection:
            connection.execute(text("DROP TRIGGER no_room ON data"))
        assert eventually(lambda: is_stored(capture.submit([row("after")]), mode))
        assert eventually(lambda: not capture.stats().fault)
    with open_store(address) as store:
        assert {found.text for found in queries.newest(store, 10)} == {"before", "after"}
