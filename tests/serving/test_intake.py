"""Bodies are read within bounds of size, of memory and of time, whoever sends them."""

import asyncio
import contextlib
import json
import logging
import socket
import threading
import time
import tracemalloc

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from spamctl.serving.access import Access, Guard, Refusal
from spamctl.serving.protocol import FREE_BYTES, MIB, Intake
from tests.each import each
from tests.serving.tiny_service import listening

PATIENCE_S = 3
MOST = bytes(2 * MIB - 1)
LIMIT, ALL = FREE_BYTES + 1000, 2500  # a body of LIMIT bytes counts 1000


def request(*pieces, headers=(), then=None):
    """Return a request whose body comes in pieces; after them comes what `then` waits for."""
    left = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    if then is None:
        left[-1]["more_body"] = False

    async def receive():
        await asyncio.sleep(0)
        return left.pop(0) if left else await then()

    return Request({"type": "http", "method": "POST", "headers": list(headers)}, receive)


async def never():
    await asyncio.Event().wait()


async def gone():
    return {"type": "http.disconnect"}


async def endlessly():
    return {"type": "http.request", "body": b"x" * 5000, "more_body": True}


def length(bytes_):
    return [(b"content-length", str(bytes_).encode())]


def intake(**limits):
    return Intake(**{"body_bytes": LIMIT, "total_bytes": ALL, "patience_s": 5} | limits)


def read(made, *pieces, **said):
    return asyncio.run(made.read(request(*pieces, **said)))


def refused(made, *pieces, **said):
    with pytest.raises(Refusal) as caught:
        read(made, *pieces, **said)
    assert made.held == 0
    return caught.value


@each("pieces", [(b"",), (b"abc",), (b"a", b"", b"bc"), (b"x" * LIMIT,), (b"x" * 30_000,) * 2])
def test_a_body_is_read_whole(pieces):
    made = intake()
    assert read(made, *pieces) == b"".join(pieces)
    assert made.held == 0


def test_a_body_that_is_announced_too_long_is_refused_unread():
    told = refused(intake(), b"x", headers=[*length(LIMIT + 1), (b"expect", b"100-continue")], then=never)
    assert told.status == 413
    assert told.message == "the body is longer than 66536 bytes: send fewer rows in each request"
    assert told.headers == {"connection": "close"}


@pytest.mark.parametrize("announced", ["9" * 30, "66537"])
def test_a_length_of_any_size_is_understood(announced):
    assert refused(intake(), b"", headers=[(b"content-length", announced.encode())]).status == 413


def test_chunks_without_end_are_refused():
    told = refused(intake(), b"x", then=endlessly)
    assert (told.status, told.headers["connection"]) == (413, "close")


def test_a_body_that_does_not_come_is_refused_in_time():
    began = time.monotonic()
    told = refused(intake(patience_s=0.2), b"x", then=never)
    assert (told.status, told.code, told.headers["connection"]) == (408, "REQUEST_TIMEOUT", "close")
    assert time.monotonic() - began < 2


@each("header", ["Content-Encoding", "Transfer-Encoding"])
@each(("given", "named"), [("gzip", "gzip"), ("BR", "BR"), ("identity, zstd", "zstd"), ("x" * 99, "x")])
def test_a_body_that_must_be_decoded_is_refused_by_the_name_of_its_encoding(header, given, named):
    refusal = refused(intake(), b"{}", headers=[(header.lower().encode(), given.encode())])
    assert refusal.status == 415
    assert f"is encoded as '{named}" in refusal.message
    assert f"without {header}" in refusal.message


@pytest.mark.parametrize(
    "given", [(b"content-encoding", b"identity"), (b"content-encoding", b""), (b"transfer-encoding", b"chunked")]
)
def test_a_body_that_is_as_it_is_may_say_so(given):
    assert read(intake(), b"{}", headers=[given]) == b"{}"


def test_drops_do_not_win_time():
    async def drop():
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": b"x", "more_body": True}

    began = time.monotonic()
    assert refused(intake(patience_s=0.3), b"x", then=drop).status == 408
    assert time.monotonic() - began < 2


def test_a_client_that_goes_leaves_nothing_behind():
    made = intake()
    with pytest.raises(ClientDisconnect):
        read(made, b"x" * LIMIT, then=gone)
    assert made.held == 0


def test_all_bodies_together_are_bounded_until_they_are_given_back():
    async def hold():
        made, long, short = intake(), b"x" * (LIMIT - 100), b"x" * FREE_BYTES
        async with made.body(request(long)), made.body(request(long)):
            assert made.held == 1800
            with pytest.raises(Refusal) as told:
                await made.read(request(long))
            assert made.held == 1800
            assert await made.read(request(short)) == short
        assert await made.read(request(long)) == long
        assert made.held == 0
        return told.value

    told = asyncio.run(hold())
    assert (told.status, told.code) == (429, "REQUEST_LIMIT_EXCEEDED")
    assert told.headers == {"retry-after": "1"}  # all of it has been read, so the connection is kept


@pytest.mark.parametrize(
    ("headers", "first", "room"),
    [
        (length(LIMIT - 600), b"x", 400),
        ((), b"x" * FREE_BYTES, 0),
        ((), b"x" * (FREE_BYTES + 1), 1000),
    ],
    ids=["announced", "short so far", "long, with no end in sight"],
)
def test_room_is_kept_for_what_may_come(headers, first, room):
    async def look():
        made = intake()
        task = asyncio.create_task(made.read(request(first, headers=headers, then=never)))
        await asyncio.sleep(0.05)
        held = made.held
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return held, made.held

    assert asyncio.run(look()) == (room, 0)


def test_a_request_that_fails_gives_its_body_back():
    async def fail(made):
        async with made.body(request(b"x" * LIMIT)):
            raise ValueError

    made = intake()
    with pytest.raises(ValueError, match=r"^$"):
        asyncio.run(fail(made))
    assert made.held == 0


@pytest.fixture(scope="module")
def server():
    """Run a server that takes 2 MiB at most, and tell its port and what it holds."""
    made = Intake(body_bytes=2 * MIB, total_bytes=6 * MIB, patience_s=PATIENCE_S)

    async def count(request):
        return PlainTextResponse(str(len(await made.read(request))))

    app = Guard(Starlette(routes=[Route("/", count, methods=["POST"])]), Access(), lambda _route, _status: None)
    with listening(app) as port:
        yield port, made


@contextlib.contextmanager
def connection(port, head):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall(f"POST / HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n".encode())
        yield line


def answer(line):
    """Return the status and the error code of an answer after which the server hangs up."""
    text = b""
    with contextlib.suppress(ConnectionResetError):  # after the answer, to one who still sends
        while piece := line.recv(2**16):
            text += piece
    head, _, body = text.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error_code"]


@pytest.mark.parametrize("mebibytes", [3, 9])
def test_a_client_that_sends_too_much_reads_why(server, mebibytes):
    port, _ = server
    told = httpx.post(f"http://127.0.0.1:{port}/", content=b"x" * (mebibytes * MIB), timeout=20)
    assert (told.status_code, told.json()["error_code"]) == (413, "REQUEST_TOO_LARGE")
    assert told.headers["connection"] == "close"


def test_a_client_that_waits_to_be_asked_is_not_asked_for_too_much(server):
    with connection(server[0], f"Content-Length: {2**40}\r\nExpect: 100-continue") as line:
        assert answer(line) == (413, "REQUEST_TOO_LARGE")


def test_a_client_that_announces_too_much_and_sends_nothing_is_refused_early(server):
    began = time.monotonic()
    with connection(server[0], f"Content-Length: {2**40}") as line:
        assert answer(line) == (413, "REQUEST_TOO_LARGE")
    assert time.monotonic() - began < 5


def test_a_client_that_sends_chunks_without_end_is_hung_up_on(server):
    chunk = f"{2**16:x}\r\n".encode() + b"x" * 2**16 + b"\r\n"
    sent = 0
    with connection(server[0], "Transfer-Encoding: chunked") as line, contextlib.suppress(OSError):
        while sent < 64 * MIB:
            line.sendall(chunk)
            sent += 2**16
    assert sent < 16 * MIB


def test_a_slow_client_is_refused_and_hung_up_on(server):
    with connection(server[0], "Content-Length: 10") as line:
        line.sendall(b"abc")
        assert answer(line) == (408, "REQUEST_TIMEOUT")


def test_a_client_that_goes_away_leaves_no_trace(server, caplog):
    port, made = server
    with caplog.at_level(logging.INFO):
        with connection(port, "Content-Length: 10") as line:
            line.sendall(b"abc")
        assert httpx.post(f"http://127.0.0.1:{port}/", content=b"ok", timeout=20).text == "2"
        while made.held:
            time.sleep(0.01)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_fifty_slow_clients_take_no_memory_and_hold_up_nobody(server):
    port, made = server
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        tracemalloc.start()
        stack.callback(tracemalloc.stop)
        lines = [stack.enter_context(connection(port, f"Content-Length: {2 * MIB}")) for _ in range(50)]
        senders = [threading.Thread(target=send_most, args=(line,)) for line in lines]
        for sender in senders:
            sender.start()
        while made.held < 4 * MIB and time.monotonic() < began + PATIENCE_S:
            time.sleep(0.01)
        held = made.held
        began = time.monotonic()
        assert httpx.post(f"http://127.0.0.1:{port}/", content=b"x" * FREE_BYTES, timeout=20).text == str(FREE_BYTES)
        waited = time.monotonic() - began
        codes = [answer(line) for line in lines]
        for sender in senders:
            sender.join()
        peak = tracemalloc.get_traced_memory()[1]
    assert set(codes) == {(408, "REQUEST_TIMEOUT"), (429, "REQUEST_LIMIT_EXCEEDED")}
    assert 4 * MIB <= held <= 6 * MIB
    assert waited < PATIENCE_S  # it did not wait for them to be refused
    assert peak < 32 * MIB
    assert made.held == 0


def send_most(line):
    """Send all of a body but its end."""
    with contextlib.suppress(OSError):
        line.sendall(MOST)
