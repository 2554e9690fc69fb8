"""Read one request of the spamd protocol from a connection, and write its response, each within a time limit.

A client that is waited for has a limit in every state: to send a head, to send its mail, to take its answer, and to
read a refusal while it still sends. The door closes whoever has been waited for longest when all places are taken.
"""

from __future__ import annotations

import asyncio
import contextlib

from spamctl.serving import spamd_protocol as protocol
from spamctl.serving.door import Patience
from spamctl.serving.spamd_protocol import SpamcRequest, SpamdRefusal

UNKNOWN = "other"  # the command of a request that has none
LINGER_S = 2.0
LINGER_BYTES = 2**24
_PIECE = 2**16


class Visit:
    """A connection with its one request and its one response."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, patience: Patience) -> None:
        self._reader, self._writer, self._patience = reader, writer, patience
        self._since: float | None = asyncio.get_running_loop().time()
        self._unread = False
        self.command = UNKNOWN
        self.code = protocol.OK

    # What the door asks

    def waiting_since(self) -> float | None:
        """Return since when the client is waited for, by the loop's clock; None while it waits for us."""
        return self._since

    def look(self, _now: float) -> bool:
        """Return False: each wait ends by a timeout of its own, which answers the client."""
        return False

    def abort(self) -> None:
        """Close the connection at once."""
        self._writer.transport.abort()

    # What the server asks

    @property
    def is_idle(self) -> bool:
        """Return whether nothing has been asked yet."""
        return self.command == UNKNOWN

    async def read_request(self) -> SpamcRequest:
        """Return the head of the request; raise SpamdRefusal for a bad or slow one, EOFError if none comes."""
        try:
            async with asyncio.timeout(self._patience.request_s):
                self._unread = True
                request = protocol.read_first_line(await self._line())
                self.command = request.command
                if request.command not in protocol.WITHOUT_MAIL:
                    request = protocol.read_head(request, await self._lines())
        except TimeoutError:
            raise SpamdRefusal(protocol.TIMEOUT, "the request did not come in time") from None
        except OSError as error:
            raise EOFError from error
        self._since = None
        return request

    async def read_mail(self, length: int | None, most_bytes: int, seconds: float) -> bytes:
        """Return the mail, up to its announced length or to the end of what is sent; raise as `read_request` does."""
        self._since = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(seconds):
                raw = await (self._up_to_the_end(most_bytes) if length is None else self._reader.readexactly(length))
        except asyncio.IncompleteReadError:
            raise SpamdRefusal(protocol.PROTOCOL, "Content-length: the mail is shorter than announced") from None
        except TimeoutError:
            raise SpamdRefusal(protocol.TIMEOUT, "the mail did not come in time") from None
        except OSError as error:
            raise EOFError from error
        self._since, self._unread = None, False
        return raw

    def refuse(self, refused: SpamdRefusal) -> bytes:
        """Return the response of a refusal, and note its code."""
        self.code = refused.code
        return protocol.refusal(refused)

    async def say(self, answer: bytes) -> None:
        """Write the response and close; raise OSError or TimeoutError if the client does not take it.

        If we closed while the client still sends, its system would throw the response away: so what it sends is read
        and discarded for a moment.
        """
        self._since = asyncio.get_running_loop().time()
        async with asyncio.timeout(self._patience.answer_s):
            self._writer.write(answer)
            await self._writer.drain()
            if self._unread:
                self._writer.write_eof()
                await self._hear_out()
            self._writer.close()
            await self._writer.wait_closed()

    async def _line(self) -> bytes:
        """Return the next line with its end; raise SpamdRefusal if it is none, EOFError at the end."""
        try:
            line = await self._reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as end:
            if end.partial:
                raise SpamdRefusal(protocol.PROTOCOL, protocol.BAD_HEADER) from None
            raise EOFError from None
        except asyncio.LimitOverrunError:
            raise SpamdRefusal(protocol.PROTOCOL, protocol.BAD_HEADER) from None
        if len(line) > protocol.MOST_HEAD_BYTES:
            raise SpamdRefusal(protocol.PROTOCOL, protocol.BAD_HEADER)
        return line

    async def _lines(self) -> list[bytes]:
        """Return the header lines up to the blank one."""
        lines: list[bytes] = []
        size = 0
        while (line := await self._line()).strip(b"\r\n"):
            lines.append(line)
            size += len(line)
            if size > protocol.MOST_HEAD_BYTES or len(lines) > protocol.MOST_HEADERS:
                raise SpamdRefusal(protocol.PROTOCOL, f"{protocol.BAD_HEADER}: too much before the mail")
        return lines

    async def _up_to_the_end(self, most_bytes: int) -> bytes:
        whole = bytearray()
        while piece := await self._reader.read(_PIECE):
            whole += piece
            if len(whole) > most_bytes:
                raise SpamdRefusal(protocol.BAD_DATA, protocol.TOO_LONG)
        return bytes(whole)

    async def _hear_out(self) -> None:
        heard = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while heard <= LINGER_BYTES and (piece := await self._reader.read(_PIECE)):
                    heard += len(piece)
