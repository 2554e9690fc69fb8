"""Count what a sample holds: rows, repeats, empty texts, lengths, scripts."""

from __future__ import annotations

from collections import Counter

import numpy as np

from spamctl.drift.descriptors import odd_characters, script
from spamctl.drift.sample import Sample
from spamctl.schema.monitor import Overview

MOST_SCRIPTS = 8


def overview(sample: Sample, distinct: int) -> Overview:
    """Return the figures of all rows of a sample, of which `distinct` are left once near duplicates count as one."""
    lengths = [len(text) for text in sample.texts]
    return Overview(
        rows=len(sample),
        distinct=distinct,
        repeated=len(sample) - distinct,
        empty=sum(not text.strip() for text in sample.texts),
        length_median=float(np.median(lengths)) if lengths else 0.0,
        odd_unicode_share=sum(odd_characters(text) > 0 for text in sample.texts) / max(1, len(sample)),
        scripts=scripts(sample),
    )


def scripts(sample: Sample) -> dict[str, float]:
    """Return the share of each script among all letters, the most frequent first."""
    characters: Counter[str] = Counter()
    for text in sample.texts:
        characters.update(text)
    letters: Counter[str] = Counter()
    for char, count in characters.items():
        if char.isalpha():
            letters[script(char)] += count
    return {name: count / letters.total() for name, count in letters.most_common(MOST_SCRIPTS)}
