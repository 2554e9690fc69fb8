"""Read single cues of messages, to see how far each alone tells spam from the rest in a corpus."""

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from spamctl.metrics.scores import roc_auc
from spamctl.schema.message import Message

_LINK = re.compile(
    r"https?://|www\.|\b[\w-]+(?:\.[\w-]+)*\.[a-z]{2,6}/\S|\b[\w-]+\.(?:com|net|org|info|co|in|de|io|app|shop)\b"
)
_MONEY = "rs|inr|usd|eur|ksh|kes|php|idr|rp|rm|aed|zar|ngn|tl|kr|zł|chf"
_AMOUNT = re.compile(rf"[$£€¥₹₦]|\b(?:{_MONEY})\b\.?\s?\d", re.IGNORECASE)
_TLD = re.compile(r"\b[\w-]+\.([a-z]{2,6})(?:/|\b)")

NUMBERS: Mapping[str, Callable[[str], float]] = {
    "links": lambda text: len(_LINK.findall(text)),
    "amounts": lambda text: len(_AMOUNT.findall(text)),
    "digits": lambda text: sum(map(str.isdigit, text)) / max(1, len(text)),
    "capitals": lambda text: sum(map(str.isupper, text)) / max(1, sum(map(str.isalpha, text))),
    "length": len,
    "punctuation": lambda text: sum(text.count(sign) for sign in "!?*") / max(1, len(text)),
}
NAMES: Mapping[str, Callable[[Message], str]] = {
    "top-level domain": lambda message: (_TLD.findall(message.text.lower()) or [""])[0],
    "language": lambda message: message.traits.language,
    "medium": lambda message: message.traits.medium,
}


def areas(messages: Sequence[Message]) -> dict[str, float]:
    """Return how well each cue alone ranks spam above the rest, in whichever direction it does."""
    truth = np.array([message.is_spam for message in messages])
    found = {}
    for name, read in NUMBERS.items():
        values = np.array([read(message.text) for message in messages], float)
        area = float(roc_auc(values[truth], values[~truth]))
        found[name] = max(area, 1 - area)
    for name, name_of in NAMES.items():
        names = np.array([name_of(message) for message in messages], dtype=object)
        rates = {one: truth[names == one].mean() for one in set(names)}  # fitted where it is measured: an upper bound
        values = np.array([rates[one] for one in names], float)
        found[name] = float(roc_auc(values[truth], values[~truth]))
    return found
