"""Apply back-pressure to clients, and write an answer in one piece."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl


class Flow(FlowControl):
    """Flow control: nothing more is read from a client while requests of it wait for their turn."""

    def __init__(self, transport: asyncio.Transport, queue: deque[Any]) -> None:
        super().__init__(transport)
        self._queue = queue

    def resume_reading(self) -> None:
        """Resume reading, if nothing waits."""
        if not self._queue:
            super().resume_reading()


class OnePiece:
    """Transport that writes head and body of an answer at once; uvicorn would send two packets."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held: bytes | None = None

    def write(self, data: bytes) -> None:
        """Buffer the head for the data after it, or write it soon if none comes."""
        if self._held is None:
            self._held = data
            self._loop.call_soon(self.flush)
        else:
            self._held, held = b"", self._held
            self._transport.write(held + data if held else data)

    def flush(self) -> None:
        """Write what is buffered."""
        if self._held:
            self._held, held = b"", self._held
            self._transport.write(held)

    def close(self) -> None:
        """Close the connection after the buffered data."""
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Return whether the connection has ended, or will."""
        return self._transport.is_closing()
