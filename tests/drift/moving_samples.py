"""Make samples of messages, with a change or without, and with payloads in every place that holds a word."""

import numpy as np

from spamctl.drift.sample import Sample
from tests.hostile import PAYLOADS

WORDS = ("home", "dinner", "late", "call", "money", "free", "prize", "win", "see", "tomorrow", "train", "lunch", "ok")
NEW = ("crypto", "parcel", "depot")
SECRET = "xyzzyplugh"  # a word of a message that no page may show


def made(rows, *, seed=0, moved=0.0, labelled=1.0, width=16, hostile=False):
    """Return a sample; `moved` is how far it is from the reference, 0 being not at all."""
    chance = np.random.default_rng(seed)
    spam = chance.random(rows) < 0.2 + 0.1 * moved
    pool = WORDS + (NEW if moved else ())
    texts = [
        " ".join([*chance.choice(pool, int(chance.integers(4, 14) + 4 * moved)), f"{SECRET}{row}"])
        + (" £100 http://x.example" if is_spam else "")
        for row, is_spam in enumerate(spam)
    ]
    probabilities = np.clip(np.where(spam, 0.85 - 0.3 * moved, 0.08) + chance.normal(0, 0.12, rows), 0, 1)
    known = chance.random(rows) < labelled
    names = [PAYLOADS[row % len(PAYLOADS)] if hostile else ("web", "batch")[row % 2] for row in range(rows)]
    if hostile:
        texts[: len(PAYLOADS)] = [f"{payload} {SECRET}" for payload in PAYLOADS]
    return Sample(
        texts=texts,
        probabilities=probabilities,
        called_spam=probabilities >= 0.5,
        truth=[
            ("spam" if is_spam else "not spam") if there else "" for is_spam, there in zip(spam, known, strict=True)
        ],
        label_sources=[(names[row] if hostile else "oracle") if there else "" for row, there in enumerate(known)],
        versions=names if hostile else ["3"] * rows,
        sources=names,
        families=names if hostile else [""] * rows,
        features=chance.normal(0.4 * moved, 1, (rows, width)).astype(np.float32),
    )
