"""Authenticate requests, give each an id, and refuse in a few words of JSON that reveal nothing."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import ipaddress
import json
import logging
import re
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spamctl.display import visible
from spamctl.errors import SpamctlError

# Refuse a request in a few words that reveal nothing, as JSON.

# MLflow's names where it has one; a client of its scoring server knows them.
CODES: Final = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "ENDPOINT_NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "REQUEST_TIMEOUT",
    413: "REQUEST_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    429: "REQUEST_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
WRONG_VALUE: Final = "INVALID_PARAMETER_VALUE"  # status 400: it could be read, and is not what was asked for
UNKNOWN: Final = "RESOURCE_DOES_NOT_EXIST"  # status 404: the route is there, what it was asked for is not
CLOSE: Final = {"connection": "close"}  # what is left of the body will not be read
MOST_BYTES = 1024
_OPENAI_KINDS: Final = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_LONGEST_SHOWN = 40  # no message shows more than two pieces of the input


class Refusal(SpamctlError):  # noqa: N818 - an answer like any other, not a fault of the server
    """Error response with a status of 400 or above; its message may be shown to anyone."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})


def of_status(status: int, message: str, headers: Mapping[str, str] | None = None) -> Refusal:
    """Return a refusal with the code that goes with its status."""
    return Refusal(status, CODES.get(status, CODES[400 if status < 500 else 500]), message, headers)  # noqa: PLR2004


def error_body(refusal: Refusal, request_id: str) -> bytes:
    """Return the answer's body: an ASCII JSON object of error_code, message and request_id, at most 1 KiB."""
    return _cut_to_fit(
        refusal, lambda message: {"error_code": refusal.code, "message": message, "request_id": request_id}
    )


def body_of_inference(refusal: Refusal, request_id: str) -> bytes:
    """Return the answer's body as `error_body` does, with the message also where the inference protocol has it."""
    told = {"error_code": refusal.code, "request_id": request_id}
    return _cut_to_fit(refusal, lambda message: {"error": message, "message": message} | told)


def body_of_openai(refusal: Refusal, _request_id: str) -> bytes:
    """Return the answer's body as OpenAI's clients read it, at most 1 KiB; its id they take from the header."""
    kind = _OPENAI_KINDS.get(refusal.status, "invalid_request_error" if refusal.status < 500 else "server_error")  # noqa: PLR2004
    return _cut_to_fit(
        refusal,
        lambda message: {"error": {"message": message, "type": kind, "param": None, "code": refusal.code.lower()}},
    )


def _cut_to_fit(refusal: Refusal, written: Callable[[str], object]) -> bytes:
    """Write a body as ASCII JSON, its message cut until it fits."""
    message = visible(refusal.message)
    while len(text := json.dumps(written(message)).encode("ascii")) > MOST_BYTES:
        message = message[: len(message) * 3 // 4] + "..."
    return text


def answer(refusal: Refusal, request_id: str, headers: Mapping[str, str]) -> bytes:
    """Return a whole answer as HTTP spells it, after which the connection ends, for a request that no route sees."""
    text = error_body(refusal, request_id)
    lines = [f"HTTP/1.1 {refusal.status} {refusal.code.replace('_', ' ').title()}"]
    every = {**headers, **refusal.headers, **CLOSE, "x-request-id": request_id}
    every |= {"content-type": "application/json", "content-length": str(len(text))}
    lines += [f"{name}: {value}" for name, value in every.items()]
    return "\r\n".join((*lines, "", "")).encode("ascii") + text


def quoted(text: str) -> str:
    """Repeat a piece of the input: escaped, in quotes, and cut to 40 characters."""
    return f"'{visible(text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + '...')}'"


# Authenticate requests, give each an id, and answer every failure as JSON that reveals nothing.

OPEN = frozenset({"/ping", "/health", "/ready"})  # they need no token: a probe of Kubernetes cannot read a Secret
# Their clients send the token in the body, where the routes themselves look for it.
KEYED = frozenset({"/1.1/verify-key", "/1.1/comment-check", "/1.1/submit-spam", "/1.1/submit-ham"})
OPENAI = "/v1/"  # below it errors have OpenAI's form
INFERENCE = "/v2/"  # and below this one that of the Open Inference Protocol
ANY_HOST = "*"
OLD_HOST = "localhost"
ELSEWHERE = "other"  # the route of a request that no route answers
CHALLENGE = {"www-authenticate": 'Basic realm="spamctl", Bearer realm="spamctl"'}
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}

_ALL_ADDRESSES = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not bound to
_REQUEST_ID = re.compile(r"[!-~]{1,128}")
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::[0-9]{1,5})?")
_SHORT_BODY = 2**16
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_HEADERS = [(name.encode("ascii"), value.encode("ascii")) for name, value in HEADERS.items()]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use the server: holders of the token, if there is one, under the allowed names of its host.

    `hosts` may hold names, addresses, `*.example.com`, and `*` for any; loopback names are always allowed.
    """

    token: str = field(default="", repr=False)
    hosts: tuple[str, ...] = ()

    def allows_host(self, host: str) -> bool:
        """Return whether a Host header names this server, which protects against DNS rebinding."""
        if ANY_HOST in self.hosts:
            return True
        found = _HOST.fullmatch(host.lower())
        if found is None:
            return False
        name = (found[1] or found[2]).rstrip(".")
        address = _address(name)
        if _is_loopback(name, address):
            return True
        if address is not None and address.is_unspecified and any(map(_is_loopback_name, self.hosts)):
            return True  # http://0.0.0.0:8080 leads here, too
        return any(_matches(name, address, allowed.lower()) for allowed in self.hosts)

    def allows_credentials(self, authorization: str) -> bool:
        """Return whether an Authorization header holds the token: as Bearer, or as the password of Basic."""
        scheme, _, credentials = authorization.partition(" ")
        given = credentials.strip().encode("latin-1")
        if scheme.lower() == "basic":
            try:
                given = base64.b64decode(given, validate=True).partition(b":")[2]
            except binascii.Error:
                return False
        elif scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(given, self.token.encode())


class Guard:
    """ASGI middleware that authenticates, assigns request ids, answers faults and sets security headers."""

    def __init__(self, app: ASGIApp, access: Access, on_answer: Callable[[str, int], None]) -> None:
        """Guard an application; `on_answer` gets the route and the status of each answer."""
        self._app = app
        self._access = access
        self._on_answer = on_answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, _Answer(scope, send, self._on_answer))
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _answer(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            _name(scope)
            self._admit(scope)
            await self._app(scope, receive, answer.send)
            await answer.replace_bare_error()
        except Refusal as refused:
            await answer.refuse(refused)
        except asyncio.CancelledError:  # the drain time is over; uvicorn would answer 500 and log a trace
            await answer.refuse(of_status(503, "the server is stopping: try again soon", {"retry-after": "1"} | CLOSE))
        except ClientDisconnect:
            logger.debug("request %s: the client has gone", scope["state"]["request_id"])
        except Exception as error:
            _log(scope, error)
            await answer.refuse(of_status(500, "internal error: look for the request id in the server's log"))

    def _admit(self, scope: Scope) -> None:
        """Raise Refusal if the request is not for this server, or not from one who may use it."""
        hosts = list(_values(scope, b"host"))
        if not hosts and scope.get("http_version") == "1.0":
            hosts = [OLD_HOST]  # it had none, and no browser speaks it
        if len(hosts) != 1 or not self._access.allows_host(hosts[0]):
            told = f"the Host {quoted(hosts[0])} is not allowed" if hosts else "the request has no Host"
            raise of_status(403, f"{told}: use the server's own name, or start it with --allowed-hosts", _close(scope))
        if not self._access.token or scope["path"] in OPEN | KEYED:
            return
        given = list(_values(scope, b"authorization"))
        if len(given) != 1 or not self._access.allows_credentials(given[0]):
            told = "the token is wrong" if given else "a token is needed"
            raise of_status(401, f"{told}: send Authorization: Bearer TOKEN", CHALLENGE | _close(scope))


class _Answer:
    """Sender of one response with our headers; replaces Starlette's plain-text errors by JSON."""

    def __init__(self, scope: Scope, send: Send, on_answer: Callable[[str, int], None]) -> None:
        self._scope = scope
        self._send = send
        self._on_answer = on_answer
        self._began = False
        self._withheld: Message | None = None

    async def send(self, message: Message) -> None:
        """Pass on what the application answers."""
        if message["type"] == "http.response.start":
            headers = dict(message["headers"])
            if message["status"] >= 400 and headers.get(b"content-type", b"").startswith(b"text/plain"):  # noqa: PLR2004
                self._withheld = message
                return
            await self._begin(message)
        elif self._withheld is None:
            await self._send(message)

    async def replace_bare_error(self) -> None:
        """Answer a route or a method that is not there."""
        if self._withheld is None:
            return
        status, headers = self._withheld["status"], dict(self._withheld["headers"])
        allow = {"allow": headers[b"allow"].decode("ascii")} if b"allow" in headers else {}
        method, path = quoted(self._scope["method"]), quoted(self._scope["path"])
        told = {
            404: f"there is nothing at {path}: see /docs",
            405: f"{path} does not answer {method}: use {allow.get('allow', 'another method')}",
        }
        await self.refuse(
            of_status(status, told.get(status, "the request cannot be answered"), allow | _close(self._scope))
        )

    async def refuse(self, refused: Refusal) -> None:
        """Answer with a refusal, unless an answer has begun."""
        if self._began:
            return
        state = self._scope["state"]
        body = _written(self._scope["path"])(refused, state["request_id"])
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode("ascii"))]
        headers += [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in refused.headers.items()]
        await self._begin({"type": "http.response.start", "status": refused.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def _begin(self, start: Message) -> None:
        self._began = True
        headers = [*start["headers"], (b"x-request-id", self._scope["state"]["request_id"].encode("ascii"))]
        set_already = {name.lower() for name, _ in headers}
        headers += [header for header in _HEADERS if header[0] not in set_already]
        self._on_answer(getattr(self._scope.get("route"), "path", ELSEWHERE), start["status"])
        await self._send({**start, "headers": headers})


def _written(path: str) -> Callable[[Refusal, str], bytes]:
    """Return what writes an error in the form of the wire that a path belongs to."""
    if path.startswith(OPENAI):
        return body_of_openai
    return body_of_inference if path.startswith(INFERENCE) else error_body


def _name(scope: Scope) -> None:
    """Put the request's id into its state: the one that it was given, else a new one."""
    state = scope.setdefault("state", {})
    given = list(_values(scope, b"x-request-id"))
    state["request_id"], state["request_id_given"] = str(uuid.uuid4()), False
    if not given:
        return
    if len(given) != 1 or not _REQUEST_ID.fullmatch(given[0]):
        raise of_status(400, "X-Request-Id is not 1 to 128 visible ASCII characters: change it, or leave it out")
    state["request_id"], state["request_id_given"] = given[0], True


def _values(scope: Scope, name: bytes) -> Iterator[str]:
    """Yield the values of a header."""
    return (value.decode("latin-1") for key, value in scope["headers"] if key == name)


def _close(scope: Scope) -> dict[str, str]:
    """Close the connection if a long body comes on it, which nobody will read."""
    length = next(_values(scope, b"content-length"), "0")
    endless = next(_values(scope, b"transfer-encoding"), None) is not None
    return CLOSE if endless or not length.isdecimal() or int(length[:20]) > _SHORT_BODY else {}


def _address(name: str) -> Address | None:
    """Read an IP address."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _is_loopback(name: str, address: Address | None) -> bool:
    return name == "localhost" or (address is not None and address.is_loopback)


def _is_loopback_name(host: str) -> bool:
    return _is_loopback(host.lower(), _address(host))


def _matches(name: str, address: Address | None, allowed: str) -> bool:
    """Return whether an allowed host matches; a server on all addresses matches each of them."""
    if allowed.startswith("*."):
        return name.endswith(allowed[1:])
    if address is not None:
        return allowed in _ALL_ADDRESSES or address == _address(allowed)
    return name == allowed


def trace_of(error: BaseException) -> str:
    """Return where an exception came from, but not its text, which may contain a message."""
    told = []
    chain: BaseException | None = error
    while chain is not None:
        told += [f"{type(chain).__module__}.{type(chain).__qualname__} at", *traceback.format_tb(chain.__traceback__)]
        chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)
    return "\n".join(line.rstrip() for line in told)


def _log(scope: Scope, error: BaseException) -> None:
    """Log where an exception came from."""
    trace = trace_of(error)
    logger.error("request %s: %s", scope["state"]["request_id"], trace, extra={"kind": trace})
