"""Open MLflow's tracking store: with bounded waiting, and a SQLite store that is created only once."""

from __future__ import annotations

import functools
import os
import re
import sqlite3
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from filelock import FileLock, Timeout

from spamctl import sqlite_url
from spamctl.display import without_password
from spamctl.errors import UnavailableError, UsageError
from spamctl.registry.registry_file import adopt
from spamctl.sqlite_url import url_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

PATIENCE = 5.0  # seconds
LOCK_S = 60.0  # for another process that makes the store; on a busy machine that takes a while
LOCKED = "another program holds it: wait for that program, or stop it, and try again"
DEFAULT = "sqlite:///mlflow.db"
CHANGE_COUNTER = 24  # where a SQLite file counts its changes (Database File Format, section 1.3.7)
DATABASES = ("mssql", "mysql", "postgresql")

shown = without_password


def tracking_uri() -> str:
    """Return MLFLOW_TRACKING_URI, or a SQLite file in the working folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT


def absolute(uri: str) -> str:
    """Return the address of a store, the same from every folder."""
    path = file_of(uri)
    return url_of(path) if path else uri


def file_of(uri: str) -> Path | None:
    """Return the file of a SQLite store, the same from every folder; None if the store is none."""
    path = sqlite_url.file_of(uri)
    return path.absolute() if path else None


def require_reachable(uri: str) -> None:
    """Return if the store at `uri` answers within seconds; raise UnavailableError or UsageError if not."""
    scheme = uri.partition("://")[0]
    if scheme in ("http", "https"):
        _require_server(uri)
    elif path := file_of(uri):
        if sqlite_url.has_query(uri):
            raise UsageError(
                f"MLFLOW_TRACKING_URI {uri}: nothing that stands behind the question mark would be done: leave it out"
            )
        _require_sqlite(uri, path)
    elif scheme.partition("+")[0] not in DATABASES:
        raise UsageError(
            f"MLFLOW_TRACKING_URI {shown(uri)}: MLflow keeps models on a server or in a database, not in a folder; "
            "use sqlite:///mlflow.db"
        )


def _require_server(uri: str) -> None:
    try:
        answer = httpx.get(f"{uri.rstrip('/')}/health", timeout=PATIENCE, verify=_certificates())
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise UnavailableError(
            f"MLFLOW_TRACKING_URI {shown(uri)}: the tracking server does not answer ({type(error).__name__}); "
            f"start it{_how(uri)}, or unset the variable to use {DEFAULT}"
        ) from error
    if answer.status_code != httpx.codes.OK:
        raise UnavailableError(f"MLFLOW_TRACKING_URI {shown(uri)}: /health answers {answer.status_code}; is it MLflow?")


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Return the trusted certificates, read once: that costs more than all the rest of a look at the registry."""
    return httpx.create_ssl_context()


def _how(uri: str) -> str:
    """Describe how to start a server: ours runs on this machine alone."""
    return " with spamctl ui" if re.match(r"http://(?:127\.0\.0\.1|localhost)(?:[:/]|$)", uri) else " there"


def _require_sqlite(uri: str, path: Path) -> None:
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"MLFLOW_TRACKING_URI {uri}: the folder {path.parent} cannot be written")
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise UsageError(f"MLFLOW_TRACKING_URI {uri}: is no file; name another")
    if path.exists():
        try:
            with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=PATIENCE)) as database:
                database.execute("PRAGMA schema_version")
        except sqlite3.Error as error:
            if _is_passing(error):
                raise UnavailableError(f"MLFLOW_TRACKING_URI {uri}: {error}; {LOCKED}") from error
            raise UsageError(f"MLFLOW_TRACKING_URI {uri}: {error}; name another file") from error


def _is_passing(error: sqlite3.Error) -> bool:
    """Return whether a database file may become usable: another program holds its lock."""
    return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def state_of(uri: str) -> str:
    """Return what differs after every change of a store that is a SQLite file here; nothing if it is none."""
    path = file_of(uri)
    if path is None:
        return ""
    try:
        with path.open("rb") as file:
            file.seek(CHANGE_COUNTER)
            counted = file.read(4).hex()  # counts nothing where there is a write-ahead log, whose file tells then
        return " ".join([counted, *map(_written, (path, path.with_name(f"{path.name}-wal")))])
    except OSError:
        return ""


def _written(path: Path) -> str:
    """Identify a file and its last change."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return "-"
    return f"{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"


@contextmanager
def open_tracking(uri: str) -> Iterator[MlflowClient]:
    """Point MLflow at a store and give its client; raise UnavailableError if the store fails meanwhile."""
    import mlflow
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import DBAPIError

    try:
        if path := file_of(uri):
            uri = url_of(path)
            # Two processes that create one store at once break it for good.
            with FileLock(f"{path}.lock", timeout=LOCK_S):
                adopt(path)
                mlflow.set_tracking_uri(uri)
                mlflow.search_experiments(max_results=1)
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        yield mlflow.MlflowClient()
    except (MlflowException, DBAPIError) as error:
        why = str(error).splitlines()[0][:300]
        hint = f"; {LOCKED}" if "database is locked" in why else ""
        raise UnavailableError(f"MLflow at {shown(uri)} refused: {why}{hint}") from error
    except Timeout as error:
        raise UnavailableError(f"MLflow at {shown(uri)}: {LOCKED}") from error


def experiment_id(client: MlflowClient, name: str, uri: str) -> str:
    """Return the id of an experiment, created with artefacts beside the store if it does not exist."""
    from mlflow.exceptions import MlflowException

    path = file_of(uri)
    if path:
        adopt(path, name)
    found = client.get_experiment_by_name(name)
    if found is None:
        place = (path.parent / "mlruns" / name).as_uri() if path else None
        try:
            return str(client.create_experiment(name, artifact_location=place))
        except MlflowException:  # another process was first
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        raise UsageError(f"--experiment {name}: it was deleted in MLflow; restore it there, or choose another name")
    return str(found.experiment_id)
