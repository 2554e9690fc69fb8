"""Make samples of messages that are distinct, of words drawn by lot."""

import random

import numpy as np

from spamctl.drift.sample import Sample

HAM = (
    "see",
    "you",
    "home",
    "dinner",
    "tonight",
    "love",
    "call",
    "later",
    "where",
    "mum",
    "work",
    "train",
    "rain",
    "late",
)
SPAM = ("win", "prize", "cash", "claim", "now", "free", "txt", "urgent", "call", "award", "offer", "click", "reward")
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def messages(rows, seed, *, share=0.3, extra=(), extra_share=0.0):
    """Return (text, is_spam) rows; `extra` words come to a share of the spam."""
    lots = random.Random(seed)
    made = []
    for row in range(rows):
        is_spam = row < share * rows
        words = lots.choices(SPAM if is_spam else HAM, k=lots.randint(4, 12))
        words.append("".join(lots.choices(LETTERS, k=8)))
        if extra and is_spam and lots.random() < extra_share:
            words[1:1] = extra
        made.append((" ".join(words), is_spam))
    lots.shuffle(made)
    return made


def sample(rows, *, seed=0, wrong=0.0, labels="oracle", versions=("1",), width=0, shift=0.0):
    """Make a sample of (text, is_spam) rows: verdicts err at a rate, labels come from a source, or from none."""
    draws = np.random.default_rng(seed)
    truth = np.array([is_spam for _, is_spam in rows], dtype=bool)
    called = truth ^ (draws.random(len(rows)) < wrong)
    probabilities = np.where(called, draws.uniform(0.9, 1.0, len(rows)), draws.uniform(0.0, 0.1, len(rows)))
    features = draws.normal(size=(len(rows), width)) + truth[:, None] + shift
    return Sample(
        texts=[text for text, _ in rows],
        probabilities=probabilities,
        called_spam=called,
        truth=[("spam" if is_spam else "not spam") if labels else "" for is_spam in truth],
        label_sources=[labels] * len(rows),
        versions=[versions[row % len(versions)] for row in range(len(rows))],
        sources=[""] * len(rows),
        families=[""] * len(rows),
        features=features.astype(np.float32),
    )


def bare(texts):
    """Make a sample of texts that are called not spam and have no label."""
    return sample([(text, False) for text in texts], labels="")
