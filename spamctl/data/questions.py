"""Select each message for review once: an exact copy gets the same label, and a near duplicate is skipped."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from spamctl.data.cleaning import clean
from spamctl.data.duplicates import key_hash, twin_key


@dataclass(slots=True)
class Question:
    """A question for the reviewer: rows of one text, and how many near duplicates of it are not asked."""

    text: str
    uuids: list[str] = field(default_factory=list)
    twins: int = 0


def cluster(text: str) -> bytes:
    """Return what near duplicates of a message share."""
    return key_hash(twin_key(clean(text)))


def questions(rows: Iterable[tuple[str, str]], settled: Collection[bytes] = ()) -> list[Question]:
    """Return what to ask of (uuid, text) rows, in their order: the first of each cluster that is not settled."""
    asked: dict[bytes, Question] = {}
    for uuid, text in rows:
        key = cluster(text)
        if key in settled:
            continue
        question = asked.setdefault(key, Question(text))
        if question.text == text:
            question.uuids.append(uuid)
        else:
            question.twins += 1
    return list(asked.values())
