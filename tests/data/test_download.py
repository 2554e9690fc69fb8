"""A download ends in time and in size, whatever the server does."""

import socket
import threading
import time

import pytest

from spamctl.data.bundled_sets import FEW_SECONDS, Limits, fetch
from spamctl.errors import UnavailableError
from tests.each import each

IMPATIENT = Limits(first_byte=1.0, whole=1.5, size=100_000)


def wait(handler):
    handler.server.ended.wait(30)


def drip(handler):
    """Send one byte at a time, each in time."""
    handler.send_response(200)
    handler.end_headers()
    while not handler.server.ended.wait(0.05):
        handler.wfile.write(b".")


def flood(handler):
    """Send without end."""
    handler.send_response(200)
    handler.end_headers()
    while not handler.server.ended.is_set():
        handler.wfile.write(b"." * 65536)


def redirect(handler):
    if handler.path == "/there":
        handler.send(b"moved")
    else:
        handler.send(b"", status=302, Location="/there")


def break_off(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "8")
    handler.end_headers()
    handler.wfile.write(b"half")


def test_a_whole_answer_comes_back(serve):
    assert fetch(serve(lambda handler: handler.send(b"x" * 90_000)).url, IMPATIENT) == b"x" * 90_000


def test_an_empty_answer_is_an_answer(serve):
    assert fetch(serve(lambda handler: handler.send(b"")).url, IMPATIENT) == b""


def test_a_redirect_is_followed(serve):
    assert fetch(serve(redirect).url, IMPATIENT) == b"moved"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (wait, "no answer within 1 s|timed out"),
        (drip, "no complete answer within 1.5 s"),
        (flood, "more than 100,000 bytes"),
        (break_off, "peer closed connection"),
        (lambda handler: handler.send(b"gone", status=404), "404"),
        (lambda handler: handler.send(b"x" * 100_001), "more than 100,000 bytes"),
    ],
)
def test_what_does_not_arrive_is_said_soon(serve, answer, reason):
    server = serve(answer)
    started = time.perf_counter()
    with pytest.raises(UnavailableError, match=reason):
        fetch(server.url, IMPATIENT)
    assert time.perf_counter() - started < 3


def test_a_server_that_is_given_up_is_left(serve):
    server = serve(flood)
    with pytest.raises(UnavailableError, match="more than"):
        fetch(server.url, IMPATIENT)
    assert server.deserted.wait(5)


@each("url", ["http://127.0.0.1:1/", "http://no.such.host.invalid/", "ftp://127.0.0.1/", "http://[", "no address"])
def test_an_address_that_cannot_be_reached_is_said_soon(url):
    started = time.perf_counter()
    with pytest.raises(UnavailableError, match=r"\w"):
        fetch(url, IMPATIENT)
    assert time.perf_counter() - started < 3


def test_a_name_that_is_looked_up_for_ever_is_given_up(monkeypatch):
    over = threading.Event()

    def look_up(*_, **__):
        over.wait(30)
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    started = time.perf_counter()
    with pytest.raises(UnavailableError, match="no answer within 1 s"):
        fetch("http://localhost/", IMPATIENT)
    assert time.perf_counter() - started < 3
    over.set()


def test_the_wait_is_a_few_seconds():
    assert FEW_SECONDS.first_byte <= 5
    assert FEW_SECONDS.whole <= 20
