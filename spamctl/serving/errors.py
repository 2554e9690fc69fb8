"""Refuse a request in a few words that reveal nothing, as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final

from spamctl.display import visible
from spamctl.errors import SpamctlError

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
