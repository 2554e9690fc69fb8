"""Locate the cache folder, and create temporary folders that a later start removes if their owner was killed."""

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
def temporary_folder(kind: str = "") -> Iterator[Path]:
    """Yield an empty folder, removed when the block ends; `kind` becomes part of its name.

    What others of this user left behind and own no more goes with it.
    """
    remove_abandoned()
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{kind}-" if kind else PREFIX) as name, _owned(Path(name)):
        inside = Path(name, "inside")
        inside.mkdir()
        yield inside


def remove_abandoned() -> None:
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


# Locate the folder of downloads and conversions.


def cache_folder() -> Path:
    """Return the folder that holds what can be downloaded again: SPAMCTL_CACHE_DIR, or the user's cache folder."""
    import platformdirs

    return Path(os.environ.get("SPAMCTL_CACHE_DIR") or platformdirs.user_cache_dir("spamctl"))
