"""What comes on a connection is bounded in length and time, and what is no HTTP is refused in our own words."""

import asyncio
import contextlib
import functools
import itertools
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import uvicorn

from spamctl.serving.access import HEADERS
from spamctl.serving.limits import (
    MADE_ROOM,
    MOST_BYTES,
    MOST_LINES,
    NO_HTTP,
    NO_ROOM,
    OVERDUE,
    SPARE,
    Connection,
    ConnectionLimiter,
    Timeouts,
)
from spamctl.serving.log import EventCounters

PATIENCE_S = 1
PATIENCE = Timeouts(idle_s=PATIENCE_S, request_s=PATIENCE_S, answer_s=PATIENCE_S, last_s=PATIENCE_S)
START = b"POST /invocations HTTP/1.1\r\nhost: localhost\r\n"
GET = b"GET %s HTTP/1.1\r\nhost: localhost\r\n\r\n"
CHUNKED = b"%s %s HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
LONG = 64 * 2**20


async def app(scope, receive, send):
    """Answer with the path, at once, after the body, late, or at length."""
    path, told = scope["path"].encode(), b""
    if path not in {b"/soon", b"/long"}:
        while (message := await receive()).get("more_body"):
            told += message["body"]
        if message["type"] == "http.disconnect":
            return
        told += message["body"]
    if path == b"/late":
        await asyncio.sleep(2 * PATIENCE_S)
    text = {b"/echo": told, b"/headers": repr(scope["headers"]).encode()}.get(path, path)
    length = LONG if path == b"/long" else len(text)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % length)]})
    for _ in range(LONG >> 20 if path == b"/long" else 0):
        await send({"type": "http.response.body", "body": b"x" * 2**20, "more_body": True})
    await send({"type": "http.response.body", "body": b"" if path == b"/long" else text})


@contextlib.contextmanager
def listening(door, loop="uvloop"):
    """Serve in a thread with a door, and lend the port."""
    making = functools.partial(Connection, door)
    config = uvicorn.Config(app, http=making, loop=loop, lifespan="off", ws="none", log_config=None)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module", params=[pytest.param("asyncio", marks=pytest.mark.long), "uvloop"])
def port(request):
    """Return the port of a server with a second of patience, on each of the loops that it may run on."""
    with listening(ConnectionLimiter(patience=PATIENCE), request.param) as port:
        yield port


def spoken(port, *pieces, pause=0.0):
    """Send pieces; return the status, the body and the seconds until the server hung up."""
    began, told = time.monotonic(), b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        try:
            for piece in pieces:
                line.sendall(piece)
                time.sleep(pause)
            while piece := line.recv(65536):
                told += piece
        except (BrokenPipeError, ConnectionResetError):
            pass
    head, _, body = told.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else 0, body, time.monotonic() - began


def test_a_head_that_ends_is_answered_and_the_next_one_too(port):
    whole = START + b"content-length: 0\r\n\r\n"
    assert spoken(port, whole)[:2] == (200, b"/invocations")
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        for _ in range(2):
            line.sendall(whole)
            told = b""
            while not told.endswith(b"\r\n\r\n/invocations"):
                told += line.recv(65536)
            time.sleep(PATIENCE_S * 0.7)  # together longer than one head may take


@pytest.mark.parametrize(("pieces", "status"), [((START,), 408), ((START, *[b"x: y\r\n"] * 5), 408), ((), 0)])
def test_a_head_that_does_not_end_is_given_up(port, pieces, status):
    found, body, seconds = spoken(port, *pieces, pause=0.1)
    assert found == status
    assert not body or json.loads(body)["error_code"] == "REQUEST_TIMEOUT"
    assert PATIENCE_S * 0.9 <= seconds < PATIENCE_S * 12


@pytest.mark.parametrize(
    "pieces", [[b"x" * 1000 + b": y\r\n"] * 100, [b"x: " + b"y" * 2 * MOST_BYTES], [b"y" * 2 * MOST_BYTES]]
)
def test_a_head_without_end_is_refused_before_it_fills_the_memory(port, pieces):
    status, body, seconds = spoken(port, START, b"".join(pieces))
    assert (status, json.loads(body)["message"]) == (400, "the head of the request is longer than 64 KiB")
    assert seconds < PATIENCE_S * 8


def test_a_long_body_beside_its_head_is_none_of_its_length(port):
    body = b"x" * 4 * MOST_BYTES
    assert spoken(port, START + b"content-length: %d\r\n\r\n" % len(body) + body)[0] == 200


@pytest.mark.parametrize("noise", [b"\x16\x03\x01\x02\x00\x01\x00", b"hello\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"])
def test_what_is_no_http_is_refused_as_json(port, noise):
    status, body, _ = spoken(port, noise)
    assert status == 400
    assert json.loads(body).keys() == {"error_code", "message", "request_id"}
    assert json.loads(body)["error_code"] == "BAD_REQUEST"


@pytest.mark.parametrize("number", [MOST_LINES - 9, MOST_LINES + 1, MOST_BYTES])
def test_the_lines_of_a_head_are_counted_for_each_costs_more_than_its_length(port, number):
    head = START + b"x-padding: " + b"x" * 8192 + b"\r\n" + b"a: b\r\n" * number
    status, body, _ = spoken(port, head, b"content-length: 0\r\n\r\n", pause=0.1)
    assert (status, b"header lines" in body) == ((400, True) if number > MOST_LINES else (200, False))


def test_a_refusal_carries_the_headers_that_keep_a_browser_safe(port):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall(b"hello\r\n\r\n")
        head = whole(line).partition(b"\r\n\r\n")[0].decode().lower()
    assert {f"{name}: {value}".lower() for name, value in HEADERS.items()} <= set(head.split("\r\n"))
    assert "x-request-id: " in head


# What is around a body


def whole(line):
    """Read until the server hangs up."""
    told = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := line.recv(65536):
            told += piece
    return told


def pushed(port, start, more, *, most=2**26):
    """Send a start and then more of the same until the server will not have it; return how much, and what it said."""
    sent = 0
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            line.sendall(start)
            while sent < most:
                line.sendall(more)
                sent += len(more)
        return sent, whole(line)


AROUND = {
    "trailers": (b"0\r\n", b"x-trailer: y\r\n" * 1000),
    "one trailer": (b"0\r\nx: ", b"y" * 16000),
    "a trailer's name": (b"0\r\n", b"y" * 16000),
    "trailers after a body": (b"5\r\nhello\r\n0\r\n", b"x-trailer: y\r\n" * 1000),
    "an extension": (b"5;x=", b"y" * 16000),
    "extensions": (b"", b"1;" + b"y" * 16000 + b"\r\nx\r\n"),
    "a size of zeros": (b"", b"0" * 16000),
}


@pytest.mark.parametrize(("start", "more"), AROUND.values(), ids=AROUND)
def test_what_is_around_a_body_has_an_end(port, start, more):
    asked = [CHUNKED % both for both in itertools.product([b"GET", b"POST", b"DELETE", b"PATCH"], [b"/soon", b"/echo"])]
    with ThreadPoolExecutor(len(asked)) as threads:
        for sent, told in threads.map(lambda one: pushed(port, one + start, more), asked):
            assert sent < 2**25  # what the system's own buffers hold is sent, and not read
            assert not told or told.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 200 "))


def test_small_chunks_extensions_and_trailers_are_no_fault(port):
    body = b"".join(b"1;a=b\r\n%c\r\n" % letter for letter in b"hello" * 5000)
    status, told, _ = spoken(
        port, CHUNKED % (b"POST", b"/echo") + body, b"0\r\nx: y\r\n\r\n" + GET % b"/", b"", pause=PATIENCE_S / 4
    )
    assert (status, told[:25000]) == (200, b"hello" * 5000)
    assert told.endswith(b"\r\n\r\n/")


def test_a_trailer_becomes_no_header(port):
    asked = CHUNKED % (b"POST", b"/headers") + b"0\r\nauthorization: Bearer x\r\n\r\n"
    assert b"authorization" not in spoken(port, asked)[1]


# What a client may do beside asking


HELD = {
    "a byte of a body": (b"GET /soon HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n", b"x"),
    "a piece of a chunk": (CHUNKED % (b"GET", b"/soon"), b"ff\r\nx"),
    "a piece of a trailer": (CHUNKED % (b"GET", b"/soon"), b"0\r\nx"),
    "nothing": (GET % b"/", b""),
    "an empty line": (GET % b"/", b"\r\n"),
    "a piece of a head": (GET % b"/", b"GET / HT"),
}


@pytest.mark.parametrize(("asked", "more"), HELD.values(), ids=HELD)
def test_a_connection_that_was_answered_is_not_held_for_ever(port, asked, more):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall(asked)
        assert line.recv(65536)
        began = time.monotonic()
        while time.monotonic() < began + 12 * PATIENCE_S:
            try:
                line.sendall(more[:1] if b"body" in asked else more)
                more = b"\r\n" if more == b"\r\n" else more[:0]
                line.settimeout(0.1)
                if not whole(line):
                    break
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                break
        assert PATIENCE_S * 0.9 < time.monotonic() - began < 10 * PATIENCE_S


@pytest.mark.parametrize("times", [1, 50])
def test_who_does_not_take_an_answer_is_sent_away(times):
    door = ConnectionLimiter(patience=PATIENCE)
    with listening(door) as port, socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall(GET % b"/long" * times)
        until(lambda: door._guests)
        until(lambda: not door._guests)
        assert len(whole(line)) < LONG
        assert [*door.occasions.lines()] == [f"{OVERDUE}: 1"]


def until(true, within_s=20):
    """Wait until something is true."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_a_client_that_says_no_more_gets_its_answers(port):
    for asked, answers in ((GET % b"/late", 1), (GET % b"/" * 500, 500), (b"GET / HTTP/1.0\r\n\r\n", 1)):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
            line.sendall(asked)
            line.shutdown(socket.SHUT_WR)
            assert whole(line).count(b"HTTP/1.1 200 ") == answers


def test_an_answer_comes_in_one_piece(port):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        for _ in range(50):
            line.sendall(GET % b"/soon")
            assert line.recv(65536).endswith(b"\r\n\r\n/soon")
        line.sendall(b"HEAD /soon HTTP/1.1\r\nhost: x\r\n\r\n" + b"noise\r\n\r\n")
        assert [piece[:3] for piece in whole(line).split(b"HTTP/1.1 ")[1:]] == [b"200", b"400"]


# Pipelining, and other versions


def test_many_requests_on_one_connection_are_answered_in_their_order(port):
    bodies = [b"%d" % number * (number % 7) for number in range(3000)]
    asked = [b"PUT /echo HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body for body in bodies]
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        threading.Thread(target=line.sendall, args=(b"".join(asked) + GET % b"/last",)).start()
        told = b""
        while not told.endswith(b"\r\n\r\n/last"):
            told += line.recv(65536)
    assert [answer.partition(b"\r\n\r\n")[2] for answer in told.split(b"HTTP/1.1 200 OK\r\n")[1:-1]] == bodies


def test_few_requests_wait_and_the_rest_is_left_unread():
    door = ConnectionLimiter(patience=PATIENCE)
    with listening(door) as port, socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall(GET % b"/late")
        until(lambda: door._guests)
        (guest,) = door._guests
        line.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < 2**26:
                sent += line.send(GET % b"/" * 1000)
        assert sent < 2**24  # the system's own buffers are full
        until(lambda: len(guest.pipeline) > 1)
        most = 0
        for _ in range(100):
            most = max(most, len(guest.pipeline), len(guest._unparsed) >> 12)
            time.sleep(0.01)
        assert 1 < most < 300


def test_noise_behind_a_request_is_refused_after_its_answer(port):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall(GET % b"/late" + GET % b"/" + b"noise\r\n\r\n")
        told = whole(line)
    assert [piece[:3] for piece in told.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"400"]


UPGRADES = {
    "h2c": b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
    "websocket": b"connection: keep-alive, Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n",
    "TLS": b"upgrade: TLS/1.0\r\nconnection: upgrade\r\n",
}


@pytest.mark.parametrize("upgrade", UPGRADES.values(), ids=UPGRADES)
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_a_wish_for_another_protocol_is_passed_over(port, upgrade, step):
    head = b"POST /echo HTTP/1.1\r\nhost: x\r\n" + upgrade
    asked = head + b"content-length: 5\r\n\r\nhello"
    asked += head + b"transfer-encoding: chunked\r\n\r\n3\r\nyou\r\n0\r\n\r\n"
    asked += b"GET /headers HTTP/1.1\r\n" + upgrade + b"x: y\r\n\r\n" + GET % b"/last"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(asked), step):
            line.sendall(asked[at : at + step])
        told = b""
        while not told.endswith(b"\r\n\r\n/last"):
            told += line.recv(65536)
    bodies = [answer.partition(b"\r\n\r\n")[2] for answer in told.split(b"HTTP/1.1 200 OK\r\n")[1:]]
    assert bodies[:2] == [b"hello", b"you"]
    assert b"(b'x', b'y')" in bodies[2]
    assert len(bodies) == 4


def test_a_thousand_wishes_for_another_protocol_are_passed_over(port):
    asked = (b"GET / HTTP/1.1\r\n" + UPGRADES["h2c"] + b"\r\n") * 1000
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        threading.Thread(target=line.sendall, args=(asked + GET % b"/last",)).start()
        told = b""
        while not told.endswith(b"\r\n\r\n/last"):
            told += line.recv(65536)
    assert told.count(b"HTTP/1.1 200 OK") == 1001


@pytest.mark.parametrize(
    ("noise", "status"),
    [
        (b"CONNECT example.org:443 HTTP/1.1\r\nhost: x\r\n\r\n", 405),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET /%s HTTP/1.1\r\nhost: x\r\n\r\n" % "\xe9".encode(), 400),
    ],
)
def test_what_asks_for_no_page_of_ours_is_refused(port, noise, status):
    assert spoken(port, noise)[0] == status


# Many connections


def test_a_new_connection_takes_the_place_of_the_one_that_waits_for_longest():
    door = ConnectionLimiter(most=20)
    with listening(door) as port, contextlib.ExitStack() as stack:
        held = []
        for number in range(100):
            line = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
            line.sendall((HELD["a byte of a body"][0] + b"x", GET % b"/", START, b"\r\n")[number % 4])
            assert number % 4 > 1 or line.recv(65536).startswith(b"HTTP/1.1 200 ")
            held.append(line)
        assert spoken(port, GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n") % b"/")[0] == 200
        until(lambda: len(door._guests) <= 20)
        assert [*door.occasions.lines()] == [f"{MADE_ROOM}: 81"]
        held[-2].sendall(b"content-length: 0\r\n\r\n")  # the last ones are still there
        assert held[-2].recv(65536).startswith(b"HTTP/1.1 200 ")


def test_no_answer_that_is_being_made_gives_way_and_there_are_spare_places_for_who_asks_for_life():
    door = ConnectionLimiter(most=20)
    with listening(door) as port, contextlib.ExitStack() as stack:
        at_work = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20)) for _ in range(20)]
        for line in at_work:
            line.sendall(GET % b"/late")
        until(lambda: sum(guest._is_at_work() for guest in door._guests) == 20)
        assert spoken(port, GET % b"/soon" + b"noise\r\n\r\n")[0] == 200
        for taken in range(21, 20 + SPARE + 1):  # one after the other: who has not asked yet makes room for the next
            line = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
            line.sendall(GET % b"/late")
            until(lambda taken=taken: sum(guest._is_at_work() for guest in door._guests) == taken)
        assert spoken(port)[0] == 0
        assert f"{NO_ROOM}: 1" in [*door.occasions.lines()]
        for line in at_work:
            assert line.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_noise_is_counted_and_told_of_once_in_a_while(caplog):
    now = [100.0]
    door = ConnectionLimiter(occasions=EventCounters(10, lambda: now[0]))
    with listening(door) as port:
        for number, line in enumerate((f"{NO_HTTP}: 5", "", f"{NO_HTTP}: 10 in 10 s")):
            for _ in range(5):
                assert spoken(port, b"noise\r\n\r\n")[0] == 400
            now[0] = 100.0 + 5 * number
            assert "".join(door.occasions.lines()) == line
    assert not [record for record in caplog.records if record.levelname != "INFO"]
