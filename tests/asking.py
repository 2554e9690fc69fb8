"""Run small programs beside the tests where MLflow is loaded already, each in a forked process of its own.

A fresh interpreter spends three seconds on importing MLflow before it looks at anything. `python -m tests.asking`
imports it once, and forks for every request: a line of JSON that gives folder, environment and program.
"""

import atexit
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from functools import cache
from pathlib import Path

from tests.mlflow_loaded import load_mlflow

ROOT = Path(__file__).parents[1]


def answer_of(program, folder, environment):
    """Run a program in a folder, and return its exit code, its output and its errors."""
    server = _server()
    request = json.dumps({"program": program, "folder": str(folder), "environment": environment})
    print(request, file=server.stdin, flush=True)
    told = server.stdout.readline()
    assert told, "the process that answers has ended"
    return json.loads(told)


def answer_afresh(program, folder, environment):
    """Run a program in a folder in an interpreter that has loaded nothing, and return the same."""
    words = [sys.executable, "-B", "-c", program]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return {"code": done.returncode, "out": done.stdout, "err": done.stderr}


@cache
def _server():
    """Start the process that answers, once for all tests of this process."""
    server = subprocess.Popen(
        [sys.executable, "-B", "-m", "tests.asking"],  # who looks leaves no compiled code beside a stored model
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")},
    )
    atexit.register(_end, server)
    return server


def _end(server):
    server.stdin.close()
    server.wait(30)
    server.stdout.close()


def _run(request):
    """Be the process of one program, to its end."""
    code = 1
    try:
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.path[0] = ""
        exec(compile(request["program"], "asked", "exec"), {"__name__": "__main__"})
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def main():
    """Answer until nobody asks any more."""
    load_mlflow()
    for line in sys.stdin:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = os.fork()
            if not child:
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                _run(json.loads(line))
            _, status = os.waitpid(child, 0)
            told = {"code": os.waitstatus_to_exitcode(status)}
            for name, file in (("out", out), ("err", err)):
                file.seek(0)
                told[name] = file.read().decode(errors="replace")
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
