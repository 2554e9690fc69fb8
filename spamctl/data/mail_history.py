"""Leave out of a mail's text what earlier mails said: quoted history and long signatures.

The rule, which the corpus `everyday` follows too:

* Of lines that begin with `>`, the first six of the mail stay; they show what is answered.
* In a reply, of what follows a line such as `-----Original Message-----`, the first six lines stay. A forwarded mail
  stays whole, for it is what the sender says.
* Of a signature, which follows the line `--`, the first four lines stay, as netiquette has it. What is longer than the
  text above it is no signature, and stays: spam would hide there.
* A mail that says nothing itself stays as it is.
"""

from __future__ import annotations

import re
from typing import Final

MOST_QUOTED: Final = 6
MOST_SIGNED: Final = 4
_LEAST_OWN = 3  # characters that are no white space, for an answer
_ORIGINAL = re.compile(r"-{3,20}+ ?[^\W\d_][^\n-]{4,40}+-{3,20}+\s*|_{20,80}+\s*")
_FIELD = re.compile(r"\*?[^\W\d_]{2,12}\*?:")  # From:, Von:, De: below a line of underscores


def without_history(text: str, *, is_reply: bool) -> str:
    """Return a text without long quotations and signatures; `is_reply` says that it answers an earlier mail."""
    lines = text.split("\n")
    if is_reply:
        lines = _without_original(lines)
    lines = _without_signature(_without_quotes(lines))
    return "\n".join(lines)


def unflowed(text: str, *, delete_space: bool) -> str:
    """Join the lines of a text that its sender's program has broken (RFC 3676, format=flowed)."""
    lines: list[str] = []
    is_open = False
    for raw in text.split("\n"):
        line = raw.rstrip("\r").removeprefix(" ")
        ends_open = line.endswith(" ") and line != "-- "
        piece = line[:-1] if ends_open and delete_space else line
        if is_open and not line.startswith(">") and line != "-- ":
            lines[-1] += piece
        else:
            lines.append(piece)
        is_open = ends_open and not line.startswith(">")
    return "\n".join(lines)


def _without_original(lines: list[str]) -> list[str]:
    """Cut the mail that a reply carries below its own text."""
    for place, line in enumerate(lines):
        if _ORIGINAL.fullmatch(line) and _says_something(lines[:place]):
            if line.startswith("_") and not any(_FIELD.match(below) for below in lines[place + 1 : place + 3]):
                continue
            below = [one for one in lines[place + 1 :] if one.strip()]
            return [*lines[: place + 1], *below[:MOST_QUOTED]]
    return lines


def _without_quotes(lines: list[str]) -> list[str]:
    """Keep the first quoted lines, and all that are not quoted."""
    if not _says_something(lines):
        return lines
    kept, quoted = [], 0
    for line in lines:
        is_quoted = line.startswith(">")
        quoted += is_quoted
        if not is_quoted or quoted <= MOST_QUOTED:
            kept.append(line)
    return kept


def _without_signature(lines: list[str]) -> list[str]:
    """Keep the first lines of a signature."""
    marks = [place for place, line in enumerate(lines) if line.rstrip() == "--"]
    if not marks:
        return lines
    above, below = lines[: marks[-1]], lines[marks[-1] + 1 :]
    if not _says_something(above) or sum(map(len, below)) > sum(map(len, above)):
        return lines
    return lines[: marks[-1] + 1 + MOST_SIGNED]


def _says_something(lines: list[str]) -> bool:
    """Return whether lines hold text that is not quoted."""
    return sum(len(line.strip()) for line in lines if not line.startswith(">")) >= _LEAST_OWN
