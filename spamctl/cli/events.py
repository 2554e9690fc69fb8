"""Parse the events of a flow's steps: one line of JSON each, behind Metaflow's own prefix."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from spamctl.schema.codec import JsonObject, from_json
from spamctl.schema.event import Event, Failure, Found, Metric, Note, Notice, Progress, Refusal, Result, Stage

_LINE = re.compile(r"\S+ \S+ \[[^/\]]+/(?P<step>[^/\]]+)/[^\]]+ \(pid \d+\)\] (?P<text>.*)")
_JOB = re.compile(r"\[[^\]\s]+\] (?=\{\"spamctl\")")  # which kubernetes and batch put before a line of their job
_HEADLINE = re.compile(r"(?:\[[^\]\s]+\] )? {4}(?P<text>[A-Z](?!tep failure)[\w ]+):")
_OF_A_JOB = re.compile(r"\[[^\]\s]+\] +")
_FAILURE = re.compile(r"(?P<text>[\w.]*(?:Error|Exception|Interrupt|Exit|Warning)\b.*)")

KINDS: Mapping[str, Any] = MappingProxyType(
    {
        "stage": Stage,
        "progress": Progress,
        "metric": Metric,
        "note": Note,
        "warning": Notice,
        "found": Found,
        "refusal": Refusal,
        "failure": Failure,
    }
)


@dataclass(frozen=True)
class Line:
    """A line of output: the step that wrote it, and the text."""

    step: str
    text: str


def read_line(line: str) -> Line | None:
    """Take Metaflow's prefix off a line; None if no step wrote it."""
    found = _LINE.fullmatch(line)
    return Line(found["step"], _JOB.sub("", found["text"], count=1)) if found else None


def read_event(text: str) -> Event | None:
    """Read a step's line as an event; None if it is anything else."""
    if not text.startswith('{"spamctl"'):
        return None
    try:
        fields: JsonObject = json.loads(text)
        kind = fields.pop("spamctl")
        if kind == "result":
            return Result(str(fields["verb"]), fields) if isinstance(fields.get("verb"), str) else None
        event: Event | None = from_json(KINDS[kind], fields) if isinstance(kind, str) and kind in KINDS else None
    except ValueError:  # which no JSON is, too
        return None
    return event


def read_headline(text: str) -> str:
    """Read the line with which Metaflow itself begins to say why it failed, `S3 object not found:`; else nothing."""
    found = _HEADLINE.fullmatch(text)
    return f"{found[1]}: " if found else ""


def read_reason(text: str) -> str:
    """Read the line after such a headline, which says why."""
    return _OF_A_JOB.sub("", text.strip(), count=1)


def read_failure(text: str) -> str | None:
    """Read the last line of a traceback, `ZeroDivisionError: division by zero`; None if it is anything else."""
    found = _FAILURE.fullmatch(text)
    return found["text"] if found else None
