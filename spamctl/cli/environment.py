"""Lay the table for a child process: what Metaflow, MLflow and the numeric libraries read from the environment."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from spamctl.cores import cores
from spamctl.errors import UsageError

STATE = ".spamctl"

QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PYTHONSAFEPATH": "1",  # else a step, started by its file's path, finds flows/train.py when it imports `train`
    "TOKENIZERS_PARALLELISM": "false",
    "MPLBACKEND": "Agg",
}

BOUNDED = {  # the client's own retries would wait for minutes when the tracking server is down
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}

LOCAL = {  # else ~/.metaflowconfig decides where a run is stored
    "METAFLOW_DEFAULT_DATASTORE": "local",
    "METAFLOW_DEFAULT_METADATA": "local",
}

FASTER = {"THP_MEM_ALLOC_ENABLE": "1"}  # PyTorch asks for huge pages: training takes a twentieth less time

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

USERS = ("METAFLOW_USER", "SUDO_USER", "USERNAME", "USER", "LOGNAME")


def child_environment(variables: Mapping[str, str], folder: Path, *, threads: int = 0) -> dict[str, str]:
    """Build a child's environment: what the user set stays, what we need is added; `threads` 0 means every core."""
    environment = {**BOUNDED, **LOCAL, **FASTER, **_bounds(cores()), **variables, **QUIET}
    if not environment.keys() & {"METAFLOW_HOME", "METAFLOW_PROFILE"}:
        environment["METAFLOW_HOME"] = str(folder / STATE / "metaflow")
    environment["METAFLOW_DATASTORE_SYSROOT_LOCAL"] = str(folder)  # cards are only found beside the runs
    environment["METAFLOW_USER"] = _user(variables)
    return environment | _bounds(threads) if threads else environment


def working_folder() -> Path:
    """Give the folder that the user stands in, ready to hold runs and logs; raise UsageError if it cannot."""
    try:
        folder = Path.cwd()
        for name in (".metaflow", f"{STATE}/logs"):
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / ".probe").touch()
            (folder / name / ".probe").unlink()
    except OSError as error:
        place = error.filename or "the working folder"
        raise UsageError(f"{place}: cannot be written: {error.strerror}; go to a folder of your own") from None
    return folder


def log_file(folder: Path, name: str) -> Path:
    """Name the log of a run that starts now."""
    return folder / STATE / "logs" / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"


def _bounds(threads: int) -> dict[str, str]:
    return dict.fromkeys(THREADS, str(threads))


def _user(variables: Mapping[str, str]) -> str:
    """Name who runs: Metaflow takes the name root for no name at all."""
    return next((name for key in USERS if (name := variables.get(key)) and name != "root"), "spamctl")
