"""Record the digest of a registered package away from its files: in the registry, and in the run that made it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from spamctl.errors import ArtefactError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

TAG = "spamctl.package_sha256"  # of a version and of a run
_SHA256 = re.compile(r"[0-9a-f]{64}")


def of_run(client: MlflowClient, run_id: str | None) -> str:
    """Return the digest of the package that a run made, nothing if it made none or is not there any more."""
    from mlflow.exceptions import MlflowException

    try:
        return str(client.get_run(run_id).data.tags.get(TAG, "")) if run_id else ""
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return ""


def registered(client: MlflowClient, version: ModelVersion) -> str:
    """Return the digest that the registry knows of a version's package, nothing if it was registered before any was.

    A version that was registered by other means than a training has no tag, but its run has. Raises ArtefactError if
    what they say is no digest.
    """
    told = str(version.tags.get(TAG, "")) or of_run(client, version.run_id)
    if told and not _SHA256.fullmatch(told):
        raise ArtefactError(
            f"{version.name} version {version.version}: its tag {TAG}, or its run's, is no sha256; "
            "put the registered one back, or train again"
        )
    return told
