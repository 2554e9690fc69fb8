"""Read request bodies with bounded memory and time."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request

from spamctl.serving.refusal import CLOSE, Refusal, of_status, quoted

MIB = 2**20
SOON = {"retry-after": "1"}
FREE_BYTES = 2**16  # of each body are not counted: slow senders of long bodies must not shut out short ones
_HEARING_OUT_S = 1.0
_PLAIN = {"content-encoding": {"", "identity"}, "transfer-encoding": {"", "identity", "chunked"}}
_GZIP = {"gzip", "x-gzip"}
_GZIP_BITS = 16 + zlib.MAX_WBITS  # a header of gzip and nothing else


@dataclass(slots=True)
class _Share:
    """Memory reserved for a body beyond the free allowance, and whether more of it will come."""

    room: int = 0
    more: bool = True


class Intake:
    """Limit on the memory of all request bodies of a server; used from the event loop only."""

    def __init__(self, *, body_bytes: int = 8 * MIB, total_bytes: int = 32 * MIB, patience_s: float = 60.0) -> None:
        """Set the largest body, the memory for all beyond the first 64 KiB of each, and the timeout `patience_s`."""
        self._body_bytes = body_bytes
        self._total_bytes = total_bytes
        self._patience_s = patience_s
        self._held = 0

    @property
    def held(self) -> int:
        """Count the bytes, beyond the first 64 KiB of each, of the bodies that have not been given back."""
        return self._held

    @contextlib.contextmanager
    def room(self, length: int) -> Iterator[None]:
        """Reserve memory for a body of another protocol while the block lasts; raise Refusal (413, 429) as `body`."""
        share = _Share()
        try:
            self._make_room(share, length)
            yield
        finally:
            self._give_back(share)

    async def read(self, request: Request) -> bytes:
        """Return the body of a request, which is not counted from then on; see `body`."""
        async with self.body(request) as body:
            return body

    @contextlib.asynccontextmanager
    async def body(self, request: Request, *, gunzip: bool = False) -> AsyncIterator[bytes]:
        """Yield the body of a request, counted until the block ends; one in gzip is decompressed where `gunzip` is set.

        Raises Refusal: 415 if it is compressed otherwise, 413 if it is too long, by its Content-Length, as it comes or
        as it is decompressed, 429 if the other bodies leave no room for it, 408 if it comes too slowly. Raises
        ClientDisconnect if the client has gone.
        """
        share = _Share()
        try:
            try:
                zipped = gunzip and request.headers.get("content-encoding", "").strip().lower() in _GZIP
                _refuse_encoded(request, zipped=zipped)
                async with asyncio.timeout(self._patience_s):
                    body = await self._whole(request, share)
                body = self._gunzipped(body, share) if zipped else body
            except TimeoutError:
                fault = f"the body did not come within {self._patience_s:g} s: send it faster, or in parts"
                raise of_status(408, fault, CLOSE) from None
            except Refusal as refused:
                self._give_back(share)
                if share.more:
                    await _hear_out(request, self._body_bytes)
                    refused.headers = CLOSE | refused.headers
                raise
            yield body
        finally:
            self._give_back(share)

    async def _whole(self, request: Request, share: _Share) -> bytes:
        """Read a body to its end, or refuse it; one that does not say how long it is gets room for the longest.

        If room grew with the body, many would grow side by side until none can end.
        """
        whole = bytearray()
        announced = _announced(request)
        self._make_room(share, announced)
        while share.more:
            piece, share.more = await _next(request)
            length = len(whole) + len(piece)
            ends_soon = length <= max(announced, FREE_BYTES) or not share.more
            self._make_room(share, length if ends_soon else max(length, self._body_bytes))
            whole += piece
        return bytes(whole)

    def _gunzipped(self, body: bytes, share: _Share) -> bytes:
        """Decompress a body a piece at a time, each counted before the next is made, or refuse it."""
        whole, zipped, behind = bytearray(), zlib.decompressobj(_GZIP_BITS), False
        try:
            for start in range(0, len(body), FREE_BYTES):
                left, behind = body[start : start + FREE_BYTES], zipped.eof
                while not zipped.eof:
                    made = zipped.decompress(left, FREE_BYTES)
                    whole += made
                    self._make_room(share, len(body) + len(whole))
                    left = zipped.unconsumed_tail
                    if not left and len(made) < FREE_BYTES:
                        break
        except zlib.error:
            raise of_status(400, "the body is not gzip, as its Content-Encoding says: send it as it is") from None
        if not zipped.eof or zipped.unused_data or behind:
            fault = "has something behind its end" if zipped.eof else "ends too early"
            raise of_status(400, f"the body in gzip {fault}: compress all of it at once")
        return bytes(whole)

    def _make_room(self, share: _Share, length: int) -> None:
        """Reserve memory for a body, or raise Refusal."""
        if length > self._body_bytes:
            most = f"{self._body_bytes / MIB:g} MiB" if self._body_bytes >= MIB else f"{self._body_bytes} bytes"
            raise of_status(413, f"the body is longer than {most}: send fewer rows in each request")
        more = max(0, length - FREE_BYTES - share.room)
        if self._held + more > self._total_bytes:
            raise of_status(429, "too many long requests at once: try again soon", SOON)
        self._held += more
        share.room += more

    def _give_back(self, share: _Share) -> None:
        self._held -= share.room
        share.room = 0


async def _next(request: Request) -> tuple[bytes, bool]:
    """Return the next piece of a body, and whether more will come."""
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message.get("body", b""), message.get("more_body", False)


def _refuse_encoded(request: Request, *, zipped: bool) -> None:
    """Refuse a compressed body, naming its encoding; gzip passes where it is read."""
    for header, plain in _PLAIN.items():
        if zipped and header == "content-encoding":
            continue
        for given in ",".join(request.headers.getlist(header)).split(","):
            if given.strip().lower() not in plain:
                told = f"the body is encoded as {quoted(given.strip())}: send it as it is, without {header.title()}"
                raise of_status(415, told)


def _announced(request: Request) -> int:
    """Return how many bytes a body is said to have, 0 if nothing is said."""
    length = request.headers.get("content-length", "")
    return int(length[:20]) if length.isdecimal() else 0


async def _hear_out(request: Request, most_bytes: int) -> None:
    """Discard some more of a refused body: many clients read no answer before they have sent all of it."""
    if request.headers.get("expect", "").lower() == "100-continue":
        return  # this one waits to be asked
    heard, more = 0, True
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_HEARING_OUT_S):
            while more and heard <= most_bytes:
                piece, more = await _next(request)
                heard += len(piece)
