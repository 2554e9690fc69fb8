"""Parse a length of time such as 30s, 45m, 12h, 7d or 2w, and the window that it reaches back."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

_SPELLING = re.compile(r"([0-9]{1,5})([smhdw])")
ALWAYS = "always"  # an age that leaves nothing out
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def is_duration(text: str) -> bool:
    """Return whether a text is a length of time."""
    return _SPELLING.fullmatch(text) is not None


def is_age(text: str) -> bool:
    """Return whether a text is the age of a window's oldest rows: a length of time, or always."""
    return text == ALWAYS or is_duration(text)


def since(age: str, now: datetime) -> datetime | None:
    """Return the moment at which a window of an age begins; None if it has no beginning."""
    return None if age == ALWAYS else now - duration(age)


def duration(text: str) -> timedelta:
    """Return the length of time that a text names; it must be one."""
    found = _SPELLING.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no length of time")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
