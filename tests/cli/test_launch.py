"""A flow is started, watched, stopped and resumed as a user would see it."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from spamctl.cli.app import main
from tests.faults.processes import is_alive
from tests.reports.conftest import summary
from tests.reports.test_feedback import TOLD

pytestmark = pytest.mark.slow
COUNTS = {name: TOLD[name] for name in TOLD.keys() - {"store", "forgotten"}}


def wait_for(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def log_of(folder):
    (log,) = (folder / ".spamctl" / "logs").glob("train-*.log")
    return log.read_text()


def test_a_run_tells_its_steps_and_ends_in_its_result_whatever_the_environment_says(run, home, tmp_path):
    hijack = {"METAFLOW_DEFAULT_METADATA": "service", "METAFLOW_SERVICE_URL": "http://127.0.0.1:9"}
    (home / ".metaflowconfig").mkdir()
    (home / ".metaflowconfig" / "config.json").write_text(json.dumps(hijack))
    code, out, err = run("train", "--epochs", "7", SPAMCTL_TRAIN_LEARNING_RATE="2e-5", METAFLOW_RUN_SEED="9")
    assert code == 0, err
    assert err.splitlines() == ["[1/2] Read the messages", "      epochs 7, rate 2e-05, seed 0", "[2/2] Behave"]
    assert "Registered as spam version 3" in out
    assert "spamctl cards train" in out
    assert '"spamctl": "progress"' in log_of(tmp_path)
    assert not list((tmp_path / ".spamctl" / "logs").glob("*.run-id"))
    assert (tmp_path / ".metaflow" / "TrainFlow" / "latest_run").is_file()


@pytest.fixture
def answered(monkeypatch, capsys):
    """Type `spamctl train` where a run has told a result, and return what the command makes of it."""

    def answered(told):
        monkeypatch.setattr("spamctl.cli.run.run_verb", lambda *_: (None, told))
        return main(["train"]), *capsys.readouterr()

    return answered


def test_the_answer_no_is_exit_code_3_with_its_reason(answered):
    reason = "accuracy 0.9956 is under --accuracy-threshold 0.9999"
    code, _, err = answered(summary(registered=False, reason=reason))
    assert code == 3
    assert err == f"spamctl: {reason}\n"


@pytest.mark.parametrize(("feedback", "expected"), [({"forgotten": 0}, 0), ({"forgotten": 0, "store": "spam.db"}, 3)])
def test_a_challenger_after_feedback_is_the_answer_no(answered, feedback, expected):
    told = summary(alias="challenger", reason="not better on what is new", feedback=feedback | COUNTS)
    code, out, err = answered(told)
    assert code == expected
    said = " ".join(out.split())
    assert "as a challenger (accuracy" in said
    assert "): not better on what is new" in said
    assert expected == 0 or err.splitlines()[-1] == "spamctl: not better on what is new"


def test_a_refusal_is_one_line_harmless_to_the_terminal_with_its_own_exit_code(run):
    code, out, err = run("train", "--dataset", "refuse")
    assert code == 2
    assert out == ""
    assert "Traceback" not in err
    assert err.splitlines()[-1] == (
        r"spamctl: nothing in \x1b[31m[bold]messages.csv[/bold]: it has one class only; add messages of the other"
    )


@pytest.mark.parametrize("debug", [False, True])
def test_a_failure_names_the_step_the_error_and_the_log(run, tmp_path, debug):
    code, _, err = run("train", "--dataset", "break", *["--debug"] * debug)
    assert code == 1
    last = err.splitlines()[-1]
    assert last.startswith("spamctl: train failed in step end: ZeroDivisionError: no [red]rows[/red]; full log: ")
    assert ("Traceback" in err) is debug
    assert "Traceback" in log_of(tmp_path)


def test_of_a_step_that_is_killed_no_cause_is_guessed(run):
    code, _, err = run("train", "--dataset", "die")
    assert code == 1
    assert "train failed in step end: a process ended without giving a reason" in err
    assert "out of memory" not in err


@pytest.mark.parametrize(
    ("behaviour", "number"),
    [
        ("hang", signal.SIGINT),
        pytest.param("hang", signal.SIGHUP, marks=pytest.mark.long),
        ("deaf", signal.SIGTERM),
    ],
)
def test_a_stopped_run_leaves_no_process_and_says_how_to_go_on(start, tmp_path, behaviour, number):
    process = start("train", "--dataset", behaviour)
    wait_for((tmp_path / "pid").is_file)
    time.sleep(0.3)
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert not is_alive(int((tmp_path / "pid").read_text()))
    run_id = (tmp_path / ".metaflow" / "TrainFlow" / "latest_run").read_text()
    assert err.splitlines()[-1] == f"Stopped. spamctl train --run-id {run_id} resumes from the last finished step."
    assert "Traceback" not in err


def test_a_second_ctrl_c_does_not_wait(start, tmp_path):
    process = start("train", "--dataset", "deaf")
    wait_for((tmp_path / "pid").is_file)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert time.monotonic() - began < 3
    assert process.returncode == 130
    assert not is_alive(int((tmp_path / "pid").read_text()))


def test_a_resumed_run_repeats_no_finished_step(run, start, tmp_path):
    process = start("train", "--dataset", "once", "--epochs", "5")
    wait_for((tmp_path / "pid").is_file)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    run_id = (tmp_path / ".metaflow" / "TrainFlow" / "latest_run").read_text()
    for words in (["--run-id", run_id], ["--resume"]):
        code, out, err = run("train", *words)
        assert code == 0, err
        assert err.splitlines() == ["[2/2] Behave"]
        assert "Registered as spam version 3" in out


def test_a_run_whose_command_is_killed_ends_with_all_its_processes(start, tmp_path):
    process = start("train", "--dataset", "hang")
    wait_for((tmp_path / "pid").is_file)
    step = int((tmp_path / "pid").read_text())
    process.kill()
    process.communicate()
    wait_for(lambda: not is_alive(step))
    wait_for(lambda: not [pid for pid in processes() if str(tmp_path) in working_folder_of(pid)])


@pytest.mark.long
def test_a_run_that_still_goes_on_is_not_resumed(start, run, tmp_path):
    process = start("train", "--dataset", "once")
    wait_for((tmp_path / "pid").is_file)
    run_id = (tmp_path / ".metaflow" / "TrainFlow" / "latest_run").read_text()
    for words in (["--resume"], ["--run-id", run_id]):
        code, out, err = run("train", *words)
        assert (code, out) == (1, "")
        assert err == (
            f"spamctl: {words[0]}: the train run {run_id} is still running; "
            "wait for it to end, or stop it where it was started\n"
        )
    process.kill()  # and the flow is stopped by who watches
    process.communicate()
    wait_for(lambda: not is_alive(int((tmp_path / "pid").read_text())))
    wait_for(lambda: run("train", "--resume")[0] == 0)


def processes():
    """Number all processes but this one, which stands in the test's folder, too."""
    numbers = {int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()}
    return numbers - {os.getpid()}


def working_folder_of(pid):
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return ""
