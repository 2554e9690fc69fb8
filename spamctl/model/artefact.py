"""Keep a packaged model as files with a manifest of their digests, and verify it before it is used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spamctl.errors import ArtefactError

FORMAT = 1
MANIFEST = "manifest.json"
SUFFIXES = {".xml", ".bin", ".json"}  # no pickle, no code

Files = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Golden:
    """Hold one message and the probability that the engine gave it when it was packaged."""

    text: str
    probability: float


@dataclass(frozen=True, slots=True)
class Manifest:
    """Say how a package is to be used: engine, window, calibration, threshold; `about` is for people."""

    engine: str
    precision: str
    max_tokens: int
    empty_id: int
    slope: float
    intercept: float
    threshold: float
    golden: tuple[Golden, ...]
    about: dict[str, Any]


def seal(files: Files, manifest: Manifest) -> Files:
    """Return the files with a manifest that names the sha256 of each."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    sealed = {"format": FORMAT, "files": digests, **asdict(manifest)}
    return files | {MANIFEST: json.dumps(sealed, indent=2).encode()}


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
    sealed = _manifest(folder)
    try:
        digests: dict[str, str] = dict(sealed.pop("files"))
        version = sealed.pop("format")
        golden = tuple(Golden(**row) for row in sealed.pop("golden"))
        manifest = Manifest(**sealed, golden=golden)
    except (KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f"{folder.name}: the manifest is not one that spamctl wrote ({error})") from error
    if version != FORMAT:
        raise ArtefactError(f"{folder.name}: package format {version}, this spamctl reads {FORMAT}")
    _check_files(folder, digests)
    return manifest


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        sealed = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{folder.name}: no readable {MANIFEST} ({type(error).__name__}); train again") from error
    if not isinstance(sealed, dict):
        raise ArtefactError(f"{folder.name}: {MANIFEST} is not an object; train again")
    return sealed


def _check_files(folder: Path, digests: Mapping[str, str]) -> None:
    present = {path.name for path in folder.iterdir()} - {MANIFEST}
    if odd := sorted(present ^ set(digests)):
        raise ArtefactError(f"{folder.name}: files and manifest differ: {', '.join(odd)}; download or train again")
    for name, digest in digests.items():
        if Path(name).name != name or Path(name).suffix not in SUFFIXES:
            raise ArtefactError(f"{folder.name}: a package never holds {name}")
        with (folder / name).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != digest:
            raise ArtefactError(f"{folder.name}: {name} is not the file that was packaged; download or train again")
