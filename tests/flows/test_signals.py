"""Ctrl-C and SIGTERM end every verb while it waits for something that never answers, and leave no process behind."""

import contextlib
import signal
import sqlite3
import time
from contextlib import closing

import pytest

from tests.faults.processes import AT_LENGTH, is_alive, until
from tests.flows.conftest import Desk, family
from tests.flows.test_label import fill
from tests.ports import silent_port

VERBS = ("train", "traffic", "label", "monitor", "recalibrate")
EVERY = [(verb, number) for verb in VERBS for number in ("SIGINT", "SIGTERM")]
SOME = [
    ("train", "SIGTERM"),
    ("label", "SIGINT"),
    *(
        pytest.param(verb, number, marks=pytest.mark.long)
        for verb, number in [("traffic", "SIGTERM"), ("monitor", "SIGINT")]
    ),
]
DRAIN_S = 30  # an orchestrator waits for its step, then kills it


@pytest.fixture
def waiting(tmp_path):
    """Start a verb in a folder of its own, and have it wait; return the desk and the process."""
    with contextlib.ExitStack() as held:
        port = held.enter_context(silent_port())
        address = f"http://127.0.0.1:{port}"

        def waiting(verb):
            desk = Desk(tmp_path, covered=False)
            words, variables = [verb], {"MLFLOW_TRACKING_URI": address}
            if verb == "traffic":
                words += ["--target-uri", f"{address}/invocations", "--samples", "10"]
            if verb in ("label", "monitor", "recalibrate"):
                fill(str(desk.path("spam.db")))
            if verb == "label":  # which writes there
                lock = held.enter_context(closing(sqlite3.connect(desk.path("spam.db"), isolation_level=None)))
                lock.execute("BEGIN IMMEDIATE")
            process = desk.start("-m", "spamctl", *words, **variables)
            held.callback(process.wait)
            held.callback(process.kill)
            return desk, process

        yield waiting


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "name"), EVERY if AT_LENGTH else SOME)
def test_a_verb_that_waits_is_ended_by_a_signal(waiting, verb, name):
    desk, process = waiting(verb)
    until(lambda: "[1/" in desk.err or process.poll() is not None)
    time.sleep(1.0)
    assert process.poll() is None, desk.err
    pids = family(process.pid)
    assert len(pids) > 1, desk.err
    process.send_signal(signal.Signals[name])
    assert process.wait(DRAIN_S) == 130, desk.err
    assert "Traceback" not in desk.out + desk.err
    assert desk.err.splitlines()[-1].startswith("Stopped. ")
    until(lambda: not any(map(is_alive, pids)), 5)
