"""A server that is stopped answers what it began, keeps what it answered, and leaves nothing behind."""

import errno
import os
import shutil
import signal
import socket
import time
from pathlib import Path

import pytest

from spamctl.serving.state import Limits
from tests.faults.clients import BROKEN, ROWS, Load, figure, get, once
from tests.faults.processes import (
    PATIENCE_S,
    a_server,
    children_of,
    is_there,
    locked,
    until,
)
from tests.store.test_survival import assert_whole, requests_stored

pytestmark = [pytest.mark.alone, pytest.mark.timeout(5 * PATIENCE_S)]
SEVERAL = "tests.faults.several"
AT_ONCE_S = 10.0  # with the time that a busy machine takes to end a process
BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)


def is_refusing(port):
    """Tell whether nobody listens any more; one that closes just now resets a connection instead."""
    with socket.socket() as line:
        line.settimeout(PATIENCE_S)
        return line.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


@BOTH
def test_what_was_answered_is_stored_and_what_was_begun_is_answered(number, package):
    with a_server(package, capture_seconds=PATIENCE_S) as server:
        load, begun = Load(server.port, 8), Load(server.port, 5, name="begun", most=1)
        with load:
            until(lambda: len(load.answers) > 50)
            with locked("spam.db"):
                begun.start()
                until(lambda: figure(server.port, "spamctl_in_flight") == 8 + 5)
                server.process.send_signal(number)
                until(lambda: is_refusing(server.port))
                assert server.process.poll() is None
                assert not begun.answers
            begun.wait()
            assert server.process.wait(Limits().drain_s) == 0
            load.stop()
    assert begun.statuses() == {200}
    assert load.statuses() <= {200, BROKEN}
    assert len(load.captured()) == len(load.of(200))
    stored = requests_stored("spam.db")
    assert stored == dict.fromkeys(load.captured() | begun.captured(), ROWS)
    assert_whole("spam.db")
    assert "Traceback" not in server.told


@BOTH
@pytest.mark.parametrize("program", ["spamctl.serving.worker", SEVERAL])
def test_a_second_signal_ends_it_at_once(number, program, package):
    workers = {"workers": 2} if program == SEVERAL else {}
    limits = Limits(drain_s=PATIENCE_S)
    with a_server(package, program, capture_seconds=PATIENCE_S, limits=limits, **workers) as server:
        children, load = children_of(server.process.pid), Load(server.port, 4, most=1)
        assert len(children) == workers.get("workers", 0)
        with locked("spam.db"):
            load.start()
            until(lambda: figure(server.port, "spamctl_in_flight") == 4)
            server.process.send_signal(number)
            until(lambda: is_refusing(server.port))
            assert server.process.poll() is None
            began = time.monotonic()
            server.process.send_signal(number)
            server.process.wait(PATIENCE_S)
            assert time.monotonic() - began < AT_ONCE_S
            until(lambda: not any(map(is_there, children)), AT_ONCE_S)
        load.wait()
    assert load.statuses() <= {BROKEN, 503}
    assert requests_stored("spam.db") == {}
    assert "Traceback" not in server.told


def test_who_sends_or_waits_for_ever_is_not_waited_for_longer_than_the_drain_time(package):
    limits = Limits(drain_s=1.0)
    with a_server(package, capture_seconds=PATIENCE_S, limits=limits) as server:
        load = Load(server.port, 4, most=1)
        with locked("spam.db"), socket.create_connection(("127.0.0.1", server.port)) as slow:
            slow.sendall(b"POST /invocations HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
            load.start()
            until(lambda: figure(server.port, "spamctl_in_flight") == 4)
            began = time.monotonic()
            assert server.end() == 0
            assert time.monotonic() - began < 2 * limits.drain_s + AT_ONCE_S
        load.wait()
    assert load.statuses() == {503}
    assert requests_stored("spam.db") == {}
    assert "Traceback" not in server.told


@BOTH
def test_several_processes_share_the_work_replace_who_dies_and_end_together(number, package):
    with a_server(package, SEVERAL, workers=2) as server, Load(server.port, 16) as load:
        first = children_of(server.process.pid)
        assert len(first) == 2
        until(lambda: len(load.of(200)) > 50)
        for turn, worker in enumerate(first, 1):
            os.kill(worker, signal.SIGKILL)
            until(lambda turn=turn: server.told.count("a worker died (exit code -9); another one") == turn)
            until(lambda: len(children_of(server.process.pid)) == 2)
        second, replaced = children_of(server.process.pid), time.monotonic()
        assert not first & second
        until(lambda: load.of(200)[-1].left > replaced)
        assert server.end(number) == 0
        until(lambda: not any(map(is_there, second)))
        load.stop()
    assert load.statuses() <= {200, BROKEN}
    assert len(load.captured()) == len(load.of(200))
    stored = requests_stored("spam.db")
    assert load.captured() <= stored.keys()
    assert set(stored.values()) == {ROWS}
    assert "Traceback" not in server.told


def test_what_a_killed_worker_was_answering_is_in_no_figure(package):
    with a_server(package, SEVERAL, workers=2, capture_seconds=PATIENCE_S) as server:
        begun = Load(server.port, 8, most=1)
        with locked("spam.db"):
            begun.start()
            until(lambda: figure(server.port, "spamctl_in_flight") == 8)
            os.kill(min(children_of(server.process.pid)), signal.SIGKILL)
            until(lambda: figure(server.port, "spamctl_in_flight") + len(begun.of(BROKEN)) == 8)
        begun.wait()
        until(lambda: figure(server.port, "spamctl_in_flight") == 0)


def test_each_worker_tells_what_all_of_them_answered(package):
    with a_server(package, SEVERAL, workers=2) as server:
        texts = [f"message {number}" for number in range(20)]
        for number, text in enumerate(texts):
            assert once(server.port, text, request_id=f"{number}").is_captured
        for _ in range(20):  # each on a connection of its own, which either worker may take
            told = get(server.port, "/recent").json()
            assert told["rows"] == len(texts)
            assert [verdict["text"] for verdict in told["verdicts"]] == texts[::-1]


def test_workers_end_when_nobody_is_there_to_stop_them(package):
    with a_server(package, SEVERAL, workers=2) as server:
        children = children_of(server.process.pid)
        assert once(server.port, "hello").is_captured
        server.end(signal.SIGKILL)
        until(lambda: not any(map(is_there, children)))
        assert is_refusing(server.port)


def test_a_worker_that_cannot_take_anothers_place_says_why(package, tmp_path):
    copy = Path(shutil.copytree(package.folder, tmp_path / "package"))
    with a_server(copy, SEVERAL, workers=2) as server:
        (copy / "model.bin").write_bytes(b"damage")
        os.kill(min(children_of(server.process.pid)), signal.SIGKILL)
        until(lambda: "a worker could not start: package: model.bin is not the file that was packaged" in server.told)
        assert once(server.port, "hello").is_captured  # the other one answers
