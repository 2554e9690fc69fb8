"""Generate synthetic messages with true labels: spam of 2003 and of today, and legitimate look-alikes."""

from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from spamctl.message import NOT_SPAM, SPAM, Label
from spamctl.simulate.cast import Cast
from spamctl.simulate.dice import Dice, whole
from spamctl.simulate.families import families, text_of

Era = Literal["2003", "modern", "both"]
ERAS: tuple[Literal["2003", "modern"], ...] = ("2003", "modern")


@dataclass(frozen=True, slots=True)
class Synthetic:
    """A generated message, and the family it is of."""

    text: str
    label: Label
    family: str


def messages(count: int, *, seed: int, era: Era, spam_share: float) -> list[Synthetic]:
    """Write `count` messages, `spam_share` of them spam, in an order that the seed decides.

    The same seed gives the same bytes on every machine, with the same version of Faker, whose names they carry.
    """
    spam = whole(spam_share, count)
    ordered: list[Label] = [SPAM if place < spam else NOT_SPAM for place in range(count)]
    labels = Dice("labels", seed).shuffled(ordered)
    return [write(era, label, seed=seed, index=index) for index, label in enumerate(labels)]


def write(era: Era, label: Label, *, seed: int, index: int) -> Synthetic:
    """Write the message of a place in the traffic; `both` draws an era at random."""
    dice = Dice("message", seed, index)
    one_era = dice.pick(ERAS) if era == "both" else era
    known = families(one_era, label)
    bounds = list(accumulate(family.weight for family in known))
    lot = dice.below(bounds[-1])
    family = next(family for family, bound in zip(known, bounds, strict=True) if lot < bound)
    return Synthetic(text_of(family, Cast(dice, one_era)), label, family.name)
