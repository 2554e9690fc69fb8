"""Trace an answer to the version that gave it, and to that version's training, data and code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spamctl.errors import UsageError
from spamctl.model import seals

if TYPE_CHECKING:
    from mlflow import MlflowClient

_TAGS = {
    "Metaflow run": "metaflow.run_id",
    "data sha256": "data.sha256",
    "test part sha256": "data.test_sha256",
    "recalibrated from version": "recalibrated.from_version",
    "recalibrated on answers of": "recalibrated.feedback",
    "feedback": "data.feedback",
    "feedback sha256": "data.feedback_sha256",
    "forgotten messages left out": "data.forgotten",
    "git commit": "mlflow.source.git.commit",
    "spamctl": "spamctl.version",
}
UNKNOWN = "unknown"
_ALWAYS = {"Metaflow run", "data sha256", "git commit"}


def lineage(client: MlflowClient, name: str, version: str, package: str = "") -> dict[str, str]:
    """Return where a version comes from, from the nearest to the farthest; what was not written down is `unknown`.

    `package` is the digest of the one that answered, if it is known. Raises UsageError if the registry has no such
    version, or if the number is another package's by now.
    """
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_model_version(name, version)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise UsageError(
            f"version {version} of {name} is not registered here: "
            "go to the folder that it was trained in, or set MLFLOW_TRACKING_URI"
        ) from None
    registered = seals.registered(client, found)
    if package and registered and package != registered:
        raise UsageError(
            f"version {version} of {name} that gave this answer is not registered any more: its number is another "
            f"package's now; this one's {seals.TAG} began with {package[:12]}"
        )
    told = {words: found.tags.get(tag, "") for words, tag in _TAGS.items()}
    if not told["git commit"]:
        told["git commit"] = f"{UNKNOWN} (spamctl was installed as a package)" if told["spamctl"] else UNKNOWN
    return {"MLflow run": str(found.run_id or UNKNOWN)} | {
        words: value or UNKNOWN for words, value in told.items() if value or words in _ALWAYS
    }
