"""Load the reference of a version: its test part with its own probabilities."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Ge, Le, MinLen
from pydantic import TypeAdapter, ValidationError

from spamctl.errors import UnavailableError, UsageError
from spamctl.message import SPAM
from spamctl.model import scratch
from spamctl.model.tracking import open_tracking, require_reachable, tracking_uri
from spamctl.schema.version import ModelVersion

if TYPE_CHECKING:
    from pydantic import ConfigDict

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


def fetch(found: ModelVersion) -> Reference:
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
    with open_tracking(uri) as client, scratch.folder() as place:
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
