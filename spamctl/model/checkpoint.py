"""Save checkpoints of fine-tuning, so that a killed run resumes from its last complete step."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from spamctl import __version__

KEEP = 2  # the newest, and one to fall back on if the newest is broken


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """State from which fine-tuning resumes: tensors by name, and its position as plain JSON values."""

    tensors: dict[str, Tensor]
    place: dict[str, object]


class Checkpoints:
    """Folder of checkpoints, written atomically, whose newest intact one is read back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, step: int, checkpoint: Checkpoint) -> None:
        """Write a checkpoint beside its final name, force it to disk, then rename it; drop the oldest."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"step-{step:08d}.safetensors"
        scratch = path.with_suffix(f".{os.getpid()}.part")
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
        place = json.dumps(checkpoint.place)
        save_file(tensors, scratch, {"place": place, "sha256": _digest(tensors, place)})
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        scratch.replace(path)
        for old in self._paths()[KEEP:]:
            old.unlink(missing_ok=True)

    def newest(self) -> Iterator[Checkpoint | str]:
        """Yield a warning for each broken checkpoint, newest first, then the first whole one, if there is one."""
        for path in self._paths():
            try:
                checkpoint = _read(path)
            except (SafetensorError, OSError, ValueError, KeyError) as error:
                yield f"checkpoint {path.name} is broken ({type(error).__name__}) and is skipped"
                continue
            yield checkpoint
            return

    def clear(self) -> None:
        """Remove every checkpoint, and the partial files of killed runs, once fine-tuning is over."""
        if self.folder.is_dir():
            shutil.rmtree(self.folder)

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.safetensors"), reverse=True)


def folder_of(*facts: object) -> Path:
    """Return where a training keeps its checkpoints: named by all that decides its outcome."""
    name = hashlib.sha256(json.dumps([__version__, *facts], sort_keys=True).encode()).hexdigest()
    return Path(".spamctl", "checkpoints", name[:16])


def _read(path: Path) -> Checkpoint:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
    if _digest(tensors, metadata["place"]) != metadata["sha256"]:
        raise ValueError("it does not hold what was written")
    return Checkpoint(tensors, json.loads(metadata["place"]))


def _digest(tensors: dict[str, Tensor], place: str) -> str:
    digest = hashlib.sha256(place.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
