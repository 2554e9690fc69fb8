"""Define the results of the short verbs rollback, forget and trace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class RollbackResult:
    """A model's name, and the version that was champion before (empty: none) and is now."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class ForgetResult:
    """Counts of a removal: rows, what belonged to them, rows removed before, and rows left with the very same text.

    `unknown` are the wishes, from 1 on, that no row answers; `date` is when a single row was removed. `wish` names the
    age or the file of wishes, which is `listed` if it holds messages itself. `places` counts what was cleaned by place,
    `left` says what could not be reached.
    """

    rows: int
    related: int
    already: int
    unknown: tuple[int, ...]
    copies: int
    store: str
    date: str
    kind: Literal["uuid", "older_than", "matching"]
    wish: str
    listed: bool
    places: Mapping[str, int]
    left: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TraceResult:
    """An answer's chain back to the code, link by link, and its text if that was asked for; the text is hostile."""

    chain: Mapping[str, str]
    text: str | None
