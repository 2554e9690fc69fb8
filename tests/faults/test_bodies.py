"""Bodies too long, too slow and too odd meet a server that goes on answering everybody else."""

import contextlib
import json
import select
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from spamctl.serving.state import Limits
from spamctl.store import queries
from spamctl.store.database import open_store
from tests import tiny_packages
from tests.faults.clients import Asked, Load, figure, in_turn, once, waited_s
from tests.faults.processes import AT_LENGTH, PATIENCE_S, a_server, until
from tests.hostile import PAYLOADS
from tests.store.made_rows import ODD_TEXTS

pytestmark = [pytest.mark.alone, pytest.mark.timeout(5 * PATIENCE_S)]
MIB = 2**20
MOST_GROWTH = 64 * MIB
TOO_SLOW_S = 3.0
ENOUGH = 500 if AT_LENGTH else 20  # answers
HEAD = b"POST /invocations HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
LENGTH = HEAD + b"content-length: %d\r\n\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
CHUNK = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"


def called(server):
    """Open a connection."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)


def heard(line):
    """Read until the server closes the connection; return the status, 0 if it said nothing."""
    told = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := line.recv(65536):
            told += piece
    return int(told.split()[1]) if told else 0


def announced(server, length):
    """Announce a long body, send the start of it, and return the status that comes without the rest."""
    with called(server) as line:
        line.sendall(LENGTH % length + b'{"inputs": ["')
        return heard(line)


def sent_whole(server, text):
    """Send a text whether an answer comes meanwhile or not, and return the status."""
    body = json.dumps({"inputs": [text]}).encode()
    with called(server) as line:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            line.sendall(LENGTH % len(body) + body)
        return heard(line)


def endless(server):
    """Send chunks until an answer comes; return its status and how much was sent."""
    sent = 0
    with called(server) as line:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            line.sendall(CHUNKED)
            while not select.select([line], [], [], 0)[0]:
                line.sendall(CHUNK)
                sent += len(CHUNK)
        return heard(line), sent


@contextlib.contextmanager
def growth_bounded(server):
    """Hold that the server takes little more memory at any moment of a block."""
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5", encoding="ascii")  # VmHWM begins anew
    before = server.memory()
    yield
    assert server.memory("VmHWM") - before < MOST_GROWTH


def test_what_is_too_long_is_refused_early_and_fills_no_memory(package):
    with a_server(package) as server, Load(server.port, 4) as load, ThreadPoolExecutor(16) as threads:
        until(lambda: load.count > 20)
        with growth_bounded(server):
            early = [threads.submit(announced, server, length) for length in (9 * MIB, 10**7, 10**15)]
            whole = [threads.submit(sent_whole, server, "x" * length) for length in (9 * MIB, 10**7)]
            many = threads.submit(once, server.port, *["spam"] * 100_000)
            assert [future.result() for future in early] == [413] * 3
            assert [future.result() for future in whole] == [413] * 2
            assert many.result().status == 413
            chunks = [threads.submit(endless, server) for _ in range(4)]  # while they come they fill all the room
            for status, sent in (future.result() for future in chunks):
                assert status == 413
                assert sent < 32 * MIB
            before = load.count
            until(lambda: load.count > before + 20)
        load.stop()
        assert load.statuses() == {200}
        assert figure(server.port, "spamctl_in_flight") == 0


def test_slow_clients_are_sent_away_and_hold_nobody_up(package):
    with (
        a_server(package, limits=Limits(in_flight=8, timeout_s=TOO_SLOW_S)) as server,
        Load(server.port, 4) as load,
        contextlib.ExitStack() as stack,
        growth_bounded(server),
    ):
        until(lambda: load.count > ENOUGH)
        alone = load.of(200)
        slow = [stack.enter_context(called(server)) for _ in range(50)]
        silent = [stack.enter_context(called(server)) for _ in range(50)]
        for line in slow:
            line.sendall(LENGTH % 1000 + b"{")
        for line in silent:
            line.sendall(HEAD)
        until(lambda: load.count > len(alone) + ENOUGH)
        assert not AT_LENGTH or waited_s(load.of(200)[len(alone) :], 0.99) < 2 * waited_s(alone, 0.99)
        assert not select.select(slow, [], [], 0)[0]  # more than there are places, and all of them still there
        for line in slow:
            assert heard(line) == 408
        for line in silent:
            line.sendall(b"content-length: 2\r\nconnection: close\r\n\r\n{}")
            assert heard(line) == 400
        load.stop()
        assert load.statuses() == {200}


def test_clients_who_leave_before_their_answer_leave_nothing_behind(package):
    with a_server(package, limits=Limits(in_flight=8)) as server, Load(server.port, 4) as load:
        until(lambda: load.count > 20)
        files = server.files()
        body = Asked("", ("hello",)).body()
        for _ in range(100):
            with called(server) as line:
                line.sendall(LENGTH % len(body) + body)
            with called(server) as line:
                line.sendall(LENGTH % len(body) + body[:-1])
        before = load.count
        until(lambda: load.count > before + 20)
        load.stop()
        assert load.statuses() <= {200, 429}
        until(lambda: figure(server.port, "spamctl_in_flight") == 0 and server.files() <= files)
        assert once(server.port, "hello").is_captured


def words(number):
    """Return a text of so many tokens of the tiny package."""
    return " ".join(["prize"] * number)


LENGTHS = [words(number) for number in (0, 1, tiny_packages.WINDOW - 1, tiny_packages.WINDOW, tiny_packages.WINDOW + 1)]
TEXTS = [*ODD_TEXTS.values(), *PAYLOADS, *LENGTHS]


def test_all_text_is_answered_and_stored_as_it_was_sent(package, address):
    arrives = [json.loads(json.dumps(text)) for text in TEXTS]  # JSON makes one character of two halves
    alone = [Asked(f"alone-{number}", (text,)) for number, text in enumerate(TEXTS)]
    with a_server(package, datastore_uri=address) as server:
        answers = in_turn(server.port, [*alone, Asked("together", tuple(TEXTS))])
    assert {answer.status for answer in answers} == {200}
    assert all(answer.is_captured for answer in answers)
    with open_store(address) as store:
        stored = {row.uuid: row for row in queries.newest(store, 10 * len(TEXTS))}
    assert len(stored) == 2 * len(TEXTS)
    answered = [row for answer in answers for row in answer.predictions]
    assert [stored[row["uuid"]].text for row in answered] == [*arrives, *arrives]
    for row, text in zip(answered, [*arrives, *arrives], strict=True):
        found = stored[row["uuid"]]
        assert (found.classification, found.probability) == (row["classification"], row["probability"])
        if text in LENGTHS:
            assert row["truncated"] is (text == LENGTHS[-1])
            assert row["probability"] == pytest.approx(package.probability(text), abs=1e-5)
