"""Find a registered version, keep a verified copy of its package, and trace where it came from."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeVar

from annotated_types import Ge, Le, MinLen
from filelock import FileLock
from pydantic import TypeAdapter, ValidationError

from spamctl import folders
from spamctl.engine import manifest
from spamctl.engine.manifest import PACKAGE
from spamctl.errors import ArtefactError, SpamctlError, UnavailableError, UsageError
from spamctl.registry import registry_file, seals
from spamctl.registry.registry_file import ALIASES, CHAMPION, LATEST, NAME, versions_of
from spamctl.registry.tracking import absolute, open_tracking, require_reachable, shown, state_of, tracking_uri
from spamctl.schema.message import SPAM
from spamctl.schema.serve import Release
from spamctl.schema.version import ModelVersion

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as RegisteredVersion
    from pydantic import ConfigDict

REMEMBERED = "resolved.json"
_MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
_LONGEST_SHOWN = 40
_DRAFT = ".copy-"

Found = ModelVersion  # by which monitoring and serving import it
Located = TypeVar("Located", ModelVersion, Release)


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
    alias, digest = wanted if wanted in ALIASES else "", manifest.digest(folder)
    found = ModelVersion(name, str(version.version), alias, str(folder), digest, sealed=bool(registered))
    _remember(place, wanted, uri, found, state)
    return found


def at_hand(found: Located, cache: Path) -> Located:
    """Return a version with its package on this machine, fetched under `cache` if another machine had found it.

    Raises ArtefactError if its number is another package's by now.
    """
    if Path(found.folder).is_dir():
        return found
    here = fetch(found.name, found.version, cache)
    if found.digest and here.digest != found.digest:
        raise ArtefactError(
            f"{found.name} version {found.version}: its number is another package's now; run the command again"
        )
    return replace(found, folder=here.folder)


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
    folder = place / f"{version.version}-{_tail(version)}"
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / ".lock"), _scratch(place) as scratch:
        with contextlib.suppress(SpamctlError):
            manifest.verify(folder, registered)
            return folder
        what = f"{place.name} version {version.version}"
        copied = _download_package(place.name, str(version.version), what, scratch)
        try:
            manifest.verify(copied, registered)
        except ArtefactError as refusal:
            raise ArtefactError(f"{what}: {refusal}") from None
        shutil.rmtree(folder, ignore_errors=True)
        copied.rename(folder)
    return folder


def _download_package(name: str, number: str, what: str, scratch: Path) -> Path:
    """Download a version's package into `scratch`, and nothing of what MLflow keeps beside it for its own servers."""
    import mlflow

    # Not by models:/name/version, for which MLflow writes a note of its own beside what it reads.
    uri = mlflow.MlflowClient().get_model_version_download_uri(name, number)
    registry_file.require_there(uri, what)
    beside = f"{uri.rstrip('/')}/artifacts"
    listed = mlflow.artifacts.list_artifacts(artifact_uri=beside)
    if not any(one.is_dir and Path(one.path).name == PACKAGE for one in listed):
        raise ArtefactError(f"{what} is no model of spamctl; choose another")
    return Path(mlflow.artifacts.download_artifacts(f"{beside}/{PACKAGE}", dst_path=str(scratch)))


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
    manifest.verify(folder, str(told.get("digest", "")))
    digest, sealed = manifest.digest(folder), bool(told.get("sealed", False))
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


# Load the reference of a version: its test part with its own probabilities.

TEST_PART = "evaluation/test_part.json"


@dataclass(frozen=True, slots=True)
class ReferenceRow:
    """A message that a version was measured on; `part` is the test part it belongs to."""

    __pydantic_config__: ClassVar[ConfigDict] = {"strict": True, "allow_inf_nan": False}

    text: str
    label: Literal["spam", "not spam"]
    probability: Annotated[float, Ge(0), Le(1)]
    part: Literal["test", "recent"] = "test"


@dataclass(frozen=True, slots=True)
class Reference:
    """The rows that a version was measured on, and the sha256 of the file that they were read from."""

    rows: tuple[ReferenceRow, ...]
    digest: str

    @property
    def spam(self) -> int:
        """Count the spam."""
        return sum(row.label == SPAM for row in self.rows)

    @property
    def parts(self) -> dict[str, int]:
        """Count the rows by the test part that they are from."""
        return dict(Counter(row.part for row in self.rows))


def fetch_reference(found: ModelVersion) -> Reference:
    """Return the reference of a version that `versions.fetch` found, copied beside its package.

    A copy that is there and sound is used; the registry is not asked then. Raises UsageError if the version left no
    test part, or one that cannot be compared with, UnavailableError if there is no copy and no registry.
    """
    copy = beside(found, "test_part.json")
    if copy.is_file():
        try:
            return _read(copy.read_bytes(), found)
        except (OSError, UsageError):
            copy.unlink(missing_ok=True)  # made anew from the registry, or refused by it
    if found.remembered:
        raise UnavailableError(
            f"the registry does not answer, and the test part of {found.name} version {found.version} "
            "was not fetched here before"
        )
    content = _download(found)
    reference = _read(content, found)
    draft = copy.with_name(f".{copy.name}.{os.getpid()}")
    draft.write_bytes(content)
    draft.replace(copy)
    return reference


def beside(found: ModelVersion, name: str) -> Path:
    """Return where a file that belongs to a version lies: beside its package, in which nothing else may lie."""
    folder = Path(found.folder)
    return folder.with_name(f"{folder.name}.{name}")


def _download(found: ModelVersion) -> bytes:
    """Return the file that the version's training left in its MLflow run."""
    uri = tracking_uri()
    require_reachable(uri)
    with open_tracking(uri) as client, folders.temporary_folder() as place:
        import mlflow

        run_id = client.get_model_version(found.name, found.version).run_id
        try:
            left = client.list_artifacts(run_id, str(Path(TEST_PART).parent)) if run_id else []
            if any(item.path == TEST_PART for item in left):
                path = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=TEST_PART, dst_path=str(place))
                return Path(path).read_bytes()
        except OSError as error:
            raise UnavailableError(
                f"the artifact store of MLflow does not answer: {error.strerror or type(error).__name__}"
            ) from error
    raise UsageError(
        f"--model-version {found.version}: the training of {found.name} version {found.version} left no {TEST_PART} "
        "to compare with; train again, or choose another version"
    )


def _read(content: bytes, found: ModelVersion) -> Reference:
    """Read the file, and refuse one that is not a reference."""
    name = f"the test part of {found.name} version {found.version}"
    try:
        rows = TypeAdapter(Annotated[tuple[ReferenceRow, ...], MinLen(1)]).validate_json(content)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, fault["loc"])) or "file"
        raise UsageError(f"{name}: {where}: {fault['msg']}; train again, or choose another --model-version") from None
    labels = {row.label for row in rows}
    if len(labels) < 2:
        raise UsageError(
            f"{name}: holds nothing but {min(labels)}; train on messages of both classes, "
            "or choose another --model-version"
        )
    return Reference(rows, hashlib.sha256(content).hexdigest())


# Trace an answer to the version that gave it, and to that version's training, data and code.

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
