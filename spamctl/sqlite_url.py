"""Read and write the URL of a SQLite file, whose path may contain the characters `?`, `#` and `%`."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote, unquote

_URL = re.compile(r"sqlite(?:\+pysqlite)?:///(?P<rest>.*)", re.DOTALL)
# What SQLAlchemy hands to the driver, such as `?timeout=20`; any other question mark belongs to a folder's name.
_QUERY = re.compile(r"\?(?:\w+=[^/?&]*)(?:&\w+=[^/?&]*)*\Z")
_AWKWARD = set("?#%")


def has_query(url: str) -> bool:
    """Return whether a SQLite URL ends in a query for the driver."""
    return bool(_QUERY.search(url))


def file_of(url: str) -> Path | None:
    """Return the file that a SQLite URL means, as a path from the working folder; None if it means no file.

    Percent signs are escapes, as SQLAlchemy reads them. Where it would end the path at a question mark, and look for
    another file beside the folder, a folder's name is read instead, unless what follows can only be a query.
    """
    found = _URL.fullmatch(url)
    rest = unquote(_QUERY.sub("", found["rest"])) if found else ""
    if not rest or rest.startswith((":memory:", "file:")) or "\0" in rest:
        return None
    return Path(rest)


def url_of(file: Path) -> str:
    """Return the URL of a SQLite file that SQLAlchemy, and so MLflow, opens as this very file.

    MLflow makes the folder of any `sqlite:///…` as it is written, escapes and all; with the driver named it does not.
    """
    path = str(file)
    return f"sqlite+pysqlite:///{quote(path, safe='/ ')}" if _AWKWARD & set(path) else f"sqlite:///{path}"
