"""Build the environment of a child process: the variables of Metaflow, MLflow and the numeric libraries."""

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
    "PYTHONUTF8": "1",  # what steps tell is UTF-8, whatever the terminal reads
    "PYTHONSAFEPATH": "1",  # else a step, started by its file's path, finds flows/train.py when it imports `train`
    "TOKENIZERS_PARALLELISM": "false",
    "MPLBACKEND": "Agg",
}

BOUNDED = {  # the client's own retries would wait for minutes when the tracking server is down
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}

LOCAL = {  # runs are kept beside the work, whatever ~/.metaflowconfig or a variable says
    "METAFLOW_DEFAULT_DATASTORE": "local",
    "METAFLOW_DEFAULT_METADATA": "local",
}

FASTER = {
    "THP_MEM_ALLOC_ENABLE": "1",  # PyTorch asks for huge pages: training takes a twentieth less time
    # Threads that wait spin otherwise: beside any other load, training took eighteen times as long.
    "OMP_WAIT_POLICY": "PASSIVE",
    "KMP_BLOCKTIME": "0",  # the same in Intel's words
}

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

# What Python itself may be told for a child; the others would have it warn, wait for a keyboard or drop its checks.
PYTHONS = {
    *("PYTHONHOME", "PYTHONPATH", "PYTHONPLATLIBDIR", "PYTHONUSERBASE", "PYTHONNOUSERSITE", "PYTHONHASHSEED"),
    *("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONUNBUFFERED", "PYTHONFAULTHANDLER", "PYTHONMALLOC"),
}
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
PROXIES = ("http_proxy", "https_proxy", "all_proxy")
THIS_MACHINE = "127.0.0.1,localhost,::1"

USERS = ("METAFLOW_USER", "SUDO_USER", "USERNAME", "USER", "LOGNAME")


def child_environment(variables: Mapping[str, str], folder: Path, *, threads: int = 0) -> dict[str, str]:
    """Build a child's environment: what the user set stays, what we need is added; `threads` 0 means every core.

    What Metaflow and Python are told elsewhere does not reach it: a run is kept in `folder`, by steps on this machine.
    Raises UsageError if certificates that are named cannot be read: a child would fail without naming them.
    """
    require_certificates(variables)
    kept = {name: value for name, value in variables.items() if _is_kept(name)}
    ours = {
        "METAFLOW_HOME": str(folder / STATE / "metaflow"),
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(folder),  # cards are only found beside the runs
        "METAFLOW_USER": _user(variables),
    }
    environment = {**BOUNDED, **FASTER, **_bounds(cores()), **kept, **LOCAL, **QUIET, **ours}
    if any(variables.get(name) or variables.get(name.upper()) for name in PROXIES):  # which do not know this machine
        direct = variables.get("no_proxy") or variables.get("NO_PROXY") or ""
        environment |= dict.fromkeys(("no_proxy", "NO_PROXY"), ",".join(filter(None, [direct, THIS_MACHINE])))
    return environment | _bounds(threads) if threads else environment


def unheeded(variables: Mapping[str, str]) -> list[str]:
    """Name what would have Metaflow keep runs elsewhere, and does not."""
    return sorted(name for name in variables if name.startswith(("METAFLOW_DEFAULT_", "METAFLOW_SERVICE_")))


def require_certificates(variables: Mapping[str, str]) -> None:
    """Raise UsageError if a variable names certificates that are not there, or are none."""
    for name in CERTIFICATES:
        place = Path(variables.get(name, ""))
        if not variables.get(name) or place.is_dir():
            continue
        import ssl

        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=place)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            what = (
                "holds no certificates" if isinstance(error, ssl.SSLError) else str(getattr(error, "strerror", error))
            )
            raise UsageError(f"{name}: {place}: {what}; correct the variable, or unset it") from None


def _is_kept(name: str) -> bool:
    """Return whether a child process inherits a variable."""
    if name.startswith("PYTHON"):
        return name in PYTHONS
    return not name.startswith("METAFLOW_")


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


def logs_of(folder: Path) -> Path:
    """Name the folder of the logs."""
    return folder / STATE / "logs"


def log_file(folder: Path, name: str) -> Path:
    """Name the log of a run that starts now."""
    return logs_of(folder) / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"


def _bounds(threads: int) -> dict[str, str]:
    return dict.fromkeys(THREADS, str(threads))


def _user(variables: Mapping[str, str]) -> str:
    """Name who runs: Metaflow takes the name root for no name at all."""
    return next((name for key in USERS if (name := variables.get(key)) and name != "root"), "spamctl")
