"""Parse a server's answer to a batch, and explain what deviates from the wire format."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from spamctl.message import NOT_SPAM, SPAM, Label, canonical_uuid

_ERROR_CODE = re.compile(r"[A-Z][A-Z_]{1,39}")


@dataclass(frozen=True, slots=True)
class Answer:
    """Prediction of a server for one message."""

    classification: Label
    probability: float
    uuid: str
    model_version: str
    captured: bool


def read_answers(body: bytes, messages: int) -> list[Answer] | str:
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
    if fault := next(filter(None, map(_fault, rows)), ""):
        return fault
    if len({row["uuid"] for row in rows}) != messages:
        return "two predictions have the same uuid"
    return [_answer(row) for row in rows]


def error_code(body: bytes) -> str:
    """Return the code in words of an error's body, such as INVALID_PARAMETER_VALUE; nothing if it has none."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    code = told.get("error_code") if isinstance(told, dict) else None
    return code if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else ""


def _fault(row: Any) -> str:
    """Return what is wrong with a prediction, or an empty string."""
    if not isinstance(row, dict):
        return "a prediction is no object"
    uuid, probability = row.get("uuid"), row.get("probability")
    if not isinstance(uuid, str) or canonical_uuid(uuid) != uuid:
        return "a prediction has no uuid"
    if row.get("classification") not in (SPAM, NOT_SPAM):  # a tuple: what is compared may be a list
        return "a prediction's classification is neither spam nor not spam"
    if isinstance(probability, bool) or not isinstance(probability, int | float) or not 0 <= probability <= 1:
        return "a prediction's probability is no number from 0 to 1"
    if not isinstance(row.get("model_version"), str) or not row["model_version"]:
        return "a prediction names no model version"
    return "" if isinstance(row.get("captured"), bool) else "a prediction does not say whether it is captured"


def _answer(row: dict[str, Any]) -> Answer:
    return Answer(row["classification"], float(row["probability"]), row["uuid"], row["model_version"], row["captured"])
