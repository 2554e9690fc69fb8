"""Make what takes seconds once for a whole run of the tests, whatever processes they are spread over."""

import os
import pickle
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from spamctl.registry import tracking
from tests.mlflow_loaded import load_mlflow

STORE = "mlflow.db"


def made_once(name: str, make: Callable[[], Any]) -> Any:
    """Return what another process of this run has made under a name, or make it and keep it for the others."""
    file = Path(os.environ["MADE_FOR_TESTS"], f"{name}.pickle")
    with FileLock(f"{file}.lock"):
        if not file.exists():
            file.write_bytes(pickle.dumps(make()))
    return pickle.loads(file.read_bytes())


def folder_made_once(name: str, fill: Callable[[Path], None]) -> Path:
    """Return a folder that another process of this run has filled under a name, or fill it; nobody writes there."""
    folder = Path(os.environ["MADE_FOR_TESTS"], name)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            being_filled = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder.parent))
            fill(being_filled)
            being_filled.rename(folder)
    return folder


def lay_store(folder: Path) -> None:
    """Lay an empty MLflow store into a folder that has none: a copy costs nothing, where MLflow takes seconds."""
    if not (folder / STORE).exists():
        (folder / STORE).write_bytes(made_once(STORE, _new_store))


def _new_store() -> bytes:
    load_mlflow()
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.chdir(name)
        with tracking.open_tracking(f"sqlite:///{STORE}"):
            pass
        with closing(sqlite3.connect(STORE)) as store, closing(sqlite3.connect("copy")) as copy:
            store.backup(copy)
        return Path("copy").read_bytes()
