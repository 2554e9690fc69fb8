"""Validate the options that name the encoding of a file."""

import codecs
from collections.abc import Iterator

from spamctl.config.options import Fault
from spamctl.config.words import shown


def encoding_faults(name: str, encoding: str) -> Iterator[Fault]:
    """Yield the fault of an option that names neither auto nor an encoding of text."""
    try:
        is_text = encoding == "auto" or getattr(codecs.lookup(encoding), "_is_text_encoding", True)
    except (LookupError, ValueError):
        is_text = False
    if not is_text:
        yield Fault((name,), f"must be auto or an encoding such as utf-8, cp1252 or gb18030, got {shown(encoding)}")
