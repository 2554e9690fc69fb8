"""Run the door as a user does: a real process, and a tiny real flow in place of the trainer."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spamctl.schema.codec import to_json
from tests.reports.conftest import summary

TINY_FLOW = Path(__file__).with_name("tiny_flow.py")

DOOR = f"""
import sys
from spamctl.cli import app, run
tiny = run.Flow("train", "TrainFlow", ({str(TINY_FLOW)!r},))
run.Flow.of = classmethod(lambda cls, verb: tiny)
sys.exit(app.main())
"""


@pytest.fixture
def start(tmp_path):
    """Start the command in this test's folder, with the tiny flow; whatever still runs in the end is killed."""
    (tmp_path / "result.json").write_text(json.dumps(to_json(summary())))
    for behaviour in ("break", "deaf", "die", "hang", "once", "refuse"):  # which the tiny flow reads as data sets
        (tmp_path / behaviour).touch()
    begun = []

    def start(*words, **variables):
        process = subprocess.Popen(
            [sys.executable, "-c", DOOR, *words],
            env=os.environ | {"USER": "root"} | variables,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        begun.append(process)
        return process

    yield start
    for process in begun:
        process.kill()
        process.communicate()


@pytest.fixture
def run(start):
    """Run the command to its end; return its exit code, output and errors."""

    def run(*words, **variables):
        process = start(*words, **variables)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    return run
