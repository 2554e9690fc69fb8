"""Define the three parts of a corpus, and pass messages between steps as plain rows."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

from spamctl.errors import DataError
from spamctl.schema.message import NOT_SPAM, SPAM, UNKNOWN, Label, Message, Traits


@dataclass(frozen=True, slots=True)
class Split:
    """Training, validation and test part."""

    train: tuple[Message, ...]
    validation: tuple[Message, ...]
    test: tuple[Message, ...]


def to_rows(messages: Iterable[Message]) -> list[list[str]]:
    """Return messages as plain [text, label] rows."""
    return [[message.text, message.label] for message in messages]


def to_traits(messages: Iterable[Message]) -> list[list[str | bool]]:
    """Return the traits of messages as plain rows, for a step to pass on beside `to_rows`."""
    return [list(astuple(message.traits)) for message in messages]


def from_rows(rows: Iterable[list[str]], traits: Sequence[Sequence[str | bool]] = ()) -> tuple[Message, ...]:
    """Return the messages of plain [text, label] rows, with the traits that `to_traits` wrote if they are given."""
    labels: dict[str, Label] = {SPAM: SPAM, NOT_SPAM: NOT_SPAM}
    plain = tuple(rows)
    known = [Traits(*one) for one in traits] if traits else [UNKNOWN] * len(plain)  # type: ignore[arg-type]
    return tuple(Message(text, labels[label], about) for (text, label), about in zip(plain, known, strict=True))


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
