"""Find a registered version by alias or number, and keep a verified local copy of its package."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from spamctl.errors import ArtefactError, SpamctlError, UnavailableError, UsageError
from spamctl.model import artefact, registry_file, seals
from spamctl.model.artefact import PACKAGE
from spamctl.model.registry_file import ALIASES, LATEST
from spamctl.model.succession import CHAMPION, NAME, versions_of
from spamctl.model.tracking import absolute, open_tracking, require_reachable, shown, state_of, tracking_uri
from spamctl.schema.version import ModelVersion

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as RegisteredVersion

REMEMBERED = "resolved.json"
_MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
_LONGEST_SHOWN = 40
_DRAFT = ".copy-"

Found = ModelVersion  # by which monitoring and serving import it


def fetch(name: str, wanted: str, cache: Path) -> ModelVersion:
    """Return the version of model `name` that `wanted` means, its package copied under `cache` and verified.

    `wanted` is `champion`, `challenger`, `latest` or a number. A registry in a file that has not changed since it was
    asked is not asked again: importing MLflow takes longer than all the rest. If the registry does not answer, what it
    said last is used, as far as the copy is still there. Raises UsageError if there is no such version,
    UnavailableError if the registry does not answer and nothing is remembered, ArtefactError if the package is damaged,
    or if what the registry calls a version is no number.
    """
    if not NAME.fullmatch(name):
        raise UsageError(
            f"--model-name {name[:_LONGEST_SHOWN]!r}: cannot name a folder: give letters, digits and . _ -"
        )
    place = cache / name
    uri = tracking_uri()
    state = state_of(uri)  # before it is asked: what changes meanwhile makes it ask again
    with contextlib.suppress(ArtefactError):  # a copy that was damaged is made anew
        if state and (found := _recall(place, name, wanted, uri, state)):
            return found
    try:
        require_reachable(uri)
        with open_tracking(uri) as client:
            version = _find(client, name, wanted)
            registered = seals.registered(client, version)
            folder = _copy(version, place, registered)
    except UnavailableError as error:
        if found := _recall(place, name, wanted, uri):
            return replace(found, remembered=True)
        raise UnavailableError(f"{error}; no version of {name} was fetched here before") from error
    alias, digest = wanted if wanted in ALIASES else "", artefact.digest(folder)
    found = ModelVersion(name, str(version.version), alias, str(folder), digest, sealed=bool(registered))
    _remember(place, wanted, uri, found, state)
    return found


def leave_copy(name: str, cache: Path) -> None:
    """Copy the champion's package to where serving looks first, while MLflow is loaded anyway.

    What is registered can be fetched later as well, so that a failure is none.
    """
    with contextlib.suppress(SpamctlError, OSError):
        fetch(name, CHAMPION, cache)


def meant(name: str, wanted: Sequence[str]) -> list[str]:
    """Ask the registry which version of model `name` each of `wanted` resolves to; "" where none does.

    A version is told by its number and what it is made of: a number may be given again, to another package. Raises
    UnavailableError if the registry does not answer.
    """
    uri = tracking_uri()
    require_reachable(uri)
    with open_tracking(uri) as client:
        return [_identity(client, name, one) for one in wanted]


def _identity(client: MlflowClient, name: str, wanted: str) -> str:
    try:
        version = _find(client, name, wanted)
    except UsageError:
        return ""
    return f"{version.version}-{_tail(version)} {version.creation_timestamp}"


def _tail(version: RegisteredVersion) -> str:
    """Derive a folder suffix from what MLflow records of a version, to tell versions of one number apart."""
    made_of = [version.source, version.run_id, getattr(version, "model_id", None)]
    return hashlib.sha256(json.dumps(made_of, default=str).encode()).hexdigest()[:12]


def _find(client: MlflowClient, name: str, wanted: str) -> RegisteredVersion:
    """Ask the registry for a version."""
    from mlflow.exceptions import MlflowException

    try:
        if wanted in ALIASES:
            return _numbered(client.get_model_version_by_alias(name, wanted))
        if wanted != LATEST:
            return _numbered(client.get_model_version(name, wanted))
        every = [_numbered(version) for version in versions_of(client, name)]
    except MlflowException as error:
        if error.error_code in _MISSING:
            raise _no_version(client, name, wanted) from None
        raise
    if not every:
        raise _no_version(client, name, wanted)
    return max(every, key=lambda version: int(version.version))


def _numbered(version: RegisteredVersion) -> RegisteredVersion:
    """Return a version whose number is one: a registry may answer anything, and it becomes part of a path."""
    if not _NUMBER.fullmatch(str(version.version)):
        told = repr(str(version.version)[:_LONGEST_SHOWN])
        raise ArtefactError(f"the registry calls a version {told}, which is no number; look at MLFLOW_TRACKING_URI")
    return version


def _no_version(client: MlflowClient, name: str, wanted: str) -> UsageError:
    """Describe the versions that exist instead."""
    return registry_file.no_version(name, wanted, [_numbered(version).version for version in versions_of(client, name)])


def _copy(version: RegisteredVersion, place: Path, registered: str) -> Path:
    """Return the folder of a verified copy, made whole or not at all; one that is there and sound is kept."""
    import mlflow

    folder = place / f"{version.version}-{_tail(version)}"
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / ".lock"), _scratch(place) as scratch:
        with contextlib.suppress(SpamctlError):
            artefact.verify(folder, registered)
            return folder
        what = f"{place.name} version {version.version}"
        # Not by models:/name/version, for which MLflow writes a note of its own beside what it reads.
        uri = mlflow.MlflowClient().get_model_version_download_uri(place.name, str(version.version))
        registry_file.require_there(uri, what)
        source = Path(mlflow.artifacts.download_artifacts(uri), "artifacts", PACKAGE)
        if not source.is_dir():
            raise ArtefactError(f"{what} is no model of spamctl; choose another")
        copied = scratch / PACKAGE
        shutil.copytree(source, copied)
        try:
            artefact.verify(copied, registered)
        except ArtefactError as refusal:
            raise ArtefactError(f"{place.name} version {version.version}: {refusal}") from None
        shutil.rmtree(folder, ignore_errors=True)
        copied.rename(folder)
    return folder


@contextlib.contextmanager
def _scratch(place: Path) -> Iterator[Path]:
    """Yield a folder on the same disk; leftovers of a killed process are removed, since the lock is ours."""
    for left in place.glob(f"{_DRAFT}*"):
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=place))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remember(place: Path, wanted: str, uri: str, found: ModelVersion, state: str) -> None:
    """Write down what the registry said, and in which state it was."""
    known = _remembered(place) | {_key(wanted, uri): asdict(found) | {"state": state}}
    draft = place / f".{REMEMBERED}.{os.getpid()}"
    draft.write_text(json.dumps(known, indent=2), encoding="utf-8")
    draft.replace(place / REMEMBERED)


def _recall(place: Path, name: str, wanted: str, uri: str, state: str = "") -> ModelVersion | None:
    """Return what the registry at `uri` said last, if its copy is still sound; only if in `state`, if one is given."""
    told = _remembered(place).get(_key(wanted, uri))
    if told is None or (state and told.get("state") != state):
        return None
    folder = place / Path(told["folder"]).name  # beside the work, also where that has been moved or copied
    artefact.verify(folder, str(told.get("digest", "")))
    digest, sealed = artefact.digest(folder), bool(told.get("sealed", False))
    return ModelVersion(name, str(told["version"]), str(told["alias"]), str(folder), digest, sealed=sealed)


def _remembered(place: Path) -> dict[str, dict[str, str]]:
    try:
        known: dict[str, dict[str, str]] = json.loads((place / REMEMBERED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known


def _key(wanted: str, uri: str) -> str:
    """Return a key that distinguishes registries without recording a password."""
    return f"{wanted} at {shown(absolute(uri))}"
