import asyncio
import logging
import os
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, text

from spamctl.errors import UnavailableError, UsageError
from spamctl.store import labels, queries
from spamctl.store import writer as sink
from spamctl.store.address import parse
from spamctl.store.capture import Capture
from spamctl.store.database import WAL_LIMIT, open_store
from spamctl.store.tables import Earlier, ShadowVerdict
from tests.each import each
from tests.store.made_rows import eventually, row, rows


@pytest.fixture
def capturing():
    """Make captures that are closed in the end."""
    made = []

    def make(where, timeout_s=30.0, **options):  # patient, since a busy machine is slow and not wrong
        made.append(Capture(where, timeout_s=timeout_s, **options))
        return made[-1]

    yield make
    for capture in made:
        capture.close(60)


def stored(address):
    """Return the texts that are stored, as any other program sees them."""
    with open_store(address) as store:
        return sorted(found.text for page in queries.pages(store) for found in page)


def acknowledged(future):
    """Tell whether a request was stored, in either mode."""
    return future.exception(60) is None and future.result()


@pytest.fixture
def locking(address):
    """Lend what locks the store against all writers, and lets go of it."""
    if "://" not in address:
        other = sqlite3.connect(address, isolation_level=None, check_same_thread=False)
        yield lambda: other.execute("BEGIN EXCLUSIVE"), lambda: other.execute("COMMIT")
        other.close()
        return
    with open_store(address, create=True) as store, store.writer.connect() as connection:
        yield lambda: connection.execute(text("LOCK TABLE data IN EXCLUSIVE MODE")), connection.commit


def test_what_is_acknowledged_is_there(capturing, address):
    capture = capturing(address)
    assert capture.submit(rows(3)).result(60) is True
    assert stored(address) == ["message 0", "message 1", "message 2"]
    assert capture.stats().stored == 3


def test_nothing_to_store_is_stored_at_once(capturing, address):
    assert capturing(address).submit([]).result(0) is True


def test_a_retry_writes_nothing_twice(capturing, address):
    capture = capturing(address)
    for _ in range(3):
        assert capture.submit(rows(4, request_id="same")).result(60)
    assert len(stored(address)) == 4
    assert (capture.stats().stored, capture.stats().repeated) == (4, 8)


def test_retries_through_two_servers_at_once_write_nothing_twice(capturing, address):
    captures = [capturing(address), capturing(address)]
    with ThreadPoolExecutor(8) as clients:
        answers = clients.map(
            lambda turn: captures[turn % 2].submit(rows(5, request_id=f"{turn // 4}")).result(60), range(80)
        )
        assert all(answers)
    assert len(stored(address)) == 100
    assert sum(capture.stats().stored for capture in captures) == 100


def test_a_retry_leaves_the_first_answer_as_it_is_and_is_told_it(capturing, address):
    capture = capturing(address)
    first = row(model_version="1", probability=0.9, in_reach=False)
    second = row(model_version="2", probability=0.1, classification="not spam")
    assert first.uuid == second.uuid
    told, again = Earlier(), Earlier()
    assert capture.submit([first], earlier=told).result(60)
    assert told == {}
    new = row("beside it", 1, request_id="other")
    assert capture.submit([second, new], earlier=again).result(60)
    assert again[first.uuid] == (first.uuid, "spam", 0.9, "1", False)
    assert again[new.uuid] == (new.uuid, new.classification, new.probability, new.model_version, None)
    with open_store(address) as store:
        found = queries.find(store, [first.uuid])[first.uuid]
        assert (found.model_version, found.probability) == ("1", 0.9)


def test_of_two_servers_that_answer_one_request_at_once_both_tell_the_same(capturing, address):
    captures = [capturing(address), capturing(address)]
    given = [row(f"{turn}", request_id=f"{turn}") for turn in range(40)]
    said = [[replace(one, model_version=version) for one in given] for version in ("1", "2")]

    def answer(which, one):
        earlier = Earlier()
        assert captures[which].submit([one], earlier=earlier).result(60)
        return earlier[one.uuid].model_version if earlier else one.model_version

    with ThreadPoolExecutor(8) as clients:
        pairs = [[clients.submit(answer, which, said[which][turn]) for which in (0, 1)] for turn in range(40)]
        told = [{future.result() for future in pair} for pair in pairs]
    with open_store(address) as store:
        kept = {found.uuid: found.model_version for found in queries.newest(store, 100)}
    assert told == [{kept[one.uuid]} for one in given]


def test_requests_that_wait_together_share_a_transaction(capturing, address, locking):
    lock, unlock = locking
    capture = capturing(address)
    lock()
    futures = [capture.submit([row(request_id=str(number))]) for number in range(200)]
    commits = []
    count = commits.append
    event.listen(Engine, "commit", count)
    try:
        unlock()
        assert all(future.result(60) for future in futures)
    finally:
        event.remove(Engine, "commit", count)
    assert 1 <= len(commits) <= 4  # one of them may be the lock's own
    assert len(stored(address)) == 200


def test_the_verdict_of_a_shadow_is_stored(capturing, address):
    served = row()
    shadow = ShadowVerdict(served.uuid, "2", "not spam", 0.25)
    capture = capturing(address)
    assert capture.submit([served], [shadow]).result(60)
    assert capture.submit([], [shadow]).result(60)
    with open_store(address) as store:
        assert queries.shadow_tally(store, "2") == {("spam", "not spam"): 1}
        assert queries.shadow_tally(store, "3") == {}


@pytest.mark.slow
def test_a_lock_of_a_second_is_waited_for(capturing, address, locking):
    lock, unlock = locking
    capture = capturing(address)
    lock()
    futures = [capture.submit([row(request_id=str(number))]) for number in range(20)]
    time.sleep(1)
    assert not any(future.done() for future in futures)
    unlock()
    assert all(future.result(60) for future in futures)
    assert len(stored(address)) == 20


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["required", "best-effort"])
def test_a_long_lock_is_told_of_in_time_and_recovered_from_unaided(mode, capturing, address, locking):
    lock, unlock = locking
    capture = capturing(address, mode=mode, timeout_s=0.5)
    lock()
    started = time.monotonic()
    future = capture.submit([row("never acknowledged")])
    if mode == "required":
        with pytest.raises(UnavailableError, match="could not be stored: it is locked by another program"):
            future.result(60)
    else:
        assert future.result(60) is False
    assert 0.4 < time.monotonic() - started < 3
    assert eventually(lambda: not capture.stats().reachable)
    unlock()
    assert eventually(lambda: acknowledged(capture.submit([row("after")])))
    assert stored(address) == ["after"]
    assert eventually(lambda: capture.stats().reachable)
    assert (capture.stats().failed > 0, capture.stats().waiting) == (True, 0)


@pytest.mark.slow
def test_a_transaction_from_which_all_had_gone_does_not_pass_for_a_store_that_works(capturing, address, locking):
    lock, unlock = locking
    capture = capturing(address, timeout_s=0.5)
    write = capture._sink.write

    def write_late(claim):
        time.sleep(0.8)  # until nobody waits any more
        return write(claim)

    lock()
    capture._sink.write = write_late
    with pytest.raises(UnavailableError):
        capture.submit([row("never acknowledged")]).result(60)
    time.sleep(2)  # the transaction is over
    assert not capture.stats().reachable
    capture._sink.write = write
    unlock()
    assert eventually(lambda: capture.stats().reachable)


@pytest.mark.slow
def test_a_store_known_to_be_down_holds_nobody_up(capturing, address, locking):
    lock, unlock = locking
    capture = capturing(address, mode="best-effort", timeout_s=1.5)
    lock()

    def seconds_to_fail():
        started = time.monotonic()
        assert capture.submit([row()]).result(60) is False
        return time.monotonic() - started

    assert seconds_to_fail() > 1.4
    assert eventually(lambda: seconds_to_fail() < 1.2)
    unlock()


def test_no_more_wait_than_may(capturing, address, locking):
    lock, unlock = locking
    capture = capturing(address, most_waiting=10)
    lock()
    waiting = capture.submit(rows(8))
    with pytest.raises(UnavailableError, match="too many rows wait"):
        capture.submit(rows(3, request_id="other")).result(0)
    unlock()
    assert waiting.result(60)
    assert len(stored(address)) == 8


def test_a_row_that_the_database_refuses_fails_alone(capturing, address, locking, caplog):
    lock, unlock = locking
    capture = capturing(address)
    lock()
    good = [capture.submit([row("good", request_id=str(number))]) for number in range(5)]
    bad = capture.submit([row("canary", latency_ms=True, source=["canary"])])
    more = [capture.submit([row("good", request_id=str(number))]) for number in range(5, 10)]
    unlock()
    assert all(future.result(60) for future in good + more)
    with pytest.raises(UnavailableError, match="refused the values"):
        bad.result(60)
    assert stored(address) == ["good"] * 10
    assert "canary" not in caplog.text


@each(
    "wrong",
    [
        {"classification": "ham"},
        {"probability": float("nan")},
        {"probability": -0.1},
        {"threshold": float("inf")},
        {"latency_ms": float("nan")},
        {"date": datetime(2026, 1, 2)},  # noqa: DTZ001  (of no time zone: that is what is wrong)
    ],
)
def test_a_row_that_breaks_the_rules_cannot_be_made(wrong):
    with pytest.raises(ValueError, match=r"a captured row|a classification|a probability"):
        row(**wrong)


def test_closing_stores_what_waits_and_takes_no_more(capturing, address, locking):
    lock, unlock = locking
    capture = capturing(address)
    lock()
    futures = [capture.submit([row(request_id=str(number))]) for number in range(30)]
    closing = threading.Thread(target=capture.close)
    closing.start()
    time.sleep(0.1)
    with pytest.raises(UnavailableError, match="capture is closing"):
        capture.submit([row("too late")]).result(0)
    unlock()
    closing.join(60)
    assert [future.result(0) for future in futures] == [True] * 30
    assert len(stored(address)) == 30
    assert capture.close()


def test_closing_does_not_wait_for_a_store_that_is_down(capturing, address, locking):
    lock, unlock = locking
    capture = capturing(address, mode="best-effort", timeout_s=0.4)
    lock()
    future = capture.submit([row()])
    started = time.monotonic()
    assert capture.close()
    assert time.monotonic() - started < 3
    assert future.result(0) is False
    unlock()


def test_an_async_server_can_wait_for_it(capturing, address):
    capture = capturing(address)

    async def serve(number):
        return await asyncio.wrap_future(capture.submit([row(request_id=str(number))]))

    async def burst():
        return await asyncio.gather(*map(serve, range(50)))

    assert asyncio.run(burst()) == [True] * 50
    assert len(stored(address)) == 50


def test_a_client_that_leaves_does_not_stop_the_writer(capturing, address):
    capture = capturing(address)
    assert not capture.submit([row("left")]).cancel()
    assert capture.submit([row("stayed")]).result(60)
    assert stored(address) == ["left", "stayed"]


def test_capture_begins_only_with_a_store_that_works(tmp_path):
    (tmp_path / "spam.db").write_text("no database", encoding="utf-8")
    with pytest.raises(UsageError, match="not a SQLite database"):
        Capture(str(tmp_path / "spam.db"))


@pytest.fixture
def file(tmp_path):
    return tmp_path / "spam.db"


def move(file):
    file.rename(file.with_name("moved.db"))


def delete(file):
    file.unlink()


def delete_all(file):
    for path in file.parent.glob("spam.db*"):
        path.unlink()


def delete_log(file):
    Path(f"{file}-wal").unlink()


def replace_by_a_store(file):
    other = file.with_name("other.db")
    with open_store(str(other), create=True):
        pass
    os.replace(other, file)  # noqa: PTH105


def delete_folder(file):
    moved = file.parent.with_name(f"{file.parent.name}-moved")
    file.parent.rename(moved)
    file.parent.mkdir()


@pytest.mark.parametrize(
    "happens", [move, delete, delete_all, delete_log, replace_by_a_store, delete_folder], ids=lambda what: what.__name__
)
def test_a_file_that_is_gone_gets_no_acknowledged_row(happens, capturing, file, caplog):
    capture = capturing(str(file))
    assert capture.submit([row("before")]).result(60)
    happens(file)
    assert capture.submit([row("after")]).result(60)
    capture.close()
    assert "after" in stored(str(file))
    assert ("before" in stored(str(file))) == (happens is delete_log)
    assert "moved, deleted or replaced" in caplog.text


@pytest.mark.slow
def test_labelling_many_rows_does_not_keep_the_server_waiting(capturing, address):
    capture = capturing(address)
    made = [row(f"message {number}", number) for number in range(16_000)]
    assert all(capture.submit(made[start : start + 1000]).result(60) for start in range(0, len(made), 1000))
    with open_store(address, patience_s=30) as store, ThreadPoolExecutor(1) as pool:
        labelling = pool.submit(labels.set_labels, store, {one.uuid: "spam" for one in made}, "simulated")
        longest, answered = 0.0, 0
        while not labelling.done():
            started = time.monotonic()
            assert capture.submit([row(request_id=f"meanwhile {answered}")]).result(60)
            longest, answered = max(longest, time.monotonic() - started), answered + 1
        assert labelling.result() == len(made)
    assert answered > 3
    assert longest < 3


@pytest.mark.slow
def test_a_foreign_file_in_the_stores_place_is_not_touched(capturing, file, caplog):
    capture = capturing(str(file), timeout_s=0.6)
    assert capture.submit([row("before")]).result(60)
    file.rename(file.with_name("moved.db"))
    foreign = sqlite3.connect(file)
    foreign.execute("CREATE TABLE data (id INTEGER)")
    foreign.commit()
    foreign.close()
    content = file.read_bytes()
    with pytest.raises(UnavailableError) as refusal:
        capture.submit([row("after")]).result(60)
    assert str(refusal.value) == "the answer could not be stored: it is not the store that it was"
    assert file.read_bytes() == content
    file.unlink()
    file.with_name("moved.db").rename(file)
    assert eventually(lambda: acknowledged(capture.submit([row("back")])))
    assert "back" in stored(str(file))


@pytest.mark.slow
def test_the_write_ahead_log_stays_small(capturing, file):
    capture = capturing(str(file))
    wal, largest = Path(f"{file}-wal"), 0
    for number in range(120):
        assert capture.submit([row("x" * 500_000, request_id=str(number))]).result(60)
        largest = max(largest, wal.stat().st_size)
    assert file.stat().st_size > 40 * 2**20
    assert 2**20 < largest < 16 * 2**20


@pytest.mark.slow
def test_the_write_ahead_log_is_cut_after_a_long_reader(capturing, file):
    capture = capturing(str(file))
    assert capture.submit([row()]).result(60)
    reader = sqlite3.connect(file, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT COUNT(*) FROM data").fetchone() == (1,)
    for number in range(30):
        assert capture.submit([row("x" * 500_000, request_id=str(number))]).result(60)
    wal = Path(f"{file}-wal")
    assert wal.stat().st_size > 12 * 2**20
    reader.close()
    assert capture.submit([row(request_id="last")]).result(60)
    assert eventually(lambda: wal.stat().st_size < 8 * 2**20)


@pytest.mark.slow
def test_trouble_is_logged_once_and_without_secrets(capturing, address, locking, caplog):
    caplog.set_level(logging.DEBUG, "spamctl")
    lock, unlock = locking
    capture = capturing(address, timeout_s=0.4)
    lock()
    for _ in range(3):
        with pytest.raises(UnavailableError):
            capture.submit([row("canary", request_id="canary")]).result(60)
    assert eventually(lambda: "capture waits" in caplog.text)
    unlock()
    assert eventually(lambda: "capture works again" in caplog.text)
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("spamctl")]
    assert len(lines) == 2
    assert lines[0] == "capture waits for the store: it is locked by another program"
    assert "canary" not in caplog.text


def test_a_log_that_was_copied_is_left_alone_until_it_has_grown_again(tmp_path):
    address, copied = str(tmp_path / "spam.db"), []
    open_store(address, create=True).close()
    writer = sink.Sink(parse(address))

    def write(number, rows=1):
        made = [row("x" * 2_000, index, request_id=f"{number}") for index in range(rows)]
        assert writer.write(lambda: sink.Group(made)) == (rows, {})
        writer.tidy()

    def watch(_connection, _cursor, statement, *_):
        copied.append(statement) if "wal_checkpoint" in statement else None

    event.listen(Engine, "before_cursor_execute", watch)
    try:
        for number in range(6):
            write(number, rows=1_000)
        assert (tmp_path / "spam.db-wal").stat().st_size >= WAL_LIMIT
        assert copied
        write("begins the log anew")
        copied.clear()
        for number in range(50):
            write(f"later {number}")
        assert not copied
    finally:
        event.remove(Engine, "before_cursor_execute", watch)
        writer.close()
