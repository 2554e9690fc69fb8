"""Replace hostile words by harmless ones, so that a page can be drawn without showing any message."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

MOST_CATEGORIES = 12
OTHERS = "others"

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_. -]{0,39}")


def word_ranks(*samples: Sequence[str]) -> list[list[str]]:
    """Return texts in which each word is its rank among all words: what a domain classifier learns stays the same.

    The words are those that Evidently's vectoriser would take, and their order is kept, so that even its random
    choices fall alike.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    split = TfidfVectorizer(stop_words="english").build_analyzer()
    tokens = [[split(text) for text in texts] for texts in samples]
    known = sorted({token for texts in tokens for text in texts for token in text})
    rank = {token: f"w{place:08d}" for place, token in enumerate(known)}
    return [[" ".join(rank[token] for token in text) for text in texts] for texts in tokens]


def safe_names(names: Iterable[Sequence[str]], kind: str) -> dict[str, str]:
    """Return what stands for each name: itself if harmless, else a number; those beyond the twelfth are others."""
    counts = Counter(name for sample in names for name in sample)
    shown: dict[str, str] = {}
    for place, (name, _) in enumerate(counts.most_common()):
        harmless = _SAFE.fullmatch(name) is not None and name != OTHERS
        shown[name] = OTHERS if place >= MOST_CATEGORIES else name if harmless else f"{kind} no. {place + 1}"
    return shown
