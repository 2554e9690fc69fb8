"""Read the bodies of requests without letting them fill the memory or take for ever."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request

from spamctl.serving.refusal import CLOSE, Refusal, of_status

MIB = 2**20
SOON = {"retry-after": "1"}
_HEARING_OUT_S = 1.0


class Intake:
    """Bound what the bodies of one server's requests take; used from the event loop only."""

    def __init__(self, *, body_bytes: int = 8 * MIB, total_bytes: int = 32 * MIB, patience_s: float = 60.0) -> None:
        """Take `body_bytes` of a body, `total_bytes` of all bodies at once, each sent within `patience_s` seconds."""
        self._body_bytes = body_bytes
        self._total_bytes = total_bytes
        self._patience_s = patience_s
        self._held = 0

    @property
    def held(self) -> int:
        """Count the bytes of the bodies that have not been given back."""
        return self._held

    async def read(self, request: Request) -> bytes:
        """Return the body of a request, which is not counted from then on; see `body`."""
        async with self.body(request) as body:
            return body

    @contextlib.asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """Lend the body of a request, counted until it is given back.

        Raises Refusal: 413 if it is too long, by its Content-Length or as it comes, 429 if the other bodies leave no
        room for it, 408 if it comes too slowly. Raises ClientDisconnect if the client has gone.
        """
        whole = bytearray()
        try:
            try:
                async with asyncio.timeout(self._patience_s):
                    await self._fill(whole, request)
            except TimeoutError:
                fault = f"the body did not come within {self._patience_s:g} s: send it faster, or in parts"
                raise of_status(408, fault, CLOSE) from None
            except Refusal:
                await _hear_out(request, self._body_bytes)
                raise
            yield bytes(whole)
        finally:
            self._held -= len(whole)

    async def _fill(self, whole: bytearray, request: Request) -> None:
        """Read a body to its end."""
        if _announced(request) > self._body_bytes:
            raise self._too_long()
        more = True
        while more:
            piece, more = await _next(request)
            if len(whole) + len(piece) > self._body_bytes:
                raise self._too_long()
            if self._held + len(piece) > self._total_bytes:
                raise of_status(429, "too many long requests at once: try again soon", SOON | CLOSE)
            self._held += len(piece)
            whole += piece

    def _too_long(self) -> Refusal:
        most = f"{self._body_bytes / MIB:g} MiB" if self._body_bytes >= MIB else f"{self._body_bytes} bytes"
        return of_status(413, f"the body is longer than {most}: send fewer rows in each request", CLOSE)


async def _next(request: Request) -> tuple[bytes, bool]:
    """Return the next piece of a body, and whether more will come."""
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message.get("body", b""), message.get("more_body", False)


def _announced(request: Request) -> int:
    """Return how many bytes a body is said to have, 0 if nothing is said."""
    length = request.headers.get("content-length", "")
    return int(length[:20]) if length.isdecimal() else 0


async def _hear_out(request: Request, most_bytes: int) -> None:
    """Throw away some more of a body that is refused: many a client reads no answer before it has sent all of it."""
    if request.headers.get("expect", "").lower() == "100-continue":
        return  # this one waits to be asked
    heard, more = 0, True
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_HEARING_OUT_S):
            while more and heard <= most_bytes:
                piece, more = await _next(request)
                heard += len(piece)
