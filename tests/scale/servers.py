"""Run MLflow's server as a site has one, and end what a test has started."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx

from tests.ports import closed_port

SECONDS_TO_START = 900  # on machines that others use too
SECONDS_TO_END = 30


def ended(process, within_s=SECONDS_TO_END):
    """Ask a process to end, make it end if it does not, and return its exit code."""
    process.terminate()
    try:
        return process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


@contextlib.contextmanager
def an_mlflow_server(folder, *, database="", artefacts="", **variables):
    """Run MLflow's server while the block lasts, and lend its address.

    Versions and files are in the folder, unless a database or a place for artefacts is named.
    """
    port, log = closed_port(), Path(folder, "mlflow-server.log")
    words = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--artifacts-destination", artefacts or str(Path(folder, "files"))]
    settings = {
        "MLFLOW_BACKEND_STORE_URI": database or f"sqlite:///{folder}/mlflow.db",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # of evaluations, in processes of its own
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": "1",
    }
    with log.open("w") as lines:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *words],
            cwd=folder,
            env=os.environ | settings | variables,
            stdout=lines,
            stderr=lines,
        )
    try:
        address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + SECONDS_TO_START
        while not answers(f"{address}/health"):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.3)
        yield address
    finally:
        ended(server)


def answers(address):
    """Tell whether a server answers well at an address."""
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(address, timeout=30).status_code == 200
    return False
