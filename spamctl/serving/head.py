"""Bound the head of a request, which comes before any of our routes: how long it may be, and how long it may take."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from spamctl.serving.refusal import Refusal, body, of_status

MOST_BYTES = 64 * 1024


class BoundedHead(HttpToolsProtocol):
    """Speak HTTP as uvicorn does, which waits for the end of a head for ever, and keeps as much of it as comes.

    A connection that has said nothing, or not all of a head, has the time of one that is kept alive.
    """

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._head_bytes = 0
        self._waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what came, unless it makes a head too long."""
        super().data_received(data)
        if self._waiting:  # still: these bytes did not end the head
            self._head_bytes += len(data)
            if self._head_bytes > MOST_BYTES:
                self._refuse(of_status(400, f"the head of the request is longer than {MOST_BYTES >> 10} KiB"))

    def on_message_begin(self) -> None:
        """Wait for the end of the head that has begun."""
        super().on_message_begin()
        self._wait()

    def on_headers_complete(self) -> None:
        """Leave the rest to the routes, which bound the body."""
        self._wait_no_more()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Say in our way that this is no HTTP."""
        self._refuse(of_status(400, msg))

    def _wait(self) -> None:
        if self._waiting is None:
            self._head_bytes = 0
            self._waiting = self.loop.call_later(self.timeout_keep_alive, self._give_up)

    def _wait_no_more(self) -> None:
        if self._waiting:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        if self._head_bytes:
            self._refuse(of_status(408, "the head of the request did not come in time"))
        else:
            self.transport.close()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer a request that has not become one, and hang up."""
        self._wait_no_more()
        if self.transport.is_closing():
            return
        text = body(refusal, uuid.uuid4().hex)
        lines = [
            f"HTTP/1.1 {refusal.status} {refusal.code.replace('_', ' ').title()}",
            "content-type: application/json",
            f"content-length: {len(text)}",
            "connection: close",
        ]
        self.transport.write("\r\n".join((*lines, "", "")).encode("ascii") + text)
        self.transport.close()
