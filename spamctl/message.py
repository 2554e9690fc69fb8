"""Name the nouns that all rooms share: Label, Message, Verdict."""

from dataclasses import dataclass
from typing import Final, Literal

Label = Literal["spam", "not spam"]

SPAM: Final = "spam"
NOT_SPAM: Final = "not spam"


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
