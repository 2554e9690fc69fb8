"""Validate the names of models, experiments and versions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from spamctl.config.options import Fault
from spamctl.config.words import shown

COPIES = Path(".spamctl", "models")  # of registered packages, in the working folder
VERSIONS = ("champion", "challenger", "latest")
NAME = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,100}")  # of a model: a folder's too
_PLAIN = r"\w(?:[\w .-]*[\w-])?"
_LONGEST = 100


def name_faults(option: str, name: str) -> Iterator[Fault]:
    """Yield what keeps a text from being a model's name, a folder's too."""
    if not NAME.fullmatch(name):
        words = "must be 1 to 100 letters, digits and . _ - and not begin with a dot"
        yield Fault((option,), f"{words}, got {shown(name)}")


def experiment_faults(option: str, name: str) -> Iterator[Fault]:
    """Yield what keeps a text from naming an experiment: beside a store in a file, it names a folder of artefacts."""
    if len(name) > _LONGEST or not re.fullmatch(f"{_PLAIN}(?:/{_PLAIN})*", name):
        words = f"must be 1 to {_LONGEST} letters, digits, blanks and . _ - with / only between names"
        yield Fault((option,), f"{words}, got {shown(name)}")


def version_faults(option: str, version: str, words: tuple[str, ...] = VERSIONS) -> Iterator[Fault]:
    """Yield what keeps a text from naming a version: it is one of some words, or a number."""
    if version not in words and not re.fullmatch(r"[1-9]\d{0,17}", version, re.ASCII):
        yield Fault((option,), f"must be {', '.join(words)} or a number, got {shown(version)}")
