"""Share the latest answers among the workers of one server, so that any of them can report for all.

Each listens on a socket in a folder that only its user may enter: no message is written anywhere for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

PATIENCE_S = 0.5  # a sibling that is busy for longer is left out of one answer
MOST_BYTES = 2**22
SUFFIX = ".recent"

logger = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def answering(folder: Path, tell: Callable[[], str]) -> AsyncIterator[None]:
    """Serve what `tell` returns to sibling workers while the block runs; alone, with a warning, if that fails."""
    path = _own(folder)

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(tell().encode())
            writer.close()
            await writer.wait_closed()

    try:
        server = await asyncio.start_unix_server(answer, path)
    except OSError as fault:  # the path may be longer than a socket's may be
        logger.warning("GET /recent tells of one worker only: %s", fault.strerror or "its socket cannot be made")
        yield
        return
    try:
        async with server:
            yield
    finally:
        _forget(path)


async def told(folder: Path) -> list[str]:
    """Return what each sibling says; those that are gone, or busy for too long, say nothing."""
    return [words for words in await asyncio.gather(*map(_ask, _others(folder))) if words]


def _own(folder: Path) -> Path:
    return folder / f"{os.getpid()}{SUFFIX}"


def _others(folder: Path) -> list[Path]:
    return sorted(set(folder.glob(f"*{SUFFIX}")) - {_own(folder)})


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)


async def _ask(path: Path) -> str:
    try:
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_unix_connection(path, limit=MOST_BYTES)
            with contextlib.closing(writer):
                return (await reader.read(-1)).decode()
    except ConnectionRefusedError:  # it was killed, and could not tidy up
        _forget(path)
    except (OSError, TimeoutError):
        pass
    return ""
