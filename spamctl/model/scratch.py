"""Create temporary folders, and remove those whose owner was killed before it could."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "spamctl-"
OWNER = ".owner"  # is locked while whoever made the folder lives: the kernel lets go of it, whatever ended that


@contextlib.contextmanager
def folder(kind: str = "") -> Iterator[Path]:
    """Yield an empty folder, removed when the block ends; `kind` becomes part of its name.

    What others of this user left behind and own no more goes with it.
    """
    sweep()
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{kind}-" if kind else PREFIX) as name, _owned(Path(name)):
        inside = Path(name, "inside")
        inside.mkdir()
        yield inside


def sweep() -> None:
    """Remove the folders of owners that are gone; one that is locked, or names no owner, stays."""
    for place in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{OWNER}"):
        with contextlib.suppress(OSError):  # it is held, another user's, or gone by now
            if place.lstat().st_uid == os.getuid() and _is_free(place):
                shutil.rmtree(place.parent, ignore_errors=True)


@contextlib.contextmanager
def _owned(place: Path) -> Iterator[None]:
    """Create a folder under a lock; it gets its name once locked, since an unlocked one is removed."""
    draft = place / f"{OWNER}.draft"
    with draft.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        draft.rename(place / OWNER)
        yield


def _is_free(owner: Path) -> bool:
    with owner.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
