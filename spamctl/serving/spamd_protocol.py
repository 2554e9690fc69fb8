"""Read requests and write responses of the SPAMC/SPAMD protocol, version 1.5.

A client sends a command, headers, a blank line and a mail, and closes its sending side; it gets one response:

    CHECK SPAMC/1.5               SPAMD/1.5 0 EX_OK
    User: jo                      Content-length: 0
    Content-length: 1200          Spam: True ; 9.7 / 5.0

The codes of a response are those of sysexits.h. Clients take every code but 0 for "no verdict" and let the mail pass:
that is how a mail server goes on when this one is down, overloaded or too slow.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from spamctl.display import visible
from spamctl.errors import SpamctlError
from spamctl.schema.message import NOT_SPAM, SPAM, Label

VERSION: Final = "1.5"
OLD = (1, 2)  # up to this one the score stands in the body of a response, from 1.3 on in its header Spam
MOST_HEAD_BYTES = 8192
MOST_HEADERS = 50

OK, USAGE, BAD_DATA, UNAVAILABLE, SOFTWARE, TRY_AGAIN, PROTOCOL, TIMEOUT = 0, 64, 65, 69, 70, 75, 76, 79
CODES: Final[Mapping[int, str]] = {
    OK: "EX_OK",
    USAGE: "EX_USAGE",
    BAD_DATA: "EX_DATAERR",
    UNAVAILABLE: "EX_UNAVAILABLE",
    SOFTWARE: "EX_SOFTWARE",
    TRY_AGAIN: "EX_TEMPFAIL",
    PROTOCOL: "EX_PROTOCOL",
    TIMEOUT: "EX_TIMEOUT",
}
BAD_HEADER = "Bad header line"
TOO_LONG = "the mail is too long: raise --max-body-mib, or have the client send no mail of that size"

PING, SKIP, TELL = "PING", "SKIP", "TELL"
CHECK, SYMBOLS, REPORT, REPORT_IFSPAM, HEADERS, PROCESS = (
    *("CHECK", "SYMBOLS", "REPORT", "REPORT_IFSPAM", "HEADERS", "PROCESS"),
)
WITHOUT_MAIL = frozenset({PING, SKIP})
COMMANDS = frozenset({CHECK, SYMBOLS, REPORT, REPORT_IFSPAM, HEADERS, PROCESS, TELL}) | WITHOUT_MAIL

_FIRST_LINE = re.compile(rb"([A-Z_]{1,20}) SPAMC/([0-9]{1,2})\.([0-9]{1,2})[ \t]*")
_HEADER = re.compile(rb"([!-9;-~]{1,100})[ \t]*:[ \t]*([^\r\n]*?)[ \t]*")
_LENGTH = re.compile(r"[0-9]{1,15}")
_USER = re.compile(r"[!-~]{1,128}")
_CLASSES: Final[Mapping[str, Label]] = {"spam": SPAM, "ham": NOT_SPAM}


class SpamdRefusal(SpamctlError):  # noqa: N818 - an answer like any other, not a fault of the server
    """Response with a code other than 0; its message may be shown to anyone."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class SpamcRequest:
    """Head of a request: what is asked of the mail that follows it; `length` is in bytes, None: up to the end.

    TELL names a class and what is to be done with it in the local store: `learns` sets the label, `forgets` removes it.
    """

    command: str
    version: tuple[int, int] = (1, 5)
    length: int | None = None
    user: str = ""
    compressed: bool = False
    label: Label | None = None
    learns: bool = False
    forgets: bool = False

    @property
    def is_old(self) -> bool:
        """Return whether the client expects the score in the body."""
        return self.version <= OLD


def read_first_line(line: bytes) -> SpamcRequest:
    """Return the command and the version of a first line; raise SpamdRefusal if it is none."""
    found = _FIRST_LINE.fullmatch(line.rstrip(b"\r\n"))
    if found is None or found[1].decode("ascii") not in COMMANDS:
        raise SpamdRefusal(PROTOCOL, BAD_HEADER)
    return SpamcRequest(found[1].decode("ascii"), (int(found[2]), int(found[3])))


def read_head(first: SpamcRequest, lines: Iterable[bytes]) -> SpamcRequest:
    """Return a request with its headers, in any order and case; raise SpamdRefusal for a bad one."""
    headers: dict[str, str] = {}
    for line in lines:
        found = _HEADER.fullmatch(line.rstrip(b"\r\n"))
        if found is None:
            raise SpamdRefusal(PROTOCOL, BAD_HEADER)
        name, value = found[1].decode("ascii").lower(), found[2].decode("latin-1")
        if headers.setdefault(name, value) != value:
            raise SpamdRefusal(PROTOCOL, f"{BAD_HEADER}: {name.title()} is given twice")
    compress = headers.get("compress", "")
    if compress.lower() not in {"", "zlib"}:
        raise SpamdRefusal(PROTOCOL, "Compress: only zlib is read")
    return replace(
        first,
        length=_length(headers.get("content-length")),
        user=_user(headers.get("user", "")),
        compressed=bool(compress),
        **_teaching(first.command, headers),
    )


def inflate(body: bytes, most_bytes: int) -> bytes:
    """Return a body without its zlib compression; raise SpamdRefusal if it is damaged, or longer than `most_bytes`."""
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(body, most_bytes + 1)
    except zlib.error:
        raise SpamdRefusal(BAD_DATA, "Compress: the mail is not compressed by zlib") from None
    if len(plain) > most_bytes:
        raise SpamdRefusal(BAD_DATA, TOO_LONG)
    if not stream.eof:
        raise SpamdRefusal(BAD_DATA, "Compress: the mail is cut off")
    return plain


def response(headers: Iterable[str] = (), body: bytes = b"") -> bytes:
    """Return a response with code 0; Content-length is its first header, as Exim wants it."""
    lines = [f"SPAMD/{VERSION} {OK} {CODES[OK]}", f"Content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("ascii") + body


def pong() -> bytes:
    """Return the response to PING."""
    return f"SPAMD/{VERSION} {OK} PONG\r\n".encode("ascii")


def refusal(refused: SpamdRefusal) -> bytes:
    """Return the response of a refusal: one line and no blank one after it.

    With a blank line spamc 4.0 takes a refusal for an answer: it prints no mail at all, or says that it was learnt.
    """
    told = refused.message if refused.code == PROTOCOL else f"{CODES[refused.code]} {refused.message}"
    return f"SPAMD/{VERSION} {refused.code} {visible(told)[:200]}\r\n".encode("ascii", "replace")


def _length(given: str | None) -> int | None:
    if given is None:
        return None
    if not _LENGTH.fullmatch(given):
        raise SpamdRefusal(PROTOCOL, f"{BAD_HEADER}: Content-length is no number")
    return int(given)


def _user(given: str) -> str:
    """Return a user's name; one with other characters than visible ASCII names nobody, and stops nothing."""
    return given if _USER.fullmatch(given) else ""


def _teaching(command: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """Return what TELL asks for; what concerns remote databases is not for us."""
    if command != TELL:
        return {}
    learns, forgets = (_is_local(headers.get(name, "")) for name in ("set", "remove"))
    label = _CLASSES.get(headers.get("message-class", "").lower())
    if learns and label is None:
        raise SpamdRefusal(USAGE, "TELL: to learn, send Message-class: spam or ham")
    return {"label": label, "learns": learns, "forgets": forgets and not learns}


def _is_local(places: str) -> bool:
    """Return whether a list of places, such as `local, remote`, names the local store."""
    return "local" in (place.strip() for place in places.lower().split(","))
