"""Compute the model's embeddings of messages: the inputs of its head, from the served package."""

# B rows, D width of what the head reads: twice the model's, for [mean of all tokens ; last token]

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spamctl.model.engine import Engine
from spamctl.model.tick import Tick, Ticking

Features = NDArray[np.float32]

_FEATURES = "features"


class Embedder(Engine):
    """Engine that also returns the inputs of the head (N, 2D); D is read off the graph."""

    with_features = True

    def features(self, texts: Sequence[str]) -> Ticking[Features]:
        """Return features (texts, D) in the order of `texts`; a text that comes again is computed once."""
        distinct = list(dict.fromkeys(texts))
        place = {text: index for index, text in enumerate(distinct)}
        found: Features | None = None
        done = 0
        for index, part in self._parts(distinct):
            found = np.empty((len(distinct), part.shape[1]), np.float32) if found is None else found
            found[index] = part
            done += len(index)
            yield Tick("embedding", done, len(distinct))
        if found is None:
            return np.empty((0, 0), np.float32)
        return found[[place[text] for text in texts]]

    def _parts(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Features]]:
        """Yield row numbers and their features (B, D), batch by batch."""
        for index, inputs in self._filled(self.tokenize(texts)):
            yield index, self._run(inputs)[1]  # (B, D)


def reference_features(embedder: Embedder, texts: Sequence[str], key: str, path: Path) -> Ticking[Features]:
    """Return features of the reference, from the file at `path` if it was made for the same `key`."""
    if (kept := _kept(path, key)) is not None and len(kept) == len(texts):
        return kept
    found = yield from embedder.features(texts)
    draft = path.with_name(f".{path.name}")
    with draft.open("wb") as file:
        np.savez(file, key=np.array(key), features=found)
    draft.replace(path)
    return found


def _kept(path: Path, key: str) -> Features | None:
    """Return kept features; none if there are none, or they are another model's, or the file is damaged."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as kept:
            if str(kept["key"]) != key:
                return None
            return np.asarray(kept[_FEATURES], np.float32)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
