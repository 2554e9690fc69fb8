"""Keep a packaged model as files with a manifest of their digests, and verify it before it is used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le
from pydantic import ConfigDict, TypeAdapter, ValidationError

from spamctl.errors import ArtefactError

PACKAGE = "package"  # the folder's name inside a logged model
MANIFEST = "manifest.json"
SUFFIXES = {".onnx", ".xml", ".bin", ".json"}  # no pickle, no code
STRICT: ConfigDict = {"strict": True, "extra": "forbid", "allow_inf_nan": False}

Files = dict[str, bytes]
Format = Literal[1]
Probability = Annotated[float, Ge(0), Le(1)]


@dataclass(frozen=True, slots=True)
class Golden:
    """Hold one message and the probability that the engine gave it when it was packaged."""

    __pydantic_config__: ClassVar = STRICT

    text: str
    probability: Probability


@dataclass(frozen=True, slots=True)
class Manifest:
    """Say how a package is to be used: engine, window, calibration, threshold; `about` is for people."""

    __pydantic_config__: ClassVar = STRICT

    engine: str
    precision: str
    max_tokens: Annotated[int, Ge(1)]
    empty_id: Annotated[int, Ge(0)]
    slope: Annotated[float, Gt(0)]
    intercept: float
    threshold: Probability
    golden: tuple[Golden, ...]
    about: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seal:
    """Hold what a package's manifest file says: its layout, the sha256 of each file, and how it is to be used."""

    __pydantic_config__: ClassVar = STRICT

    format: Format
    files: dict[str, str]
    manifest: Manifest


def seal(files: Files, manifest: Manifest) -> Files:
    """Return the files with a manifest that names the sha256 of each."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    return files | {MANIFEST: json.dumps(asdict(Seal(1, digests, manifest)), indent=2).encode()}


def write(files: Files, folder: Path) -> Path:
    """Write a package into an existing folder and return the folder."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def read(folder: Path) -> Files:
    """Return a package's files by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def verify(folder: Path) -> Manifest:
    """Return the manifest of a package folder after checking every file against it.

    Raises ArtefactError if the manifest is missing or unreadable, if a file is missing, changed, unlisted or of a kind
    that a package never holds.
    """
    try:
        seal = TypeAdapter(Seal).validate_json((folder / MANIFEST).read_bytes())
    except OSError as error:
        raise ArtefactError(f"{folder.name}: no readable {MANIFEST} ({type(error).__name__}); train again") from error
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, (MANIFEST, *fault["loc"])))
        raise ArtefactError(f"{folder.name}: {where}: {fault['msg']}; use the spamctl that packaged it") from error
    _check_files(folder, seal.files)
    return seal.manifest


def _check_files(folder: Path, digests: Mapping[str, str]) -> None:
    present = {path.name for path in folder.iterdir()} - {MANIFEST}
    if odd := sorted(present ^ set(digests)):
        raise ArtefactError(f"{folder.name}: files and manifest differ: {', '.join(odd)}; download or train again")
    for name, digest in digests.items():
        if Path(name).suffix not in SUFFIXES:
            raise ArtefactError(f"{folder.name}: a package never holds {name}")
        if _digest(folder / name) != digest:
            raise ArtefactError(f"{folder.name}: {name} is not the file that was packaged; download or train again")


def _digest(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
