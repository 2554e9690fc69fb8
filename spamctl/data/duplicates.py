"""Find duplicates and near duplicates, and verify that none crosses the split."""

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from spamctl.data.cleaning import UNSEEN
from spamctl.data.disjoint import DisjointSets
from spamctl.data.lookalikes import fold, table
from spamctl.data.parts import Split
from spamctl.message import Message

_DIGIT = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Distinct:
    """Each text once, with counts of what was left out."""

    messages: tuple[Message, ...]
    repeated: int  # further copies of a text that was kept
    disputed: int  # messages set aside, since twins of theirs carry the other label
    disputes: int  # groups of twins that those belong to


def twin_key(text: str) -> str:
    """Fold case and white space and mask digits, so that near duplicates of a cleaned text share a key.

    Spam is sent from templates whose numbers change. Each digit is masked on its own, not each run of them: how long a
    number is belongs to the template, while "I am 9" and "I am 2026" are no twins.
    """
    return _DIGIT.sub("0", " ".join(text.casefold().split()))


def seen_key(text: str) -> str:
    """Fold a twin key further, to what a person sees, which is also all that the model reads (`model/tokens.py`).

    Spellings that differ in characters of no width, in letters that compatibility makes equal, or in look-alikes inside
    a Latin word are one message to both: their keys are equal. Texts of one twin key have one such key.
    """
    key = twin_key(text)
    if key.isascii():
        return key
    seen = unicodedata.normalize("NFKC", UNSEEN.sub("", unicodedata.normalize("NFKC", key)))
    return twin_key(fold(seen, table()))


def key_hash(key: str) -> bytes:
    """Return the sha256 of a key; unlike `hash`, it is the same on every machine."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def group_twins(messages: Iterable[Message]) -> dict[str, list[Message]]:
    """Group messages that are seen as the same, each group under the first of its twin keys."""
    groups: defaultdict[str, list[Message]] = defaultdict(list)
    for message in messages:
        groups[seen_key(message.text)].append(message)
    return {min(twin_key(message.text) for message in group): group for group in groups.values()}


def group_related(messages: Iterable[Message]) -> dict[str, list[Message]]:
    """Group messages that are seen as the same or belong to one thread, each group under the least of its keys."""
    groups = group_twins(messages)
    first: dict[str, str] = {}  # the key of the first group of each thread
    joined = DisjointSets()
    for key, twins in groups.items():
        joined.join((key, *(first.setdefault(one.traits.thread, key) for one in twins if one.traits.thread)))
    related: defaultdict[str, list[Message]] = defaultdict(list)
    for key, twins in groups.items():
        related[joined.leader(key)] += twins
    return dict(related)


def keep_distinct(messages: Sequence[Message]) -> Distinct:
    """Keep each text once, and set aside groups of twins that carry both labels: nobody knows their truth."""
    groups = group_twins(messages)
    disputes = {key: group for key, group in groups.items() if len({message.label for message in group}) > 1}
    kept = tuple(dict.fromkeys(message for key, group in groups.items() if key not in disputes for message in group))
    disputed = sum(map(len, disputes.values()))
    return Distinct(kept, len(messages) - disputed - len(kept), disputed, len(disputes))


def leakage(split: Split) -> dict[str, int]:
    """Count messages of a later part whose text ("exact") or seen key ("masked") an earlier part holds too."""
    leaks = {"exact": 0, "masked": 0}
    texts: set[str] = set()
    keys: set[str] = set()
    for part in (split.train, split.validation, split.test):
        part_keys = [seen_key(message.text) for message in part]
        leaks["exact"] += sum(message.text in texts for message in part)
        leaks["masked"] += sum(key in keys for key in part_keys)
        texts.update(message.text for message in part)
        keys.update(part_keys)
    return leaks
