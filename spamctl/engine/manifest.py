"""Store a packaged model as files with a manifest of their digests, and verify it before use.

The manifest names the sha256 of each file and, since format 2, its own: what is changed by hand is refused wherever a
package is opened. Whoever changes it on purpose can write that anew, but not the sha256 of the whole manifest, the
package's digest, which the registry and the training's run keep apart from the package.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import ConfigDict, StringConstraints, TypeAdapter, ValidationError

from spamctl.errors import ArtefactError

PACKAGE = "package"  # the folder's name inside a logged model
MANIFEST = "manifest.json"
SUFFIXES = {".onnx", ".xml", ".bin", ".json"}  # no pickle, no code
STRICT: ConfigDict = {"strict": True, "extra": "forbid", "allow_inf_nan": False}

Files = dict[str, bytes]
Format = Literal[1, 2]
Probability = Annotated[float, Ge(0), Le(1)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
MOST_TOKENS, MOST_IDS = 8192, 2**24  # as many as training allows; more than any tokenizer has
MOST_GOLDEN = 1000
STEEPEST = 1e9  # a calibration beyond it calls everything the same
UNSEALED = "it was registered before packages were sealed: the registry vouches for none of its values; train again"


@dataclass(frozen=True, slots=True)
class Golden:
    """A message and the probability that the engine gave it at packaging time."""

    __pydantic_config__: ClassVar = STRICT

    text: str
    probability: Probability


@dataclass(frozen=True, slots=True)
class Manifest:
    """How a package is used: engine, window, calibration, threshold, reach; `about` is for people.

    `reach` is the novelty beyond which a message is unlike all that was trained on; None: every message is in reach, as
    in packages of before it was measured.
    """

    __pydantic_config__: ClassVar = STRICT

    engine: Annotated[str, StringConstraints(pattern="^(float32|int8|int8-weights)$")]
    precision: Annotated[str, StringConstraints(pattern="^(f32|bf16|f16)$")]
    max_tokens: Annotated[int, Ge(1), Le(MOST_TOKENS)]
    empty_id: Annotated[int, Ge(0), Lt(MOST_IDS)]
    slope: Annotated[float, Gt(0), Le(STEEPEST)]
    intercept: Annotated[float, Ge(-STEEPEST), Le(STEEPEST)]
    threshold: Annotated[float, Gt(0), Lt(1)]
    golden: Annotated[tuple[Golden, ...], MinLen(1), MaxLen(MOST_GOLDEN)]
    about: dict[str, Any]
    tail_tokens: Annotated[int, Ge(0), Le(MOST_TOKENS)] = 0  # of the window, for the end of a message that is cut
    reach: Probability | None = None

    @property
    def golden_verdicts(self) -> set[bool]:
        """Return which verdicts the golden messages got: spam, not spam, or both."""
        return {row.probability >= self.threshold for row in self.golden}


@dataclass(frozen=True, slots=True)
class Seal:
    """Contents of a package's manifest file: layout, sha256 of each file, how it is used, its own sha256."""

    __pydantic_config__: ClassVar = STRICT

    format: Format
    files: Annotated[dict[str, Digest], MinLen(1)]
    manifest: Manifest
    sha256: Digest | None = None  # None: format 1, which had none


def seal(files: Files, manifest: Manifest) -> Files:
    """Return the files with a manifest that names the sha256 of each, and of all that it says itself."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    told = asdict(Seal(2, digests, manifest))
    return files | {MANIFEST: json.dumps(told | {"sha256": _sha256_of(told)}, indent=2).encode()}


def digest_of(files: Files) -> str:
    """Return the digest of a package: the sha256 of its manifest, which names that of every other file."""
    return hashlib.sha256(files[MANIFEST]).hexdigest()


def digest(folder: Path) -> str:
    """Return the digest of a package that was verified."""
    return digest_of({MANIFEST: (folder / MANIFEST).read_bytes()})


def write(files: Files, folder: Path) -> Path:
    """Write a package into an existing folder and return the folder."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def read(folder: Path) -> Files:
    """Return a package's files by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def verify(folder: Path, registered: str = "") -> Manifest:
    """Return the manifest of a package folder after checking it, and every file against it.

    `registered` is the digest that the registry knows, if it does. Raises ArtefactError if it is another package's; if
    the manifest is missing, unreadable, changed, or says what no package says; if a file is missing, changed, unlisted
    or of a kind that a package never holds.
    """
    try:
        content = (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise ArtefactError(f"{folder.name}: no readable {MANIFEST} ({type(error).__name__}); train again") from error
    if registered not in ("", digest_of({MANIFEST: content})):
        raise ArtefactError(
            f"{folder.name}: {MANIFEST} is not the one that was registered; put that back, or train again"
        )
    try:
        seal = TypeAdapter(Seal).validate_json(content)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, (MANIFEST, *fault["loc"])))
        raise ArtefactError(f"{folder.name}: {where}: {fault['msg']}; use the spamctl that packaged it") from error
    if not (_is_sealed(json.loads(content)) if seal.format > 1 else _may_be_sound(seal)):
        raise ArtefactError(f"{folder.name}: {MANIFEST} is not as it was packaged; download or train again")
    _check_files(folder, seal.files)
    return seal.manifest


def _is_sealed(told: Mapping[str, Any]) -> bool:
    return bool(told.get("sha256") == _sha256_of(told))


def _may_be_sound(seal: Seal) -> bool:
    """Return whether a manifest of format 1, which does not record its own sha256, may be unchanged since packaging.

    Its golden messages are plain spam and plain news: with a threshold that parts none of them, somebody moved it.
    """
    return seal.sha256 is None and seal.manifest.golden_verdicts == {True, False}


def _sha256_of(told: Mapping[str, Any]) -> str:
    """Return the sha256 of all that a manifest says, however it is laid out, but of itself."""
    said = {name: value for name, value in told.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


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
