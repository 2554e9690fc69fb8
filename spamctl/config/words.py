"""Format messages about options: the nearest known name, and what a user wrote, repeated safely."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

LONGEST = 60


def unknown(name: str, known: Sequence[str], *, what: str, otherwise: str) -> str:
    """Report that `name` is no such `what`, with the nearest known name or, failing that, where to look."""
    return f"there is no such {what}{nearest(name, known, likeness=0.75) or '; ' + otherwise}"


def nearest(text: str, known: Sequence[str], *, likeness: float = 0.6) -> str:
    """Ask whether the nearest known word was meant; say nothing if none is near."""
    found = get_close_matches(text, known, n=1, cutoff=likeness)
    return f"; did you mean {found[0]}?" if found else ""


def shown(text: str) -> str:
    """Repeat what a user wrote: numbers bare, anything else quoted, escaped and cut."""
    try:
        float(text)
    except ValueError:
        return repr(text if len(text) <= LONGEST else text[: LONGEST - 1] + "…")
    return text.strip()


def number(value: float) -> str:
    """Write a number as a person would: 3, 0.005, 5e-05."""
    return str(value) if isinstance(value, int) else f"{value:g}"
