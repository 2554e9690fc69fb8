"""Measure which way to tell that a message is unlike all of training finds languages that were held out whole.

    python tests/bench/novelty.py

It prints two tables and asserts nothing; no model is trained. The first sets ways to measure novelty side by side: each
with the limit that leaves out 2 % of good validation messages, and what it leaves out of held-out languages, of spam,
of spam whose letters are written as digits, and of spam with as many innocent words behind it. The second holds out one
language at a time, by the way that is built in.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import numpy as np
from measuring import circumstances, table

from spamctl.data.corpus import DEFAULT, CorpusRequest, read_datasets
from spamctl.data.split import split
from spamctl.engine.ngrams import BUCKETS, GOOD_SHARE, PRIOR, Vocabulary, as_read, count
from spamctl.schema.message import Message
from spamctl.traffic import rewrites
from spamctl.traffic.rng import SeededRandom

LATIN = frozenset(("vi", "fi", "hu", "tr", "pl", "cs"))
OTHER_SCRIPTS = frozenset(("th", "ja", "he", "ko", "el", "ka", "ta", "am", "bn", "ar", "fa", "ur", "zh"))
HELD_OUT = LATIN | OTHER_SCRIPTS
LEAST_ROWS = 15  # of a language that is held out alone
NGRAM_PRIOR = 20

Novelty = Callable[[str], float]


def ngram_share(train: Sequence[Message]) -> Novelty:
    """Measure by n-grams: the share that fall into buckets that no training message fell into."""
    seen = np.zeros(BUCKETS, np.bool_)
    for message in train:
        seen[count(message.text)[0]] = True

    def novelty(text: str) -> float:
        buckets, counts = count(text)
        return float(counts[~seen[buckets]].sum() / (counts.sum() + NGRAM_PRIOR))

    return novelty


def any_word_share(train: Sequence[Message]) -> Novelty:
    """Measure by whatever stands between blanks, whether it is made of letters or not."""
    seen = {word for message in train for word in as_read(message.text).split()}

    def novelty(text: str) -> float:
        words = as_read(text).split()
        return sum(word not in seen for word in words) / (len(words) + PRIOR)

    return novelty


def word_share(train: Sequence[Message]) -> Novelty:
    """Measure as a package does."""
    return Vocabulary.of(message.text for message in train).novelty


WAYS = {"n-grams": ngram_share, "whatever is between blanks": any_word_share, "words of letters": word_share}


def main() -> None:
    """Print both tables."""
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    print(circumstances(1, ("numpy",)))
    messages = read_datasets(CorpusRequest(DEFAULT)).messages
    parts = split(messages)
    without = [message for message in messages if message.traits.language in HELD_OUT]
    train, validation = (of_others(part, HELD_OUT) for part in (parts.train, parts.validation))
    spam = [message.text for message in validation if message.is_spam]
    groups = {
        "other scripts": [message.text for message in without if message.traits.language in OTHER_SCRIPTS],
        "Latin": [message.text for message in without if message.traits.language in LATIN],
        "spam": spam,
        "in digits": [rewrites.leet(text, SeededRandom(row), 1.0) for row, text in enumerate(spam)],
        "padded": [rewrites.good_words(text, SeededRandom(row), 1.0) for row, text in enumerate(spam)],
    }
    rows = []
    for name, way in WAYS.items():
        novelty = way(train)
        limit = limit_of(novelty, validation)
        rows.append([name, f"{limit:.2f}", *(beyond(novelty, texts, limit) for texts in groups.values())])
    print(f"\n{len(without):,} messages in {len(HELD_OUT)} languages held out whole: the share that is out of reach")
    print(table(["by", "limit", *groups], rows))
    print("\none language held out at a time")
    print(table(["language", "messages", "out of reach"], list(by_language(messages, parts.train, parts.validation))))


def by_language(
    messages: Sequence[Message], train: Sequence[Message], validation: Sequence[Message]
) -> list[list[str]]:
    """Return a row for each language: how many messages, and which share is out of reach of the others."""
    texts: dict[str, list[str]] = {}
    for message in messages:
        texts.setdefault(message.traits.language, []).append(message.text)
    rows = []
    for language, found in sorted(texts.items(), key=lambda item: -len(item[1])):
        if language in {"", "en"} or len(found) < LEAST_ROWS:
            continue
        novelty = word_share(of_others(train, {language}))
        limit = limit_of(novelty, of_others(validation, {language}))
        rows.append([language, f"{len(found):,}", beyond(novelty, found, limit)])
    return rows


def of_others(messages: Sequence[Message], languages: frozenset[str] | set[str]) -> list[Message]:
    """Return the messages in none of some languages."""
    return [message for message in messages if message.traits.language not in languages]


def limit_of(novelty: Novelty, validation: Sequence[Message]) -> float:
    """Return the limit that leaves out as many good messages as a package may."""
    good = [novelty(message.text) for message in validation if not message.is_spam]
    return float(np.quantile(good, 1 - GOOD_SHARE, method="higher"))


def beyond(novelty: Novelty, texts: Sequence[str], limit: float) -> str:
    """Return the share of texts that are out of reach."""
    return f"{np.mean([novelty(text) > limit for text in texts]):.1%}"


if __name__ == "__main__":
    main()
