"""Check, before anything is drawn or sent, whether a server is reachable, and with which token."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from spamctl.errors import UnavailableError, UsageError

TOKEN = "SPAMCTL_SERVE_TOKEN"  # noqa: S105 - a variable's name
NOTHING = "none"
PORTS = {"http": 80, "https": 443}
OWN_PORT = 8080
THIS_MACHINE = {"127.0.0.1", "localhost", "::1"}
SECONDS_TO_CONNECT = 3.0


def require_listening(uri: str) -> None:
    """Raise UnavailableError, within seconds, if nobody listens at a server's address."""
    parts = urlsplit(uri)
    host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
    try:
        socket.create_connection((host, port), timeout=SECONDS_TO_CONNECT).close()
    except OSError as error:
        reason = "no answer" if isinstance(error, TimeoutError) else error.strerror or "no such host"
        raise UnavailableError(
            f"--target-uri {uri}: no server listens there ({reason.lower()}); "
            f"start it with {start_of(uri)}, or correct the address"
        ) from None


def start_of(uri: str) -> str:
    """Return the command that starts a server at an address; at another port than serving's own, with that port."""
    parts = urlsplit(uri)
    here = parts.hostname in THIS_MACHINE and parts.scheme == "http"
    return f"spamctl serve --port {parts.port}" if here and parts.port not in {None, OWN_PORT} else "spamctl serve"


def read_token(file: str, environ: Mapping[str, str], *, least: int = 0) -> str:
    """Return the token in a file, else in SPAMCTL_SERVE_TOKEN, else ""; raise UsageError for what can be none.

    A server's own token protects something from `least` characters on; a client's is a copy of it, of any length.
    """
    where, token = TOKEN, environ.get(TOKEN, "")
    if file != NOTHING:
        where = f"--token-file {file}"
        try:
            token = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{where}: cannot be read: {getattr(error, 'strerror', 'it is not text')}") from None
        if not token and not least:
            raise UsageError(f"{where}: is empty; put the token in it that the server was started with")
    elif not token:
        return ""
    if len(token) < least or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(f"{where}: {_STRONG.format(least) if least else _COPIED}")
    return token


_COPIED = "a token is ASCII characters without a blank; copy it from where the server has it"
_STRONG = (
    "must hold at least {} ASCII characters without a blank; "
    "python3 -c 'import secrets; print(secrets.token_urlsafe())' makes one"
)
