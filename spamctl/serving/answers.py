"""Parse a server's answer to a batch, and explain what deviates from the wire format."""

from __future__ import annotations

import json
import re

from spamctl.schema.prediction import Prediction

_ERROR_CODE = re.compile(r"[A-Z][A-Z_]{1,39}")


def read_answers(body: bytes, messages: int) -> list[Prediction] | str:
    """Return the answers to so many messages, or say in a few words how the body strays from the wire format."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return "the answer is no JSON"
    rows = told.get("predictions") if isinstance(told, dict) else None
    if not isinstance(rows, list):
        return "the answer has no list of predictions"
    if len(rows) != messages:
        return f"{len(rows):,} predictions for {messages:,} messages"
    try:
        found = list(map(Prediction.from_wire, rows))
    except ValueError as stray:
        return str(stray)
    return found if len({one.uuid for one in found}) == messages else "two predictions have the same uuid"


def error_code(body: bytes) -> str:
    """Return the code in words of an error's body, such as INVALID_PARAMETER_VALUE; nothing if it has none."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    code = told.get("error_code") if isinstance(told, dict) else None
    return code if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else ""
