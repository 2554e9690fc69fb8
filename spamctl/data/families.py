"""Leave out families of kinds as a whole: a kind of spam with its honest twin, the same on every machine."""

from collections.abc import Sequence
from typing import Final

from spamctl.data.duplicates import key_hash
from spamctl.data.split import in_hash_order, position
from spamctl.message import Message

FOLDS: Final = 5


def fold_of(family: str) -> int:
    """Return the fold, 0 to 4, of a family; it follows from its name alone, so that new families move no old one."""
    return int(position(key_hash(f"family {family}")) * FOLDS)


def in_folds(messages: Sequence[Message], folds: Sequence[int]) -> list[bool]:
    """Return which messages belong to families of these folds; one without a family belongs to none."""
    return [bool(message.traits.family) and fold_of(message.traits.family) in folds for message in messages]


def hold_out(messages: Sequence[Message], folds: int) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """Return messages without the families of the first `folds` folds, and the natural rows of those families.

    Their border rows are in neither: they would teach what is to be unseen, and nobody receives them.
    """
    outside = in_folds(messages, range(folds))
    kept = tuple(message for message, held in zip(messages, outside, strict=True) if not held)
    unseen = (message for message, held in zip(messages, outside, strict=True) if held and not message.traits.border)
    return kept, in_hash_order(unseen)


def groups(messages: Sequence[Message]) -> list[str]:
    """Return what each message must share a fold with in cross-validation: its family, or else only its own text."""
    return [message.traits.family or message.text for message in messages]
