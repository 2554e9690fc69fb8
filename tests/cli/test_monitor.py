"""The verdict is the exit code; a watch outlives what fails, and ends when it is told to."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.canary import leaks
from tests.ports import closed_port, silent_port

pytestmark = pytest.mark.slow

TINY_FLOW = Path(__file__).with_name("tiny_monitor.py")
DOOR = f"""
import sys
from spamctl.cli import app, monitor, run
run.check_beforehand = lambda *_: None  # tests/cli/test_beforehand.py tries it: the program has no store, no model
tiny = run.Flow("monitor", "MonitorFlow", ({str(TINY_FLOW)!r},))
run.Flow.of = classmethod(lambda cls, verb: tiny)
monitor.PATIENCE_S = monitor.PAUSE_S = 0.2
sys.exit(app.main(["monitor", *sys.argv[1:]]))
"""


@pytest.fixture
def monitor(tmp_path):
    """Start the verb over a program that tells what a flow tells; whatever still runs in the end is killed."""
    begun = []

    def monitor(plan, *words):
        (tmp_path / "plan").write_text(plan)
        with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
            process = subprocess.Popen(
                [sys.executable, "-c", DOOR, *words],
                env=os.environ | {"USER": "ada", "PYTHONPATH": str(Path(__file__).parents[2])},
                cwd=tmp_path,
                stdout=out,
                stderr=err,
            )
        begun.append(process)
        return process

    yield monitor
    for process in begun:
        process.kill()
        process.wait()


@pytest.fixture
def said(tmp_path):
    return lambda: ((tmp_path / "out").read_text(), (tmp_path / "err").read_text())


def until(true, process):
    """Wait until something is true, while the process runs that shall make it so."""
    deadline = time.monotonic() + 120
    while not true():
        assert process.poll() is None, "it has ended"
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("plan", "words", "code", "last"),
    [
        ("calm", [], 0, ""),
        ("calm", ["--fail-on", "warning"], 0, ""),
        ("drifted", [], 3, "spamctl: monitoring: failed: messages have changed"),
        ("locked", [], 1, "spamctl: spam.db: it is locked by another program"),
        ("absent", [], 2, "spamctl: spam.db: there is no store yet"),
    ],
    ids=lambda item: " ".join(item) if isinstance(item, list) else str(item).split(":")[0],
)
def test_the_exit_code_is_the_answer(monitor, said, plan, words, code, last):
    assert monitor(plan, *words).wait(60) == code
    out, err = said()
    assert err.splitlines()[-1].startswith(last or "[1/1] Behave")
    assert ("held at the depot" in out) == (code in {0, 3})


def test_a_webhook_that_nobody_answers_is_a_fault_only_where_nothing_else_is(monitor, said, tmp_path):
    with silent_port() as port:
        assert monitor("calm", "--webhook", f"http://127.0.0.1:{port}/hunter2").wait(60) == 1
    err = said()[1]
    assert err.splitlines()[-1].startswith("spamctl: the webhook was not notified: it does not answer (ReadTimeout)")
    assert monitor("drifted", "--webhook", f"http://127.0.0.1:{closed_port()}/hunter2").wait(60) == 3
    err = said()[1]
    assert "! the webhook was not notified: it does not answer (ConnectError)" in err
    assert err.splitlines()[-1].startswith("spamctl: monitoring: failed")
    assert leaks(tmp_path, "hunter2") == []


def test_a_watch_goes_on_after_what_fails_until_ctrl_c(monitor, said):
    process = monitor("calm locked drifted absent calm hang", "--watch", "1s")
    until(lambda: said()[1].count("[1/1] Behave") >= 6, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    out, err = said()
    assert out.count("The whole report") == 3
    assert err.count("Next run:") == 5
    told = [line for line in err.splitlines() if line.startswith("spamctl: ")]
    assert [line.split(": ")[1] for line in told] == ["spam.db", "monitoring", "spam.db"]
    assert "Traceback" not in out + err


def test_a_watch_is_stopped_by_sigterm_while_it_waits_and_while_it_works(monitor, said, tmp_path):
    process = monitor("calm", "--watch", "1h")
    until(lambda: "Next run:" in said()[1], process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    process = monitor("hang", "--watch", "1h")
    until((tmp_path / "hangs").exists, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def test_what_the_first_look_refuses_as_wrongly_asked_ends_a_watch(monitor, said):
    assert monitor("absent", "--watch", "1s").wait(60) == 2
    assert said()[1].splitlines()[-1].startswith("spamctl: spam.db: there is no store yet")
