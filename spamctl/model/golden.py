"""Score a fixed set of messages at packaging, and again wherever a package is loaded.

Each package has some more, of either verdict and near its threshold, where a filter changes first: plain messages that
turn into offers word by word. None of them is anybody's message.
"""

from collections.abc import Iterator, Sequence
from typing import Final

GOLDEN: Final = (
    "",
    "ok",
    "See you at eight, I'll bring the dessert",
    "Your appointment is on 14 March at 10:30. Reply C to confirm or call the front desk.",
    "482913 is your sign-in code. Never share it with anyone.",
    "Can you pick up milk and bread on the way home? Thanks x",
    "URGENT! You have been chosen for a £2000 prize. Call 09061234567 now to claim, 150p/min",
    "Congratulations, you won a free holiday! Text WIN to 80082 to claim today",
    "Your parcel is held. Pay the fee of 1.99 at http://post-redelivery.example/pay within 24 hours",
    "FREE entry: text CASH to 85000 and get 500 pounds every week, T&Cs apply, 18+",
    "Señor, la reunión es mañana a las nueve — ¿puedes venir?",
    "W\u200bi\u200bn c\u0430sh n\u043ew, r\u0435ply Y\u0415S \U0001f4b0\U0001f4b0",
)

NEAR: Final = 2  # messages on either side of the threshold
MARGIN: Final = 0.02  # of probability: what is nearer may get the other verdict from another processor
_PLAIN: Final = GOLDEN[2:6:3]
_OFFERS: Final = GOLDEN[6:10]


def turning() -> list[str]:
    """Return each plain message as it turns into each offer, one more word at a time."""
    return [text for plain in _PLAIN for offer in _OFFERS for text in _turns(plain.split(), offer.split())]


def nearest(texts: Sequence[str], probabilities: Sequence[float], threshold: float) -> list[str]:
    """Return the texts whose probabilities are nearest to the threshold, at most NEAR on either side of it.

    None is nearer than MARGIN, nor, where there is less room, than half of it.
    """
    chosen: list[str] = []
    for side, room in ((1, 1 - threshold), (-1, threshold)):
        away = sorted((side * (p - threshold), text) for p, text in zip(probabilities, texts, strict=True))
        chosen += [text for distance, text in away if distance >= min(MARGIN, room / 2)][:NEAR]
    return chosen


def _turns(plain: Sequence[str], offer: Sequence[str]) -> Iterator[str]:
    for words in range(1, len(offer)):
        yield " ".join([*plain[: max(0, len(plain) - words)], *offer[:words]])
