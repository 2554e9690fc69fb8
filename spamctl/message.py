"""Name the nouns that all rooms share: Label, Message, Verdict, and the one form of the uuid of an answer."""

import re
from dataclasses import dataclass
from typing import Final, Literal

Label = Literal["spam", "not spam"]

SPAM: Final = "spam"
NOT_SPAM: Final = "not spam"

_CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Message:
    """Hold one labelled message; `text` is hostile until it is escaped."""

    text: str
    label: Label

    @property
    def is_spam(self) -> bool:
        """Tell whether the message is labelled spam."""
        return self.label == SPAM


@dataclass(frozen=True, slots=True)
class Verdict:
    """Hold what the filter answers: a label, its calibrated probability of spam in [0, 1], and whether text was cut."""

    classification: Label
    probability: float
    truncated: bool


def canonical_uuid(value: str) -> str | None:
    """Return a uuid in the one form in which it is stored, or None if it is none."""
    if _CANONICAL.fullmatch(value):
        return value
    import uuid  # nearly all are in that form already, and most commands meet none

    try:
        return str(uuid.UUID(value))
    except ValueError:
        return None
