"""Parse a length of time such as 30s, 45m, 12h, 7d or 2w."""

from __future__ import annotations

import re
from datetime import timedelta

_SPELLING = re.compile(r"([0-9]{1,5})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def is_duration(text: str) -> bool:
    """Return whether a text is a length of time."""
    return _SPELLING.fullmatch(text) is not None


def duration(text: str) -> timedelta:
    """Return the length of time that a text names; it must be one."""
    found = _SPELLING.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no length of time")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
