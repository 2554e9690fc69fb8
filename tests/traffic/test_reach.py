"""A server that is not there, and a token that is none, are said before anything is drawn or sent."""

import os
import time

import pytest

from spamctl.errors import UnavailableError, UsageError
from spamctl.traffic import reach
from tests.each import each
from tests.ports import closed_port, silent_port


def test_nobody_at_an_address_is_said_at_once():
    uri = f"http://127.0.0.1:{closed_port()}/invocations"
    began = time.monotonic()
    started = f"spamctl serve --port {uri.partition('1:')[2].partition('/')[0]}"
    with pytest.raises(UnavailableError, match=rf"--target-uri {uri}: no server listens there .*{started}, or"):
        reach.require_listening(uri)
    assert time.monotonic() - began < 2


def test_a_host_that_does_not_exist_is_said_in_words():
    with pytest.raises(UnavailableError, match=r"no server listens there \(\w[^\n]*\)"):
        reach.require_listening("http://no-such-host.invalid/invocations")


def test_whoever_listens_may_be_asked():
    with silent_port() as port:
        reach.require_listening(f"http://127.0.0.1:{port}/invocations")


def test_a_token_comes_from_the_file_then_from_the_variable(tmp_path, monkeypatch):
    assert reach.read_token("none", os.environ) == ""
    monkeypatch.setenv("SPAMCTL_SERVE_TOKEN", "from-the-variable")
    assert reach.read_token("none", os.environ) == "from-the-variable"
    (tmp_path / "token").write_text(" from-the-file\n")
    assert reach.read_token("token", os.environ) == "from-the-file"


@pytest.mark.parametrize("content", [b"", b" \n", b"two words", "é".encode(), b"\xff", b"a\x00b", b"a\nb"])
def test_what_can_be_no_token_is_refused_without_showing_it(content, tmp_path):
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(UsageError, match=r"^--token-file token: [ -~]+$") as refused:
        reach.read_token("token", os.environ)
    assert not content.strip() or content.decode("latin-1") not in str(refused.value)


def test_a_token_file_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match="--token-file nowhere: cannot be read: No such file"):
        reach.read_token("nowhere", os.environ)


@each(
    ("uri", "command"),
    [
        ("http://127.0.0.1:8080/invocations", "spamctl serve"),
        ("http://localhost:8181/invocations", "spamctl serve --port 8181"),
        ("http://spam.example:8181/invocations", "spamctl serve"),
        ("https://spam.example/invocations", "spamctl serve"),
    ],
)
def test_a_server_is_started_at_the_port_that_was_typed(uri, command):
    assert reach.start_of(uri) == command
