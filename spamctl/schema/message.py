"""Define the nouns that all rooms share: Label, Message, Verdict, and the canonical form of an answer's uuid."""

import re
from dataclasses import dataclass, field
from typing import Final, Literal

Label = Literal["spam", "not spam"]
OutOfReach = Literal["deliver", "judge"]  # what becomes of a message unlike all that was trained on

SPAM: Final = "spam"
NOT_SPAM: Final = "not spam"

_CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Traits:
    """What is known of a message beside its text and its label; an empty string where nothing is.

    A kind of spam and its honest twin (a parcel-fee scam and a parcel notice) are one family: what a filter does on
    unseen kinds is measured by holding families out whole. `border` marks rows written near the border between the
    labels: they teach, but they set no threshold, since nobody receives them at that rate.

    Mails of one `thread` (a conversation, or all of a mailing list) stay on one side of the split. `received` is when a
    message came, as seconds since 1970 in decimal digits, so that the newest ones can be kept for the test.
    """

    dataset: str = ""
    kind: str = ""
    family: str = ""
    medium: str = ""
    language: str = ""
    border: bool = False
    thread: str = ""
    received: str = ""


UNKNOWN: Final = Traits()


@dataclass(frozen=True, slots=True)
class Message:
    """One labelled message; `text` is hostile until it is escaped. Two are equal if text and label are."""

    text: str
    label: Label
    traits: Traits = field(default=UNKNOWN, compare=False)

    @property
    def is_spam(self) -> bool:
        """Return whether the message is labelled spam."""
        return self.label == SPAM


@dataclass(frozen=True, slots=True)
class Verdict:
    """Answer of the filter: a label, its calibrated probability of spam in [0, 1], and whether text was cut.

    `in_reach` is False for a message unlike all that was trained on. Where such are delivered, its label is `not spam`
    whatever its probability, which stays what the experts say.
    """

    classification: Label
    probability: float
    truncated: bool
    in_reach: bool


def canonical_uuid(value: str) -> str | None:
    """Return a uuid in the one form in which it is stored, or None if it is none."""
    if _CANONICAL.fullmatch(value):
        return value
    import uuid  # nearly all are in that form already, and most commands meet none

    try:
        return str(uuid.UUID(value))
    except ValueError:
        return None
