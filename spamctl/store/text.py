r"""Encode any Python string so that SQLite and PostgreSQL return it unchanged.

PostgreSQL's text holds no NUL, SQLite's `length()` stops at one, neither driver takes a lone surrogate, and a SQLite
file in UTF-16 gives the noncharacters U+FFFE and U+FFFF back as U+FFFD. So each of these is written as DLE (U+0010,
"data link escape") and the four hexadecimal digits of its code point; a DLE of the message is escaped the same way:

    message     stored
    "a\0b"      "a" DLE "0000b"
    "\ud83d"    DLE "d83d"
    "\x10"      DLE "0010"

All other text, which is all that people write, is stored as it is: who reads the table with SQL sees plain messages.
The mapping is one to one, so equal texts are equal in SQL too. In SQL, `text LIKE '%' || char(16) || '%'` finds
what is escaped (`chr(16)` in PostgreSQL).
"""

from __future__ import annotations

import re

_UNWRITABLE = re.compile("[\0\x10\ud800-\udfff\ufffe\uffff]")
_ESCAPED = re.compile("\x10(0000|0010|d[89a-f][0-9a-f]{2}|fff[ef])")


def encode(text: str) -> str:
    """Return `text` as it is stored; any string is accepted."""
    return _UNWRITABLE.sub(lambda found: f"\x10{ord(found[0]):04x}", text)


def decode(stored: str) -> str:
    """Return the text that was stored; what another program wrote and is no escape of ours stays as it is."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), stored)
