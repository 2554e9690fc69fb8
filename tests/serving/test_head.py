"""The head of a request is bounded in length and time, and what is no HTTP is refused in our own words."""

import asyncio
import json
import socket
import threading
import time

import pytest
import uvicorn

from spamctl.serving.head import MOST_BYTES, BoundedHead

PATIENCE_S = 1
START = b"POST /invocations HTTP/1.1\r\nhost: localhost\r\n"


async def app(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture(scope="module")
def port():
    """Serve in a thread, with a second of patience, and return the port."""
    server = uvicorn.Server(
        uvicorn.Config(app, http=BoundedHead, timeout_keep_alive=PATIENCE_S, lifespan="off", ws="none", log_config=None)
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


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
    assert spoken(port, whole)[:2] == (200, b"ok")
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        for _ in range(2):
            line.sendall(whole)
            told = b""
            while not told.endswith(b"\r\n\r\nok"):
                told += line.recv(65536)
            time.sleep(PATIENCE_S * 0.7)  # together longer than one head may take


@pytest.mark.parametrize(("pieces", "status"), [((START,), 408), ((START, *[b"x: y\r\n"] * 5), 408), ((), 0)])
def test_a_head_that_does_not_end_is_given_up(port, pieces, status):
    found, body, seconds = spoken(port, *pieces, pause=0.1)
    assert found == status
    assert not body or json.loads(body)["error_code"] == "REQUEST_TIMEOUT"
    assert PATIENCE_S * 0.9 <= seconds < PATIENCE_S * 8


@pytest.mark.parametrize(
    "pieces", [[b"x" * 1000 + b": y\r\n"] * 100, [b"x: " + b"y" * 2 * MOST_BYTES], [b"x: y\r\n"] * MOST_BYTES]
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
