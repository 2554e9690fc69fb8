"""Find surface patterns that occur with one class only, and balance them.

Spam in look-alike letters, learnt without a good message in such letters, teaches that the letters are spam.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from spamctl.data.cleaning import UNSEEN
from spamctl.message import NOT_SPAM, SPAM, Label, Message
from spamctl.schema.feedback import Side

PLAIN: Final = "in plain letters"
ACCENTED: Final = "in accented letters"
FOREIGN: Final = "in letters of other alphabets"
LINKED: Final = "with a link"
# Where there are no honest messages in Cyrillic, those in accented letters say at least that no letter is a proof.
_KIN: Final = {FOREIGN: frozenset({FOREIGN, ACCENTED})}
_LINK = re.compile(
    r"https?://|www\.|\b[a-z0-9-]{1,63}\.(?:com|net|org|info|biz|tv|mobi|io|ly|co|uk|me|app)\b", re.IGNORECASE
)
_LEAST = 5  # answers of a look: fewer teach little
_ONE_SIDED = 0.05  # of a look's answers: fewer of the other class are none


def looks(text: str) -> frozenset[str]:
    """Return how a message looks to the model, which reads neither dressed letters nor characters without width."""
    letters = PLAIN
    if not text.isascii():
        text = unicodedata.normalize("NFKC", UNSEEN.sub("", unicodedata.normalize("NFKC", text)))
        alphabets = {_alphabet(char) for char in text if not char.isascii() and char.isalpha()}
        letters = FOREIGN if alphabets - {"LATIN"} else ACCENTED if alphabets else PLAIN
    return frozenset({letters, LINKED}) if _LINK.search(text) else frozenset({letters})


def sides(answers: Sequence[Message], known: Sequence[Message], weight: float) -> tuple[Side, ...]:
    """Return the looks of which `answers` are of one class, each to count for `weight` of the dataset (`known`).

    Either side of a look shall weigh as much as the other: its counterparts in the dataset are raised, each to no more
    than an answer counts, and what is then missing is taken off the answers, each of which counts as one at least.
    """
    learnt, there = _counted(answers), _counted(known)
    found = []
    for name in sorted(learnt):
        (label, rows), *others = learnt[name].most_common()
        if rows >= _LEAST and sum(count for _, count in others) < _ONE_SIDED * rows:
            other: Label = NOT_SPAM if label == SPAM else SPAM
            counterparts = sum(there[kin][other] for kin in _KIN.get(name, {name}))
            raised = min(max(1.0, weight), max(1.0, weight * rows / counterparts)) if counterparts else 1.0
            lowered = min(weight, max(1.0, raised * counterparts / rows))
            new = weight * rows > there[name][label]
            found.append(Side(name, label, rows, counterparts, lowered, raised, new))
    return tuple(found)


def evened(message: Message, found: Iterable[Side], weight: float, *, answer: bool) -> float:
    """Return how much a message counts: an answer the least, a row of the dataset the most that its looks ask for."""
    its = looks(message.text)
    if answer:
        lowered = (side.answer_weight for side in found if side.look in its and side.label == message.label)
        return min(lowered, default=weight)
    raised = (
        side.counterpart_weight
        for side in found
        if side.other == message.label and its & _KIN.get(side.look, frozenset({side.look}))
    )
    return max(raised, default=1.0)


def _counted(messages: Iterable[Message]) -> defaultdict[str, Counter[Label]]:
    """Count messages by look and label."""
    found: defaultdict[str, Counter[Label]] = defaultdict(Counter)
    for message in messages:
        for name in looks(message.text):
            found[name][message.label] += 1
    return found


@lru_cache(maxsize=4096)
def _alphabet(letter: str) -> str:
    """Return the alphabet of a letter, by the first word of its Unicode name."""
    return unicodedata.name(letter, "UNKNOWN").partition(" ")[0]
