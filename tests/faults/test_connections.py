"""Whatever comes on a connection before any route, or beside it, a real server stays small, open and quiet."""

import contextlib
import resource
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.clients import Asked, get, in_turn, once
from tests.faults.processes import AT_LENGTH, PATIENCE_S, SECONDS, a_server, until
from tests.faults.test_bodies import MIB, called, growth_bounded, heard

pytestmark = [pytest.mark.alone, pytest.mark.timeout(4 * PATIENCE_S)]
TOKEN = "a token that nobody sends"
ENOUGH = 64 * MIB
FILES = 1024
HELD = 1000
CLOSED_S = 75
MOST_LINES = 10  # in a second
ASKED = b"%s %s HTTP/1.1\r\nhost: localhost\r\n"
CHUNKED = ASKED + b"transfer-encoding: chunked\r\n\r\n"
LINES = b"x-trailer: aaaaaaaa\r\n" * 4000
AROUND = (
    (CHUNKED + b"0\r\n", LINES),
    (CHUNKED + b"0\r\nx: ", b"y" * 2**16),
    (CHUNKED + b"5;x=", b"y" * 2**16),
    (ASKED, LINES),
    (ASKED, b"a:b\r\n" * 2**14),
)


def pushed(server, start, more):
    """Send more of the same until it is enough, or the server will not have it, and hear what it says."""
    with called(server) as line:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            line.sendall(start)
            for _ in range(ENOUGH // len(more)):
                line.sendall(more)
        return heard(line)


def test_nothing_beside_a_body_fills_the_memory(package):
    asked = [
        (start % one, more)
        for start, more in AROUND
        for one in ((b"GET", b"/ping"), (b"POST", b"/invocations"), (b"PUT", b"/nothing"))
    ]
    with a_server(package, token=TOKEN) as server, ThreadPoolExecutor(len(asked)) as threads:
        get(server.port, "/ping")
        with growth_bounded(server):
            said = [threads.submit(pushed, server, *one) for one in asked]
            assert get(server.port, "/ping").status == 200
            assert {future.result() for future in said} <= {0, 200, 400, 401}
            assert get(server.port, "/ping").status == 200


def test_requests_whose_answers_nobody_takes_fill_no_memory(package):
    asked = b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n" * 2**12
    with a_server(package) as server, contextlib.ExitStack() as stack:
        get(server.port, "/ping")
        lines = [stack.enter_context(called(server)) for _ in range(20)]
        with growth_bounded(server):
            for line in lines:
                line.settimeout(0.5)
                with contextlib.suppress(TimeoutError):
                    for _ in range(ENOUGH // len(asked)):
                        line.sendall(asked)
            assert get(server.port, "/ping").status == 200


@contextlib.contextmanager
def few_files():
    """Start processes that may open few files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def held(server, stack):
    """Get an answer on a connection, and hold it by a byte of a body that never ends."""
    line = stack.enter_context(called(server))
    line.sendall(ASKED % (b"GET", b"/ping") + b"content-length: 1000\r\n\r\n")
    assert line.recv(4096).startswith(b"HTTP/1.1 200 ")
    line.sendall(b"x")
    return line


def are_closed(lines):
    """Count the connections that the server has ended."""
    closed = 0
    for line in lines:
        line.setblocking(False)
        try:
            closed += line.recv(1) == b""
        except BlockingIOError:
            pass
        except ConnectionResetError:
            closed += 1
    return closed


def test_connections_that_are_held_by_a_byte_shut_nobody_out(package):
    with contextlib.ExitStack() as stack:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        with few_files():
            server = stack.enter_context(a_server(package))
        assert hard >= 2 * FILES, "the test itself needs more files"
        began = time.monotonic()
        lines = [held(server, stack) for _ in range(HELD)]
        assert server.files() < FILES
        for number in range(20):
            assert get(server.port, "/ping").status == 200
            assert once(server.port, f"hello {number}").is_captured
        until(lambda: "connections closed to make room for new ones" in server.told)
        if AT_LENGTH:
            until(lambda: are_closed(lines) == HELD, CLOSED_S)
            assert time.monotonic() - began < CLOSED_S + SECONDS


def test_ten_thousand_connections_at_once_shut_nobody_out(package):
    with contextlib.ExitStack() as stack:
        with few_files():
            server = stack.enter_context(a_server(package))
        for _ in range(10_000 if AT_LENGTH else 2_000):
            line = socket.socket()
            line.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                line.connect(("127.0.0.1", server.port))
            stack.callback(line.close)
            if line.fileno() % 500 == 0:
                assert get(server.port, "/ping").status == 200
        assert get(server.port, "/ping").status == 200
        assert once(server.port, "hello").is_captured


def test_noise_makes_no_noise_in_the_log(package):
    noise = (b"noise\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", ASKED % (b"CONNECT", b"x:1") + b"\r\n")
    with a_server(package) as server:
        ends, sent = time.monotonic() + 4, 0
        while time.monotonic() < ends or sent < 300:
            with called(server) as line:
                line.sendall(noise[sent % 3])
                sent += 1
                assert heard(line) in {400, 405}
        lines = server.told.splitlines()
        assert 0 < len(lines) <= 4 * MOST_LINES
        assert any("that were no HTTP" in line for line in lines)


def test_bad_requests_of_every_kind_make_no_noise_in_the_log(package):
    with a_server(package) as server:
        before = len(server.told.splitlines())
        began = time.monotonic()
        asked = [Asked(f"bad-{number}", (None,)) for number in range(500)]
        assert {answer.status for answer in in_turn(server.port, asked)} == {400}
        assert len(server.told.splitlines()) - before <= MOST_LINES * (1 + time.monotonic() - began)
