"""Explain a stored verdict by words, with a local copy of the exact version that gave it, if there is one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from spamctl.errors import ArtefactError
from spamctl.model.artefact import MANIFEST, digest
from spamctl.model.succession import NAME
from spamctl.serving.explain import explanation, variants

if TYPE_CHECKING:
    from spamctl.model.engine import Engine

MOST_WORDS = 6
_VERSION = re.compile(r"[0-9]{1,9}")
_LEAST_PUSH = 0.05  # log-odds, below which a word is not behind anything


class Reasons:
    """Engines for explanations, each loaded once, from the server's copies under `cache`."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._engines: dict[tuple[str, str, str], Engine | str] = {}

    def words(self, name: str, version: str, text: str, package: str = "") -> str:
        """Return the words that push a text most, each with its push in log-odds of spam, the strongest first.

        `package` is the digest of the one that answered, if it is known. Nothing if no copy of it lies here; if the
        copy is damaged, what is wrong with it.
        """
        key = (name, version, package)
        if key not in self._engines:
            self._engines[key] = self._engine(*key)
        engine = self._engines[key]
        if isinstance(engine, str):
            return engine
        without = variants(text)
        logit, *logits = engine.logits(engine.tokenize([text, *without.texts])).tolist()
        strongest = sorted(explanation(without, logit, logits), key=lambda one: -abs(one.push))[:MOST_WORDS]
        return ", ".join(f"{one.word} {one.push:+.2f}" for one in strongest if abs(one.push) >= _LEAST_PUSH)

    def _engine(self, name: str, version: str, package: str) -> Engine | str:
        """Load a version; what the store calls it must be a name before it may be part of a path."""
        if not (NAME.fullmatch(name) and _VERSION.fullmatch(version)):
            return ""
        # What a monitor has computed of a version lies beside its copy, as files of nearly the same name.
        copies = [copy for copy in sorted((self._cache / name).glob(f"{version}-*")) if _is_copy(copy, package)]
        if not copies:
            return ""
        from spamctl.model.engine import Engine  # which takes a while to load, and may not be needed

        try:
            return Engine(copies[-1], threads=1)
        except ArtefactError as refusal:
            return f"not known: {refusal}"


def _is_copy(place: Path, package: str) -> bool:
    """Return whether a folder holds a package, the one of that digest if it is known."""
    return (place / MANIFEST).is_file() and package in ("", digest(place))
