"""The workflow of README, from an MLflow server to a monitored filter, works as it is printed.

It runs on a small data set and a tiny model, which variables choose, and on ports that nobody else uses.
"""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import tiny_models
from tests.flows.conftest import SECONDS, kill_family, write_messages
from tests.made_once import lay_store
from tests.ports import closed_port

README = Path(__file__).parents[2] / "README.md"
STAYS_OPEN = {"mlflow server": 5001, "spamctl serve": 8080, "spamctl cards": 8324}  # each with its port
ANSWERS = {"spamctl monitor --datastore-uri spam.db": {0, 3}}  # whatever it makes of messages of today
SMALL = {
    "SPAMCTL_TRAIN_DATASET": "messages.csv",
    "SPAMCTL_TRAIN_BASE_MODEL": "tiny-gpt2",
    "SPAMCTL_TRAIN_DEPTH": "2",
    "SPAMCTL_TRAIN_EPOCHS": "1",
    "SPAMCTL_TRAFFIC_DATASET": "messages.csv",
}


def blocks():
    """Return the commands of each block that the section prints, without their comments."""
    section = README.read_text(encoding="utf-8").partition("## Step by step\n")[2].partition("\n## ")[0]
    found = re.findall(r"^```sh\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    return [[re.sub(r" +# .*$", "", line) for line in block.splitlines()] for block in found]


def stays_open(command):
    """Return the port of a command that does not end by itself, or nothing."""
    return next((port for words, port in STAYS_OPEN.items() if command.startswith(words)), None)


@pytest.fixture
def shell(lay):
    """Type commands at a desk: what stays open goes on beside the others until the test ends."""
    desk = lay("workflow", covered=False)
    write_messages(desk.path("messages.csv"), tiny_models.messages(200), spam="spam", rest="ham")
    lay_store(desk.folder)
    ports = {str(port): str(closed_port()) for port in STAYS_OPEN.values()}
    variables = SMALL | {"SPAMCTL_SERVE_PORT": ports["8080"], "SPAMCTL_CARDS_PORT": ports["8324"]}
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = desk.environment() | variables | {"PATH": path}

    with contextlib.ExitStack() as opened:

        def type_(command):
            written = re.sub("|".join(ports), lambda port: ports[port[0]], command)
            words = {"shell": True, "cwd": desk.folder, "env": environment, "text": True}
            if not (port := stays_open(command)):
                done = subprocess.run(written, capture_output=True, check=False, timeout=SECONDS, **words)
                assert done.returncode in ANSWERS.get(command, {0}), f"{command}\n{done.stdout}{done.stderr}"
                return done.stdout
            with desk.path("err").open("w") as err:
                process = subprocess.Popen(written, stdout=subprocess.DEVNULL, stderr=err, **words)
            opened.callback(kill_family, process)
            wait_for(int(ports[str(port)]), process, desk)
            if command.startswith("spamctl cards"):  # of two viewers, one after the other
                kill_family(process)
            return ""

        yield type_


def wait_for(port, process, desk):
    """Wait until somebody answers at a port."""
    deadline = time.monotonic() + SECONDS
    while True:
        assert process.poll() is None, desk.err
        assert time.monotonic() < deadline
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.1)


@pytest.mark.long
def test_the_workflow_works_as_it_is_printed(shell):
    set_up, *steps = blocks()
    assert set_up == ["uv sync", "source .venv/bin/activate"]
    printed = {command: shell(command) for block in steps for command in block}
    opened = {words for words in STAYS_OPEN if any(command.startswith(words) for command in printed)}
    assert opened == STAYS_OPEN.keys()
    first = {command.split(" -")[0]: out for command, out in printed.items()}
    assert "Registered as spam version 1, now the champion" in first["spamctl train"]
    (prediction,) = json.loads(first["curl"])["predictions"]
    assert prediction["captured"] is True
    assert "All 20 messages were answered" in first["spamctl traffic"]
    assert first['sqlite3 spam.db "SELECT COUNT(*) FROM data;"'] == "21\n"
    assert "21 rows given labels simulated from their verdicts" in first["spamctl label"]
