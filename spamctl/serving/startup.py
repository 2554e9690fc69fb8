"""Check a registry file before a server is started: the version is there, and the folder has not moved."""

from __future__ import annotations

from collections.abc import Mapping

from spamctl.registry import registry_file
from spamctl.registry.registry_file import NAME
from spamctl.registry.tracking import DEFAULT, file_of


def check_registry(variables: Mapping[str, str], *, model: str = "", version: str = "", experiment: str = "") -> str:
    """Return what the user should know of the registry that the variables name, or nothing.

    A registry on a server is not asked. Raises UsageError if the `version` of `model` is not there, where one is
    wanted, and UnavailableError if the file cannot be read now.
    """
    file = file_of(variables.get("MLFLOW_TRACKING_URI") or DEFAULT)
    if file is None or (file.exists() and not file.is_file()):
        return ""  # which `model.tracking` refuses
    if version and NAME.fullmatch(model):
        registry_file.require_version(file, model, version)
    return registry_file.adopt(file, experiment)


def store(address: str) -> str:
    """Return the name of a store that can be used, or made; raise as `store.database.require_usable` does."""
    from spamctl.store.database import require_usable

    return require_usable(address)
