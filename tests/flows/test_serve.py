"""The champion is served as a user would start it, follows its alias, and stops without leaving anything behind."""

import contextlib
import os
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
import time

import httpx
import pytest

from tests.canary import leaks
from tests.flows.conftest import Desk
from tests.mlflow_loaded import load_mlflow
from tests.ports import closed_port
from tests.registered import point, register

SECONDS = 120
TOKEN = "a-token-of-32-characters-for-this"
WINNER = "You are a winner you have been specially selected to receive $1000 cash or a $2000 award."


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """Stand in a folder with two registered versions, of which the first is the champion."""
    load_mlflow()
    folder = tmp_path_factory.mktemp("serve")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        register(0.5, "champion")
        register(0.6)
    return Desk(folder)


@contextlib.contextmanager
def serving(desk, *words, **variables):
    """Run `spamctl serve` until the block ends; give its address and its process."""
    port = closed_port()
    process = desk.start("-m", "spamctl", "serve", "--port", str(port), *words, **variables)
    address = f"http://127.0.0.1:{port}"
    try:
        until(lambda: "Try it:" in desk.out or process.poll() is not None)
        assert process.poll() is None, desk.err
        yield address, process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(SECONDS)


def until(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def children_of(pid):
    """Return the processes that another one has started, and theirs."""
    listing = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listing.splitlines()]
    found, waiting = set(), {pid}
    while waiting:
        parents, waiting = waiting, set()
        waiting = {child for child, parent in pairs if parent in parents} - found
        found |= waiting
    return found


def is_there(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def stored(desk):
    with contextlib.closing(sqlite3.connect(desk.path("spam.db"))) as connection:
        return connection.execute("SELECT COUNT(*) FROM data;").fetchone()[0]


def ask(address, text=WINNER):
    answer = httpx.post(f"{address}/invocations", json={"inputs": [{"text": text}]}, timeout=60)
    assert answer.status_code == 200, answer.text
    (prediction,) = answer.json()["predictions"]
    return prediction


def test_the_printed_line_works_the_alias_is_followed_and_nothing_is_left(desk):
    with serving(desk, "--follow-seconds", "1") as (address, process):
        greeting = " ".join(desk.out.split())
        assert f"Serving spam version 1, the champion on {address}" in greeting
        assert "stored in spam.db" in greeting
        command = desk.out.partition("Try it:\n")[2].strip()
        assert WINNER in command
        done = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=60, check=True)
        assert '"captured": true' in done.stdout
        assert ask(address)["model_version"] == "1"
        assert stored(desk) == 2
        point_in(desk, "2")
        until(lambda: ask(address)["model_version"] == "2")
        assert httpx.get(f"{address}/version").json()["model_version"] == "2"
        until(lambda: "now serving spam version 2 (before: 1)" in desk.err)
        children = children_of(process.pid)
        assert children
    assert process.returncode == 0
    until(lambda: not any(map(is_there, children)))
    assert re.search(r"\d+ answered, \d+% spam, p50 \d+ ms, p99 \d+ ms", desk.err)
    assert WINNER not in desk.err
    assert stored(desk) >= 3


def point_in(desk, version):
    """Move the champion in the folder of a desk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(desk.folder)
        point("champion", version)


def test_several_workers_ask_for_the_token_and_end_with_ctrl_c(desk):
    words = ("--workers", "2", "--model-version", "1", "--capture", "off")
    with serving(desk, *words, SPAMCTL_SERVE_TOKEN=TOKEN) as (address, process):
        assert "2 processes" in " ".join(desk.out.split())
        assert TOKEN not in desk.out
        assert httpx.post(f"{address}/invocations", json={"inputs": ["ok"]}).status_code == 401
        with httpx.Client(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60) as client:
            for _ in range(8):
                answer = client.post(f"{address}/invocations", json={"inputs": ["ok"]})
                assert answer.json()["predictions"][0]["captured"] is False
            figures = client.get(f"{address}/metrics").text
        assert re.search(r'spamctl_rows_total\{verdict="(not )?spam",version="1"\} 8\.0', figures)
        children = children_of(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130
    until(lambda: not any(map(is_there, children)))
    assert TOKEN not in desk.err
    assert leaks(desk.folder, TOKEN) == []


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (
            ("--model-name", "other"),
            2,
            "--model-name other: no model of this name is registered here; type spamctl train",
        ),
        (("--model-version", "7"), 2, "--model-version 7: spam has no version 7; there are the versions 1, 2"),
    ],
)
def test_what_is_not_registered_is_refused_in_one_line(desk, words, code, line):
    process = desk.start("-m", "spamctl", "serve", "--port", str(closed_port()), *words)
    assert process.wait(SECONDS) == code
    assert line in desk.err.splitlines()[-1]
    assert "Traceback" not in desk.err


def test_a_registry_that_is_down_is_said_within_seconds(desk):
    began = time.monotonic()
    registry = f"http://127.0.0.1:{closed_port()}"
    process = desk.start("-m", "spamctl", "serve", "--port", str(closed_port()), MLFLOW_TRACKING_URI=registry)
    assert process.wait(SECONDS) == 1
    assert "the tracking server does not answer" in desk.err.splitlines()[-1]
    assert "Traceback" not in desk.err
    assert time.monotonic() - began < 60


def refused(desk, *words, **variables):
    """Return the exit code and the last line of a server that cannot start, and says so before it finds a model."""
    process = desk.start("-m", "spamctl", "serve", *words, **variables)
    code = process.wait(SECONDS)
    assert "[1/2]" not in desk.err
    return code, desk.err.splitlines()[-1]


def test_an_address_that_others_reach_needs_a_token(desk):
    code, line = refused(desk, "--host", "0.0.0.0", "--port", str(closed_port()))
    assert code == 2
    assert "others can reach it and no token is set" in line


@pytest.mark.parametrize("token", ["short", "with a blank in the middle of it", "schlüssel-der-lang-genug-wäre"])
def test_a_token_that_protects_nothing_is_refused_and_not_shown(desk, token):
    code, line = refused(desk, SPAMCTL_SERVE_TOKEN=token)
    assert code == 2
    assert "SPAMCTL_SERVE_TOKEN: must hold at least 16 ASCII characters" in line
    assert token not in line


def test_a_token_file_that_is_not_there_is_refused(desk):
    assert refused(desk, "--token-file", "nowhere.txt") == (
        2,
        "spamctl: --token-file nowhere.txt: cannot be read: No such file or directory",
    )


def test_a_port_that_is_taken_is_refused(desk):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, line = refused(desk, "--port", port)
    assert code == 2
    assert f"--port {port}: is not available on 127.0.0.1: Address already in use; choose another" in line


def test_a_store_that_is_none_is_refused_and_not_touched(desk):
    file = desk.path("notes.txt")
    file.write_text("milk, bread")
    code, line = refused(desk, "--port", str(closed_port()), "--datastore-uri", "notes.txt")
    assert code == 2
    assert "notes.txt: it is not a SQLite database" in line
    assert file.read_text() == "milk, bread"


def test_a_password_in_the_address_of_the_store_is_told_to_nobody(desk):
    address = f"postgresql://me:canary-7f3@127.0.0.1:{closed_port()}/spam"
    code, line = refused(desk, "--port", str(closed_port()), "--datastore-uri", address)
    assert code == 2
    assert "does not answer" in line
    assert "canary" not in desk.err + desk.out
    assert leaks(desk.folder, "canary-7f3") == []
