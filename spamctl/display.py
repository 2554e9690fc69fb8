"""Escape hostile text before a terminal or a page shows it, and leave out passwords."""

from __future__ import annotations

import html as _html
import re
import unicodedata

# Categories that draw nothing or steer what is drawn: control, format (zero-width, bidi), surrogate, private use,
# unassigned, line and paragraph separators.
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

# Letters, marks and symbols that are drawn as nothing or as a blank.
_BLANKS = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def visible(text: object) -> str:
    """Return the text on one line, with each control, bidi, zero-width or otherwise unseen character as an escape."""
    return "".join(_escaped(char) if _is_hidden(char) else char for char in str(text))


def html(text: object) -> str:
    """Return the text as HTML that shows exactly its characters, in an element or in a quoted attribute."""
    return _html.escape(visible(text), quote=True)


def ascii_only(text: object) -> str:
    """Return the visible text in ASCII, for a terminal that can show nothing else."""
    return visible(text).replace("\N{EN DASH}", "-").encode("ascii", "backslashreplace").decode("ascii")


def _is_hidden(char: str) -> bool:
    """Return whether a character is invisible, or reorders or hides others."""
    return not " " <= char <= "~" and (
        unicodedata.category(char) in _HIDDEN_CATEGORIES or _BLANKS.match(char) is not None
    )


def _escaped(char: str) -> str:
    r"""Spell a character as Python would: `\n`, `\x1b`, `\u202e`, `\U000e0041`."""
    return char.encode("unicode_escape").decode("ascii")


# Take passwords and tokens out of addresses before they are shown, logged or kept.

# A user may be named; what stands behind its colon, or alone before the last @, is a secret.
_CREDENTIALS = re.compile(r"(?<=://)([^/?#]*:)?[^/?#]*@")


def without_password(uri: str) -> str:
    """Return a URI that may name a server and a user, with *** for the password or the token."""
    return _CREDENTIALS.sub(r"\1***@", uri)
