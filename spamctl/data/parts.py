"""Hold the three parts of a corpus, and pass messages between steps as plain rows."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from spamctl.errors import DataError
from spamctl.message import NOT_SPAM, SPAM, Label, Message


@dataclass(frozen=True, slots=True)
class Split:
    """Hold what a model learns from, is chosen by, and is judged on."""

    train: tuple[Message, ...]
    validation: tuple[Message, ...]
    test: tuple[Message, ...]


def to_rows(messages: Iterable[Message]) -> list[list[str]]:
    """Return messages as plain [text, label] rows."""
    return [[message.text, message.label] for message in messages]


def from_rows(rows: Iterable[list[str]]) -> tuple[Message, ...]:
    """Return the messages of plain [text, label] rows."""
    labels: dict[str, Label] = {SPAM: SPAM, NOT_SPAM: NOT_SPAM}
    return tuple(Message(text, labels[label]) for text, label in rows)


def digest(messages: Iterable[Message]) -> str:
    """Return the sha256 of a set of messages, whatever their order."""
    whole = hashlib.sha256()
    for line in sorted(json.dumps(row) for row in to_rows(messages)):
        whole.update(line.encode() + b"\n")
    return whole.hexdigest()


def require_frozen(test: Iterable[Message], sha256: str) -> None:
    """Refuse to go on if the test part is not, message by message, the one that was split off; raise DataError."""
    if digest(test) != sha256:
        raise DataError("the test part is not the one that was split off: its sha256 differs; begin the training anew")
