"""Nothing that a package is made or served with calls home."""

import os
import subprocess
import sys

import pytest

PROBE = """
import os, sys
heard = []
sys.addaudithook(lambda event, args: heard.append(event) if event in WATCHED else None)
from pathlib import Path
from spamctl.engine.engine import Engine
Engine(Path(sys.argv[1])).classify(["win cash now"])
print(heard, [name for name in sys.modules if name.startswith("openvino_telemetry.")])
"""
WATCHED = {"os.fork", "os.posix_spawn", "subprocess.Popen", "socket.connect", "socket.getaddrinfo"}


@pytest.mark.slow
def test_loading_an_engine_starts_no_process_and_asks_no_other_machine(tmp_path):
    from tests import tiny_packages

    folder = tiny_packages.write(tmp_path / "package")
    ours = {name: value for name, value in os.environ.items() if name not in {"CI", "DO_NOT_TRACK"}}
    command = [sys.executable, "-c", f"WATCHED = {WATCHED!r}\n{PROBE}", str(folder)]
    done = subprocess.run(command, env=ours, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] []"
