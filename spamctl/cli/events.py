"""Parse the events of a flow's steps: one line of JSON each, behind Metaflow's own prefix."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

_LINE = re.compile(r"\S+ \S+ \[[^/\]]+/(?P<step>[^/\]]+)/[^\]]+ \(pid \d+\)\] (?P<text>.*)")
_FAILURE = re.compile(r"(?P<text>[\w.]*(?:Error|Exception|Interrupt|Exit|Warning)\b.*)")

_FIELDS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "stage": {"stage": str, "title": str, "index": int, "of": int},
    "progress": {"task": str, "done": (int, float), "total": (int, float), "unit": str},
    "metric": {"name": str, "value": (int, float)},
    "note": {"text": str},
    "warning": {"text": str},
    "found": {"served": dict, "shadow": (dict, type(None))},
    "refusal": {"text": str, "exit_code": int},
    "failure": {"text": str, "stage": str},
    "result": {"verb": str},
}


@dataclass(frozen=True)
class Event:
    """An event: its kind and its fields."""

    kind: str
    fields: dict[str, Any]


@dataclass(frozen=True)
class Line:
    """A line of output: the step that wrote it, and the text."""

    step: str
    text: str


def read_line(line: str) -> Line | None:
    """Take Metaflow's prefix off a line; None if no step wrote it."""
    found = _LINE.fullmatch(line)
    return Line(found["step"], found["text"]) if found else None


def read_event(text: str) -> Event | None:
    """Read a step's line as an event; None if it is anything else."""
    if not text.startswith('{"spamctl"'):
        return None
    try:
        fields = json.loads(text)
    except json.JSONDecodeError:
        return None
    kind = fields.pop("spamctl")
    wanted = _FIELDS.get(kind) if isinstance(kind, str) else None
    if wanted is None or not all(isinstance(fields.get(name), types) for name, types in wanted.items()):
        return None
    return Event(kind, fields)


def read_failure(text: str) -> str | None:
    """Read the last line of a traceback, `ZeroDivisionError: division by zero`; None if it is anything else."""
    found = _FAILURE.fullmatch(text)
    return found["text"] if found else None
