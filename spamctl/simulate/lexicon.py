"""Read the word lists of the simulation; each is a file that one can extend with an editor."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from spamctl.schema.codec import from_json

_FOLDER = "lexicons"


@cache
def lexicon(name: str) -> dict[str, Any]:
    """Return a word list of the package by its name, such as `vocabulary-spam`."""
    text = files("spamctl.simulate").joinpath(_FOLDER, f"{name}.yaml").read_text(encoding="utf-8")
    return {key: _lines(value) for key, value in yaml.safe_load(text).items()}


@dataclass(frozen=True, slots=True)
class HostWords:
    """Parts of made-up host names: first, joint, second."""

    first: tuple[str, ...]
    joint: tuple[str, ...]
    second: tuple[str, ...]


@cache
def host_words() -> HostWords:
    """Return the parts of made-up host names."""
    return from_json(HostWords, lexicon("hosts"))


def _lines(value: Any) -> Any:
    """Turn each block of text into its lines: one phrase a line needs no quotes."""
    if isinstance(value, dict):
        return {key: _lines(inner) for key, inner in value.items()}
    return value.splitlines() if isinstance(value, str) and "\n" in value else value
