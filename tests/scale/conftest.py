"""Lend what tests at scale share: a real S3 server, and a registry for many machines."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.flows.conftest import lay, lay_trained, tiny_gpt2
from tests.ports import closed_port
from tests.scale.swift import MISSING, an_s3_server, programs
from tests.store.conftest import postgres

__all__ = ["lay", "lay_trained", "postgres", "tiny_gpt2"]

SECONDS_TO_START = 900  # on machines that others use too


@pytest.fixture(scope="session")
def s3():
    """Lend one S3 server to all tests; each makes buckets of its own."""
    if programs() is None:
        pytest.skip(MISSING)
    with an_s3_server() as server:
        yield server


@contextlib.contextmanager
def mlflow_server(database, artefacts, variables, folder):
    """Run an MLflow server over a database that keeps artefacts in S3 while the block lasts; give its address."""
    port = closed_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--artifacts-destination", artefacts]
    settings = {
        "MLFLOW_BACKEND_STORE_URI": database,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "OMP_NUM_THREADS": "1",
    }
    with Path(folder, "mlflow-server.log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, env=os.environ | variables | settings, stdout=log, stderr=log)
    try:
        address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + SECONDS_TO_START
        while True:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5).close()
                break
            except OSError:
                told = Path(folder, "mlflow-server.log").read_text()
                assert server.poll() is None, told
                assert time.monotonic() < deadline, told
                time.sleep(0.3)
        yield address
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@pytest.fixture(scope="session")
def registry(s3, postgres, tmp_path_factory):
    """Lend one registry of many machines to all tests: MLflow over PostgreSQL, with its artefacts in S3."""
    bucket = s3.bucket("registry")
    folder = tmp_path_factory.mktemp("registry")
    shutil.rmtree(folder / "mlruns", ignore_errors=True)
    with mlflow_server(postgres.new_database(), f"s3://{bucket}/mlflow", s3.variables(bucket), folder) as address:
        yield address
