"""Many clients, too many clients, and clients for a long time."""

import time
from pathlib import Path

import pytest

from spamctl.serving.state import Limits
from spamctl.store.database import WAL_LIMIT
from tests.faults.clients import ROWS, Asked, Load, figure, get, in_turn, waited_s
from tests.faults.processes import AT_LENGTH, PATIENCE_S, SECONDS, a_server, locked, until
from tests.store.test_survival import requests_stored

pytestmark = [pytest.mark.alone, pytest.mark.timeout(4 * PATIENCE_S + 3 * SECONDS)]
AT_ONCE_S, NORMAL_AGAIN_S = 0.1, 5.0
LONGEST_S = 30 * SECONDS if AT_LENGTH else PATIENCE_S + 4 * SECONDS
FULL, LAST = (10_000, 10) if AT_LENGTH else (500, 4)  # requests, after which memory may not grow, and times as many


def for_a_while(load, least):
    """Let clients post for as long as is asked for, and until a number of answers are there."""
    began = time.monotonic()
    until(lambda: time.monotonic() > began + SECONDS and load.count > least, LONGEST_S)


def test_thirty_two_clients_all_get_their_answers_and_each_is_stored_once(package):
    with a_server(package) as server, Load(server.port, 32) as load:
        for_a_while(load, 100)
        load.stop()
        assert load.statuses() == {200}
        assert len(load.captured()) == len(load.answers)
        assert figure(server.port, "spamctl_captured_rows_total") == ROWS * len(load.answers)
    assert requests_stored("spam.db") == dict.fromkeys(load.captured(), ROWS)


def test_too_many_clients_are_told_to_come_again_and_the_rest_is_answered(package):
    with a_server(package) as server:
        with Load(server.port, 256, rows=20) as load:
            for_a_while(load, 600)
        ended = time.monotonic()
        assert load.statuses() == {200, 429}
        assert {answer.reply.headers["retry-after"] for answer in load.of(429)} == {"1"}
        assert not AT_LENGTH or waited_s(load.of(429), 0.95) < AT_ONCE_S
        assert len(load.captured()) == len(load.of(200))
        later = [Asked(f"later-{number}", ("hello",)) for number in range(20)]
        assert {answer.status for answer in in_turn(server.port, later)} == {200}
        assert not AT_LENGTH or time.monotonic() - ended < NORMAL_AGAIN_S
        assert figure(server.port, "spamctl_in_flight") == 0
    stored = requests_stored("spam.db")
    assert {request: stored[request] for request in load.captured()} == dict.fromkeys(load.captured(), 20)
    assert len(stored) == len(load.captured()) + len(later)  # what was refused is not there


def test_a_server_whose_places_are_taken_refuses_at_once(package):
    with a_server(package, limits=Limits(in_flight=4), capture_seconds=PATIENCE_S) as server:
        load = Load(server.port, 4, most=1)
        with locked("spam.db"):
            load.start()
            until(lambda: figure(server.port, "spamctl_in_flight") == 4)
            refusals = in_turn(server.port, [Asked(f"more-{number}", ("hello",)) for number in range(50)])
            assert {answer.status for answer in refusals} == {429}
            assert waited_s(refusals, 0.5) < AT_ONCE_S
            assert get(server.port, "/ping").status == 200
            assert not load.answers
        load.wait()
        assert len(load.captured()) == 4
    assert requests_stored("spam.db") == dict.fromkeys(load.captured(), ROWS)


def wal_size():
    """Return the size of the write-ahead log in bytes."""
    return Path("spam.db-wal").stat().st_size


@pytest.mark.timeout(2 * LONGEST_S)
def test_a_server_that_runs_for_long_grows_in_nothing_but_its_store(package):
    with a_server(package, cached_rows=1_000) as server, Load(server.port, 8, keep=False) as load:
        for_a_while(load, FULL)  # all that it remembers of the last requests is full
        memory, files, count, wal = server.memory(), server.files(), load.count, 0
        ends = time.monotonic() + 4 * SECONDS

        def over():
            nonlocal wal
            wal = max(wal, wal_size())
            return time.monotonic() > ends and load.count > LAST * count

        until(over, LONGEST_S)
        assert server.memory() < 1.05 * memory
        assert abs(server.files() - files) <= 2
        assert 0 < wal <= 4 * WAL_LIMIT
        load.stop()
        assert not load.answers
