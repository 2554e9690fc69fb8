"""Find the name and version under which a downloaded model folder was registered, and its package."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

import yaml

from spamctl.errors import ArtefactError
from spamctl.model import seals

PATIENCE_S = 5.0
MARK = "registered_model_meta"  # MLflow writes it beside MLmodel when it loads models:/name/version


class Registration(NamedTuple):
    """A version of a registered model."""

    name: str
    version: str


UNREGISTERED = Registration("unregistered", "unregistered")

logger = logging.getLogger(__name__)


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
