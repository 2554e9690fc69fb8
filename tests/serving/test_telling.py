"""Whoever tells an operator goes on when nobody hears it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spamctl.serving.telling import heard_or_not

PROGRAM = """
import sys
from rich.console import Console
from spamctl.serving.telling import heard_or_not
tell = heard_or_not(Console(stderr=True).print) if sys.argv[1] == "on" else Console(stderr=True).print
tell("now serving")
tell("again")
sys.exit(7)
"""


@pytest.mark.parametrize(("way", "code"), [("on", 7), ("out", 1)])
def test_a_pipe_that_nobody_reads_ends_nothing(way, code):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        ended = subprocess.run(
            [sys.executable, "-c", PROGRAM, way], stderr=pipe, stdout=subprocess.DEVNULL, check=False, timeout=60
        )
    assert ended.returncode == code


def test_what_can_be_heard_is_told(capsys):
    heard_or_not(print)("now serving")
    assert capsys.readouterr().out == "now serving\n"


def test_a_full_disk_and_a_closed_file_end_nothing(tmp_path):
    with pytest.raises(OSError, match="No space left"), Path("/dev/full").open("w", buffering=1) as full:
        heard_or_not(lambda text: print(text, file=full))("now serving")
    with (tmp_path / "log").open("w") as closed:
        pass
    heard_or_not(lambda text: print(text, file=closed))("now serving")


def test_other_faults_are_not_hidden():
    def wrong(_text):
        raise KeyError("a mistake of ours")

    with pytest.raises(KeyError):
        heard_or_not(wrong)("now serving")
