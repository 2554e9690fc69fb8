"""Start a server, wait for its first answer, tell how much memory it takes, and stop it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

PATIENCE_S = 240.0
POLL_S = 0.02
MESSAGE = "You are a winner you have been specially selected to receive $1000 cash or a $2000 award."
PROGRAMS = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class Start:
    """Say how a server is started; `{port}` in a word is filled in. `plain`: it takes texts, not rows.

    It has `stops_s` seconds to end when it is asked to.
    """

    words: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    plain: bool = False
    stops_s: float = 45.0


@dataclass(frozen=True, slots=True)
class Server:
    """Hold a server that answers, and what its start took."""

    process: psutil.Process
    port: int
    plain: bool
    start_s: float  # from the command to the first answer

    def peak_mib(self) -> float:
        """Sum the largest resident memory that each process of the server ever had, where the system tells it."""
        return sum(map(_peak_mib, [self.process, *self.process.children(recursive=True)]))


@contextmanager
def running(start: Start) -> Iterator[Server]:
    """Lend a server from its first answer on; stop it, and whatever it started, at the end."""
    port = free_port()
    words = [word.format(port=port) for word in start.words]
    variables = os.environ | {"PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"} | dict(start.environment)
    with tempfile.NamedTemporaryFile(prefix="spamctl-bench-") as log:  # the folder may be a person's own
        began = time.monotonic()
        child = subprocess.Popen(
            words, cwd=start.folder, env=variables, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
        process = psutil.Process(child.pid)
        try:
            wait_for_answer(child, port, Path(log.name), plain=start.plain)
            yield Server(process, port, start.plain, time.monotonic() - began)
        finally:
            stop(child, process, start.stops_s)


def wait_for_answer(child: subprocess.Popen[bytes], port: int, log: Path, *, plain: bool) -> None:
    """Return once the server answers a message with status 200."""
    deadline = time.monotonic() + PATIENCE_S
    while not answers(port, plain=plain):
        if child.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"this server gives no answer:\n{log.read_text(errors='replace')[-4000:]}")
        time.sleep(POLL_S)


def answers(port: int, *, plain: bool) -> bool:
    """Ask once; raise SystemExit if the server answers that the question is wrong."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    body = json.dumps({"inputs": [MESSAGE if plain else {"text": MESSAGE}]})
    try:
        connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        if http.client.BAD_REQUEST <= answer.status < http.client.INTERNAL_SERVER_ERROR:
            raise SystemExit(f"status {answer.status}: {answer.read(1000).decode(errors='replace')}")
        return answer.status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def stop(child: subprocess.Popen[bytes], process: psutil.Process, seconds: float) -> None:
    """Ask a server to end; end what does not."""
    tree = [process, *process.children(recursive=True)] if child.poll() is None else []
    child.send_signal(signal.SIGTERM)
    for one in psutil.wait_procs(tree, timeout=seconds)[1]:
        one.kill()
    child.wait()


def free_port() -> int:
    """Return a port where nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _peak_mib(process: psutil.Process) -> float:
    status = Path(f"/proc/{process.pid}/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8")) if status.exists() else None
    return int(found[1]) / 1024 if found else 0.0
