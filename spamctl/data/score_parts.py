"""Keep the finished parts of an interrupted scoring, so that it continues with nothing lost and nothing twice.

    parts/begun.json          what is scored by what, and the id of the run that began it
    parts/part-000000.jsonl   rows; written under another name first
    parts/part-000000.json    their number, their sha256 and what was counted of them: with it the part is whole

A part that is not whole, or was changed, is scored again, and so are those behind it. The folder is below `.spamctl`,
which `spamctl forget` searches.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from spamctl.data.score_output import ScoredRow
from spamctl.errors import UnavailableError, UsageError

_BEGUN = "begun.json"
PARTS = Path(".spamctl", "score")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a scoring is made of: the same again gives the same rows."""

    input: str  # its sha256
    model: str  # name and version
    package: str  # the digest
    options: str  # what else changes rows

    def differences(self, other: Fingerprint) -> list[str]:
        """Name what is another one."""
        told = {"input": "the messages", "model": f"the version ({other.model} then, {self.model} now)"}
        told |= {"package": "the package of the version", "options": "options of the rows"}
        return [words for name, words in told.items() if getattr(self, name) != getattr(other, name)]


def place_of(*targets: str) -> Path:
    """Return the folder of the parts of what goes to some files and folders."""
    named = json.dumps([str(Path(target).absolute()) for target in targets])
    return PARTS / hashlib.sha256(named.encode()).hexdigest()[:16]


class Parts:
    """Finished parts of one scoring, held by one process at a time."""

    def __init__(self, folder: Path, fingerprint: Fingerprint, *, resume: bool, overwrite: bool) -> None:
        """Begin, or continue what was interrupted.

        Raises UsageError if something was interrupted and it is not said what becomes of it, or it was another scoring.
        """
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = FileLock(folder.with_suffix(".lock"))
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise UnavailableError("another run writes the same output: wait for its end, or stop it") from None
        try:
            self._begin(fingerprint, resume=resume, overwrite=overwrite)
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._lock.release()

    def _begin(self, fingerprint: Fingerprint, *, resume: bool, overwrite: bool) -> None:
        begun = self.folder / _BEGUN
        told = json.loads(begun.read_bytes()) if begun.is_file() and not overwrite else None
        others = fingerprint.differences(Fingerprint(**told["fingerprint"])) if told else []
        self.summaries: list[dict[str, Any]] = []
        if told and self._data(0).with_suffix(".json").is_file():
            if not resume:
                raise UsageError("an interrupted run has left parts: add --resume, or discard them by --overwrite")
            if others:
                raise UsageError(
                    f"--resume: {' and '.join(others)} changed since it was begun: give the same again, or start over "
                    "with --overwrite instead"
                )
            self.summaries = list(self._whole())
        # Under the same id, what was captured or delivered before the first part was whole is not so again.
        self.run = str(told["run"]) if told and not others else secrets.token_hex(8)
        for stale in self.folder.iterdir():
            if stale != begun and not self._is_kept(stale):
                stale.unlink()
        _write(begun, json.dumps({"run": self.run, "fingerprint": _plain(fingerprint)}).encode())

    @property
    def rows(self) -> int:
        """Count the rows of the finished parts."""
        return sum(int(summary["rows"]) for summary in self.summaries)

    def add(self, rows: Iterable[ScoredRow], told: Mapping[str, Any]) -> None:
        """Finish a part: its rows and what was counted of them are on the disk when it returns."""
        lines = [json.dumps(row).encode() for row in rows]
        content = b"".join(line + b"\n" for line in lines)
        summary = dict(told) | {"rows": len(lines), "sha256": hashlib.sha256(content).hexdigest()}
        number = len(self.summaries)
        _write(self._data(number), content)
        _write(self._data(number).with_suffix(".json"), json.dumps(summary).encode())
        self.summaries.append(summary)

    def read(self) -> Iterator[ScoredRow]:
        """Yield the rows of all parts in order."""
        for number in range(len(self.summaries)):
            with self._data(number).open("rb") as file:
                for line in file:
                    yield json.loads(line)

    def remove(self) -> None:
        """Remove all of it: the output is whole."""
        shutil.rmtree(self.folder)

    def _whole(self) -> Iterator[dict[str, Any]]:
        """Yield what was counted of each part from the first one on, up to one that is not whole."""
        for number in count():
            try:
                summary = json.loads(self._data(number).with_suffix(".json").read_bytes())
                content = self._data(number).read_bytes()
            except (OSError, ValueError):
                return
            if hashlib.sha256(content).hexdigest() != summary["sha256"]:
                return
            yield summary

    def _is_kept(self, path: Path) -> bool:
        number = path.stem.removeprefix("part-")
        return number.isdigit() and int(number) < len(self.summaries)

    def _data(self, number: int) -> Path:
        return self.folder / f"part-{number:06d}.jsonl"


def _plain(fingerprint: Fingerprint) -> dict[str, str]:
    return {name: getattr(fingerprint, name) for name in fingerprint.__slots__}


def _write(path: Path, content: bytes) -> None:
    """Write a file under another name, for its owner alone, and give it its own when it is on the disk."""
    draft = path.with_name(f".{path.name}.draft")
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
