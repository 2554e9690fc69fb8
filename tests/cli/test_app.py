"""What is typed is understood, or refused in one line with the right exit code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spamctl import __version__
from spamctl.cli.app import main
from spamctl.config.verbs import VERBS
from tests.each import each


@each(
    ("words", "fault"),
    [
        (["trian"], "trian: there is no such verb; did you mean train?"),
        (
            ["fly"],
            f"fly: there is no such verb; there are {', '.join(VERBS)}",
        ),
        (["--versoin"], "--versoin: there is no such option; did you mean --version?"),
        (["train", "--epoch", "3"], "--epoch: there is no such option; did you mean --epochs?"),
        (["train", "--zzz"], "--zzz: there is no such option; spamctl train --help-all lists them"),
        (["--action", "traffic"], "--action: traffic and label are verbs here; type spamctl traffic, or spamctl label"),
        (
            ["traffic", "--action", "traffic"],
            "--action: traffic and label are verbs here; type spamctl traffic, or spamctl label",
        ),
        (["train", "--epochs"], "Option '--epochs' requires an argument."),
        (["train", "now"], "Got unexpected extra argument(s) (now)"),
        (["train", "--config", "nil.yaml"], "--config nil.yaml: there is no such file"),
        (["train", "--resume"], "--resume: no train run has been started in this folder; type spamctl train"),
        (["train", "--run-id", "1"], "--resume: no train run has been started in this folder; type spamctl train"),
        (
            ["train", "--resume", "--epochs", "3"],
            "--epochs: cannot be given with --resume or --run-id: a run resumes with its original options",
        ),
        (["rollback", "--to", "first"], "--to: must be previous or the number of a version, got 'first'"),
        (["forget"], "forget: nothing is named: give a uuid, --older-than 90d or --matching FILE"),
        (["ui", "--port", "0"], "--port: must be at least 1, got 0"),
    ],
)
def test_a_slip_is_one_line_and_exit_code_2(capsys, words, fault):
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"spamctl: {fault}\n"


def test_all_faults_are_told_one_a_line(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("SPAMCTL_TRAIN_SEED", "x")
    (tmp_path / "a.yaml").write_text("epochs: 0\n")
    assert main(["train", "--config", "a.yaml", "--depth", "none"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "spamctl: --depth: must be auto, full or a whole number of at least 1, got 'none'",
        "spamctl: epochs in a.yaml: must be at least 1, got 0",
        "spamctl: SPAMCTL_TRAIN_SEED: must be a whole number, got 'x'",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.yaml"]


@pytest.mark.parametrize("run_id", ["2", "../1", "/", "1\n", "latest_run"])
def test_a_run_that_is_not_there(capsys, tmp_path, run_id):
    runs = tmp_path / ".metaflow" / "TrainFlow"
    (runs / "1").mkdir(parents=True)
    (runs / "latest_run").write_text("1")
    assert main(["train", "--run-id", run_id]) == 2
    assert (
        capsys.readouterr().err == f"spamctl: --run-id: there is no run {run_id!r} in this folder; the last one is 1\n"
    )


def test_a_folder_that_cannot_be_written(capsys, tmp_path):
    (tmp_path / ".spamctl").write_text("in the way")
    assert main(["train"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"spamctl: {tmp_path}/.spamctl/logs: cannot be written: Not a directory; go to a folder of your own"


def test_no_verb_shows_the_verbs(capsys):
    assert main([]) == 2
    assert "train" in capsys.readouterr().out


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"spamctl {__version__}\n"


def test_hostile_words_do_no_harm_to_the_terminal(capsys):
    assert main(["\x1b[31mred"]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_a_bug_keeps_its_trace(monkeypatch):
    monkeypatch.setattr("spamctl.config.sources.from_flags", lambda *_: 1 / 0)
    monkeypatch.setattr("spamctl.config.sources.from_flags", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["train"])


def test_nobody_reads():
    process = subprocess.Popen(
        [sys.executable, "-m", "spamctl", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 1
    process.stderr.close()


@each(
    ("words", "offered"),
    [
        ("spamctl ", [*VERBS]),
        ("spamctl train --ep", ["--epochs"]),
        ("spamctl train --tune l", ["last-block", "lora"]),
        ("spamctl cards ", ["train", "traffic", "label", "monitor", "recalibrate", "score"]),
    ],
)
def test_a_shell_completes(words, offered):
    variables = {"_SPAMCTL_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    answer = subprocess.run(
        [sys.executable, "-m", "spamctl"], env=os.environ | variables, capture_output=True, text=True, check=False
    )
    assert answer.stdout.split() == offered


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["train", "--help"]])
def test_a_full_disk_under_standard_output_is_told_in_one_line(words):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "spamctl", *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("spamctl: the output cannot be written: No space left on device")


def test_a_terminal_that_reads_ascii_alone_is_told_all_the_same(tmp_path):
    command = [sys.executable, "-m", "spamctl", "späm"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("spamctl: ")
