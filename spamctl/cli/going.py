"""Mark running runs, so that none is resumed meanwhile: a mark is a locked file, which its flow holds open."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

SUFFIX, RUN_ID = ".going", ".run-id"
SECONDS_TO_LOCK = 60.0  # after that, a mark that nobody has locked is of a run that was killed


@contextlib.contextmanager
def marked(log: Path, origin: str) -> Iterator[int]:
    """Mark the run of a log, and the run `origin` that it goes on with; give the open file that its flow must hold.

    The lock ends with the last process that holds the file: where the command is killed, the flow still has it.
    """
    mark = log.with_suffix(SUFFIX)
    with mark.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(origin)
        file.flush()
        try:
            yield file.fileno()
        finally:
            mark.unlink(missing_ok=True)


def on(logs: Path, verb: str) -> set[str]:
    """Return the ids of a verb's runs that go on, those that they resume included; remove marks that nobody holds."""
    ids: set[str] = set()
    for mark in logs.glob(f"{verb}-*{SUFFIX}"):
        with contextlib.suppress(FileNotFoundError), mark.open(encoding="utf-8") as file:
            if _is_free(file.fileno()):
                if time.time() - mark.stat().st_mtime > SECONDS_TO_LOCK:
                    mark.unlink()
                    mark.with_suffix(RUN_ID).unlink(missing_ok=True)
                continue
            ids.add(file.read().strip())
            ids.add(mark.with_suffix(RUN_ID).read_text(encoding="utf-8").strip())
    return ids - {""}


def _is_free(file: int) -> bool:
    """Return whether nobody holds the lock of an open file."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
