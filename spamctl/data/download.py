"""Download one small file over HTTP, within limits of time and size."""

import queue
import threading
import time
from dataclasses import dataclass
from typing import Final

import httpx

from spamctl.errors import UnavailableError


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits for the first byte and the whole answer, in seconds, and its largest size, in bytes."""

    first_byte: float = 5.0
    whole: float = 20.0
    size: int = 4 * 2**20


FEW_SECONDS: Final = Limits()


def fetch(url: str, limits: Limits) -> bytes:
    """Return what an address answers; raise UnavailableError with the reason where it does not, in time and in size.

    A thread does the waiting: looking up a host's name can take longer than any time-out that a socket knows of.
    """
    chunks: queue.SimpleQueue[bytes | Exception | None] = queue.SimpleQueue()
    given_up = threading.Event()
    threading.Thread(target=_stream, args=(url, limits, chunks, given_up), daemon=True).start()
    try:
        return _collect(chunks, limits)
    finally:
        given_up.set()


def _collect(chunks: "queue.SimpleQueue[bytes | Exception | None]", limits: Limits) -> bytes:
    """Join what the thread sends until it ends, fails, or breaks a limit."""
    started = time.monotonic()
    patience = limits.first_byte
    body = bytearray()
    while True:
        try:
            chunk = chunks.get(timeout=max(0.0, started + patience - time.monotonic()))
        except queue.Empty:
            raise UnavailableError(f"no {'complete ' if body else ''}answer within {patience:g} s") from None
        if chunk is None:
            return bytes(body)
        if isinstance(chunk, httpx.HTTPError | httpx.InvalidURL | OSError):
            raise UnavailableError(str(chunk).partition("\n")[0] or type(chunk).__name__) from chunk
        if isinstance(chunk, Exception):
            raise chunk
        body += chunk
        if len(body) > limits.size:
            raise UnavailableError(f"more than {limits.size:,} bytes")
        patience = limits.whole


def _stream(
    url: str, limits: Limits, chunks: "queue.SimpleQueue[bytes | Exception | None]", given_up: threading.Event
) -> None:
    """Put each chunk of an answer in the queue, then None, or the exception that ended it."""
    try:
        # Undecoded bytes only: a compressed answer could grow past every limit while it is unpacked.
        headers = {"Accept-Encoding": "identity"}
        with httpx.stream("GET", url, headers=headers, follow_redirects=True, timeout=limits.first_byte) as response:
            if not response.is_success:
                chunks.put(UnavailableError(f"it answered {response.status_code}"))
                return
            for chunk in response.iter_raw():
                chunks.put(chunk)
                if given_up.is_set():
                    return
        chunks.put(None)
    except Exception as error:
        chunks.put(error)
