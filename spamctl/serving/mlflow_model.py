"""Find the version that MLflow loaded as a pyfunc, and store its answers."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import yaml

from spamctl.errors import ArtefactError, OptionsError, SpamctlError, UnavailableError, UsageError
from spamctl.registry import seals
from spamctl.schema.message import OutOfReach
from spamctl.store.address import parse
from spamctl.store.capture import Capture, Mode
from spamctl.store.tables import CapturedRow

ADDRESS_VARIABLE, MODE_VARIABLE = "SPAMCTL_SERVE_DATASTORE_URI", "SPAMCTL_SERVE_CAPTURE"
OUT_OF_REACH_VARIABLE = "SPAMCTL_SERVE_OUT_OF_REACH"
DEFAULT_ADDRESS = "spam.db"
OFF = "off"
MODES: dict[str, Mode | None] = {"required": "required", "best-effort": "best-effort", OFF: None}
# Spark sets one of them, or both, for the Python processes of its executors, and for no other: not for the driver's.
OF_SPARK_WORKERS = ("SPARK_PYTHON_RUNTIME", "PYTHON_WORKER_FACTORY_SECRET")
AGAIN_S = 5.0  # as long as a locked store is waited for: a thread that comes meanwhile need not wait anew

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CaptureTarget:
    """Where answers are stored, and whether an answer requires its row; None: they are not stored."""

    address: str = field(repr=False)  # it may hold a password
    mode: Mode | None

    @classmethod
    def of_environment(cls) -> CaptureTarget:
        """Read the two variables that `spamctl serve` reads; a file is relative to the working folder.

        In a worker of Spark nothing is stored unless a variable names a store: its working folder is nobody's. Nothing
        is opened. Raises OptionsError that names both if both are wrong.
        """
        address = os.environ.get(ADDRESS_VARIABLE, DEFAULT_ADDRESS)
        unasked = in_spark() and ADDRESS_VARIABLE not in os.environ
        wanted = os.environ.get(MODE_VARIABLE, OFF if unasked else "required")
        faults = [] if wanted in MODES else [f"{MODE_VARIABLE}: must be required, best-effort or off, got {wanted!r}"]
        try:
            file = parse(address).file
        except UsageError as error:
            faults.append(f"{ADDRESS_VARIABLE}: {error}")
        if faults:
            raise OptionsError(faults)
        return cls(str(file or address), MODES[wanted])


def in_spark() -> bool:
    """Return whether this process is a worker of Spark, or was started by one."""
    return any(name in os.environ for name in OF_SPARK_WORKERS)


def out_of_reach_rule() -> OutOfReach:
    """Read the setting for messages unlike the training data; raise OptionsError if it is neither word."""
    match os.environ.get(OUT_OF_REACH_VARIABLE, "deliver"):
        case "deliver" | "judge" as word:
            return word
        case other:
            raise OptionsError([f"{OUT_OF_REACH_VARIABLE}: must be deliver or judge, got {other!r}"])


class Captures:
    """Writers of this process, each opened at its first answer, and anew after a fork."""

    def __init__(self) -> None:
        self._inherited: list[Capture] = []
        self._hooked = False
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[CaptureTarget, Capture] = {}
        self._refusals: dict[CaptureTarget, tuple[float, str]] = {}

    def keep(self, target: CaptureTarget, rows: Sequence[CapturedRow]) -> bool:
        """Return True once the rows are on the disk; False if they are not kept, or may be missing (best-effort).

        Raises UnavailableError if they are not known to be stored, within ten seconds (mode required).
        """
        if target.mode is None or not rows:
            return False
        try:
            return self._opened(target).submit(rows).result()
        except UnavailableError:
            if target.mode == "required":
                raise
            return False

    def close(self) -> None:
        """Close the stores; the next answer opens its own again."""
        with self._lock:
            left, self._open = [*self._open.values()], {}
        for capture in left:
            capture.close()

    def _opened(self, target: CaptureTarget) -> Capture:
        """Return the target's capture; raise UnavailableError if its store cannot be used now."""
        with self._lock:
            if target in self._open:
                return self._open[target]
            when, words = self._refusals.get(target, (-AGAIN_S, ""))
            if time.monotonic() - when < AGAIN_S:
                raise UnavailableError(words)
            try:
                capture = Capture(target.address, mode=target.mode or "required")
            except SpamctlError as error:
                words = f"the answer could not be stored: {error}"
                self._refusals[target] = time.monotonic(), words
                logger.warning("%s", words)
                raise UnavailableError(words) from error
            self._hook()
            return self._open.setdefault(target, capture)

    def _hook(self) -> None:
        """Register the stores for closing at exit, and for being dropped in a forked child."""
        if not self._hooked:
            self._hooked = True
            atexit.register(self.close)
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=self._begin_anew)

    def _begin_anew(self) -> None:
        """Drop the parent's captures after a fork, without closing them: that would close the parent's too."""
        self._inherited += self._open.values()
        self._begin()


captures_of_process = Captures()


# Find the name and version under which a downloaded model folder was registered, and its package.

PATIENCE_S = 5.0
MARK = "registered_model_meta"  # MLflow writes it beside MLmodel when it loads models:/name/version


class Registration(NamedTuple):
    """A version of a registered model."""

    name: str
    version: str


UNREGISTERED = Registration("unregistered", "unregistered")


def registered_as(package: Path) -> Registration:
    """Return what a model's package folder was loaded as, or UNREGISTERED."""
    mark = _model_folder(package) / MARK
    if not mark.is_file():
        return UNREGISTERED
    told = yaml.safe_load(mark.read_text(encoding="utf-8"))
    return Registration(str(told["model_name"]), str(told["model_version"]))


def registered_digest(package: Path, registration: Registration) -> str:
    """Return the digest that is known of a model's package: to the registry, and to the MLmodel file beside it.

    Nothing if neither knows one. A registry that cannot be asked, or does not answer in 5 s, is told to the log: MLflow
    serves without one, too. Raises ArtefactError if the two do not agree.
    """
    model = _model_folder(package) / "MLmodel"
    told = yaml.safe_load(model.read_text(encoding="utf-8")) if model.is_file() else None
    beside = str(((told or {}).get("metadata") or {}).get(seals.TAG, ""))
    known = _asked(registration) if registration != UNREGISTERED else ""
    if known and beside and known != beside:
        raise ArtefactError(f"{model.name}: names another package than the registry does; download or train again")
    return known or beside


def _model_folder(package: Path) -> Path:
    """Return the folder of the model that a package is part of; of none, its own."""
    return next((folder for folder in package.parents if (folder / "MLmodel").is_file()), package)


def _asked(registration: Registration) -> str:
    """Ask the registry for the digest of a version, with a time limit: MLflow itself would retry for minutes."""
    import mlflow

    if not _is_there(str(mlflow.get_registry_uri())):
        logger.warning("there is no registry here to ask whether this is its package")
        return ""
    future: Future[str] = Future()

    def ask() -> None:
        try:
            client = mlflow.MlflowClient()
            future.set_result(seals.registered(client, client.get_model_version(*registration)))
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        return future.result(PATIENCE_S)
    except ArtefactError:
        raise
    except Exception as error:  # of whatever store it is: no trouble of its keeps a sound package from answering
        logger.warning("%s: the registry does not say whether this is its package", type(error).__name__)
        return ""


def _is_there(uri: str) -> bool:
    """Return whether a registry can be read without creating one, as MLflow does where a file is missing."""
    scheme, _, place = uri.partition(":")
    if scheme == "sqlite":
        return Path(place.removeprefix("///")).is_file()
    return scheme not in ("", "file") and bool(place)
