"""Generate synthetic messages with true labels: spam of 2003 and of today, and legitimate look-alikes."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from types import MappingProxyType
from typing import Any, Literal

from faker import Faker

from spamctl.schema.codec import from_json, key
from spamctl.schema.message import NOT_SPAM, SPAM, Label
from spamctl.traffic.rewrites import ENDINGS, host, is_live, lexicon
from spamctl.traffic.rng import SeededRandom, whole

# Draw the names, amounts, places, dates and numbers of one synthetic message.

# Numbers that the regulators keep for films and books: nobody can be called by a message made here.
_FICTIONAL = {
    "mobile": ("07700900{:03}", "07700 900{:03}", "+447700900{:03}"),
    "free": ("08081570{:03}", "0808 1570 {:03}"),
    "premium": ("0909 879 0{:03}", "09098790{:03}"),
    "us": ("(555) 555-01{:02}", "555-01{:02}", "+1 555 555 01{:02}"),
}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_SIGNS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # no I, O, 0 and 1, which one reads wrongly
_TONES = ("123456789", "0123456789")


@cache
def _faker(locale: str) -> Faker:
    return Faker(locale)


class TemplateValues:
    """Values that fill the template of one message: each is drawn when first used, and stays the same to the end."""

    def __init__(self, dice: SeededRandom, era: str) -> None:
        self.dice = dice
        self.british = era == "2003" or dice.lot() < 0.5  # noqa: PLR2004 modern messages come from both sides
        self._faker = _faker("en_GB" if self.british else "en_US")
        self._faker.seed_instance(dice.below(2**32))
        self.clock = (dice.between(7, 18), dice.pick(("00", "15", "30", "45")), dice.below(3))
        self._known: dict[str, str] = {}

    def value(self, name: str) -> str:
        """Return the value of a name in VALUES."""
        if name not in self._known:
            self._known[name] = VALUES[name](self)
        return self._known[name]

    def once(self, name: str, make: Callable[[], str]) -> str:
        """Keep what was made for a name for the rest of the message."""
        if name not in self._known:
            self._known[name] = make()
        return self._known[name]

    def fake(self, what: str) -> str:
        """Ask Faker, whose lots this message's dice decide."""
        return str(getattr(self._faker, what)())

    def digits(self, count: int) -> str:
        """Return so many digits, the first of them no zero."""
        return "".join(self.dice.pick(_TONES[place > 0]) for place in range(count))

    def signs(self, count: int) -> str:
        """Return so many capitals and digits."""
        return "".join(self.dice.pick(_SIGNS) for _ in range(count))

    def money(self, low: int, high: int, *, step: int = 1, pence: bool = False) -> str:
        """Return an amount of the country's money between two bounds."""
        amount = self.dice.between(low // step, high // step) * step
        cents = f".{self.dice.pick(('00', '50', '95', '99', self.digits(2)))}" if pence else ""
        comma = "," if self.dice.lot() < 0.6 else ""  # noqa: PLR2004 most write it
        return f"{'£' if self.british else '$'}{amount:{comma}}{cents}"

    def phone(self, kind: str) -> str:
        """Return a telephone number that is nobody's."""
        kind = kind if self.british else "us"
        return self.dice.pick(_FICTIONAL[kind]).format(self.dice.below(100 if kind == "us" else 1000))

    def brand(self) -> str:
        """Return the company of this message as one word of small letters."""
        return "".join(filter(str.isascii, filter(str.isalpha, self.value("company").split()[0]))).lower()


def _day_of_month(cast: TemplateValues) -> str:
    day, month = cast.dice.between(1, 28), cast.dice.pick(_MONTHS)
    return cast.dice.pick((f"{day} {month}", f"{month} {day}", f"{day:02}/{_MONTHS.index(month) + 1:02}"))


def _hour(cast: TemplateValues, later: int = 0) -> str:
    """Return a time of day, or one that is hours later and written alike."""
    hour, minute, style = cast.clock
    hour, half = hour + later, "am" if hour + later < 12 else "pm"  # noqa: PLR2004 noon
    of_twelve = (hour - 1) % 12 + 1
    return (f"{hour:02}:{minute}", f"{of_twelve}:{minute}{half}", f"{of_twelve}{half}")[style]


def _path(cast: TemplateValues) -> str:
    return cast.dice.pick((cast.signs(5).lower(), cast.signs(6), cast.digits(6), f"?id={cast.digits(5)}"))


VALUES = MappingProxyType[str, Callable[[TemplateValues], str]](
    {
        "first_name": lambda cast: cast.fake("first_name"),
        "other_name": lambda cast: cast.fake("first_name"),
        "third_name": lambda cast: cast.fake("first_name"),
        "last_name": lambda cast: cast.fake("last_name"),
        "company": lambda cast: cast.fake("company"),
        "surname_firm": lambda cast: cast.fake("last_name"),
        "city": lambda cast: cast.fake("city"),
        "street": lambda cast: cast.fake("street_name"),
        "postcode": lambda cast: cast.fake("postcode"),
        "job": lambda cast: cast.fake("job").split(",")[0].split("/")[0].lower(),
        "fee": lambda cast: cast.money(1, 4, pence=True),
        "price": lambda cast: cast.money(6, 90, pence=True),
        "amount": lambda cast: cast.money(18, 980, pence=True),
        "other_amount": lambda cast: cast.money(18, 2400, pence=True),
        "hundreds": lambda cast: cast.money(100, 950, step=50),
        "thousands": lambda cast: cast.money(1000, 9500, step=250),
        "fortune": lambda cast: cast.money(10_000, 950_000, step=5000),
        "percent": lambda cast: f"{cast.dice.between(2, 18) * 5}%",
        "small_number": lambda cast: str(cast.dice.between(2, 9)),
        "minutes": lambda cast: str(cast.dice.pick((5, 10, 15, 20, 30))),
        "code": lambda cast: cast.digits(cast.dice.pick((4, 5, 6, 6, 6, 8))),
        "reference": lambda cast: cast.signs(2) + cast.digits(cast.dice.between(5, 8)),
        "last_four": lambda cast: cast.digits(4),
        "short_code": lambda cast: cast.digits(5),
        "keyword": lambda cast: cast.dice.pick(
            ("WIN", "YES", "GO", "TONE", "PLAY", "LUCKY", "CASH", "FUN", "CHAT", "HIT")
        ),
        "mobile": lambda cast: cast.phone("mobile"),
        "freephone": lambda cast: cast.phone("free"),
        "premium": lambda cast: cast.phone("premium"),
        "box": lambda cast: f"PO Box {cast.digits(cast.dice.between(2, 4))} {cast.value('postcode')}",
        "date": _day_of_month,
        "other_date": _day_of_month,
        "day": lambda cast: cast.dice.pick(_DAYS),
        "time": _hour,
        "later_time": lambda cast: _hour(cast, cast.dice.between(1, 4)),
        "host": lambda cast: host(cast.dice),
        "link": lambda cast: f"{cast.dice.pick(('https://', 'http://', ''))}{host(cast.dice)}/{_path(cast)}",
        "old_link": lambda cast: f"{cast.dice.pick(('www.', 'http://www.', 'wap.'))}{host(cast.dice)}",
        "brand_link": lambda cast: (
            f"{cast.dice.pick(('https://', ''))}{cast.brand()}.{cast.dice.pick(ENDINGS)}/{_path(cast)}"
        ),
        "false_link": lambda cast: (
            f"{cast.dice.pick(('https://', ''))}{host(cast.dice, about=cast.brand())}/{_path(cast)}"
        ),
    }
)


# Expand the phrases of a family of messages into texts.

FILES = {
    ("2003", SPAM): "families-2003-spam",
    ("2003", NOT_SPAM): "families-2003-not-spam",
    ("modern", SPAM): "families-modern-spam",
    ("modern", NOT_SPAM): "families-modern-not-spam",
}
_SYMBOL = re.compile(r"\{(\w+)\}")
_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SPACES = re.compile(r"[ ]{2,}")
# White space before a stop, and a stop behind another: what an empty choice, or a phrase that ends itself, leaves.
_STRAY = re.compile(r"[ ]+([,.!?;:])(?=\s|$)|((?<!\.)[.!?]|\.{3})\.(?=\s|$)")


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of message: its frequency, its writing style, and its phrases."""

    name: str
    weight: int
    hand: str
    phrases: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Hand:
    """How people type: shares of words that get a `short` form, and of messages with each habit."""

    shortens: float
    short: Mapping[str, tuple[str, ...]]
    dots: float
    small_letters: float = field(metadata=key("small letters"))
    no_full_stop: float = field(metadata=key("no full stop"))


@dataclass(frozen=True, slots=True)
class Shared:
    """Phrases that several families use: roles are the same all through a message, phrases are drawn anew."""

    roles: Mapping[str, tuple[str, ...]]
    phrases: Mapping[str, tuple[str, ...]]


@cache
def hand(name: str) -> Hand:
    """Return a way of typing by its name."""
    return from_json(Hand, lexicon("hands")[name])


@cache
def shared() -> Shared:
    """Return the phrases that all families share."""
    return from_json(Shared, lexicon("shared"))


@cache
def families(era: str, label: Label) -> tuple[Family, ...]:
    """Return the families of an era that carry a label."""
    return tuple(_family(name, entry) for name, entry in lexicon(FILES[era, label]).items())


def _family(name: str, entry: Mapping[str, Any]) -> Family:
    phrases = {part: value for part, value in entry.items() if part not in {"weight", "hand"}}
    return Family(name, entry.get("weight", 1), entry.get("hand", "tidy"), phrases)


def text_of(family: Family, cast: TemplateValues) -> str:
    """Write one message of a family.

    `[a|b|]` is a choice. `{name}` is, in this order, a phrase of the family, a role of lexicon `shared` (the same all
    through the message), a phrase of it (drawn anew each time), or a value that `cast` makes.
    """
    text = _expanded(cast.dice.pick(family.phrases["messages"]), family, cast)
    text = _STRAY.sub(lambda stray: stray[1] or stray[2], _SPACES.sub(" ", text)).strip()
    return _capitalised(text) if family.hand == "tidy" else _in_hand(text, hand(family.hand), cast)


def symbols(family: Family) -> set[str]:
    """Return every name that the phrases of a family use."""
    return {name for phrases in family.phrases.values() for phrase in phrases for name in _SYMBOL.findall(phrase)}


def is_known(name: str, family: Family) -> bool:
    """Return whether a family can expand a name."""
    return name in family.phrases or name in shared().roles or name in shared().phrases or name in VALUES


def _expanded(phrase: str, family: Family, cast: TemplateValues) -> str:
    """Settle the choices of a phrase from the inside out, then its names."""
    found = 1
    while found:
        phrase, found = _CHOICE.subn(lambda match: cast.dice.pick(match[1].split("|")), phrase)
    return _SYMBOL.sub(lambda match: _named(match[1], family, cast), phrase)


def _named(name: str, family: Family, cast: TemplateValues) -> str:
    if name in family.phrases:
        return _expanded(cast.dice.pick(family.phrases[name]), family, cast)
    if name in shared().roles:
        return cast.once(name, lambda: _one(shared().roles[name], family, cast))
    if name in shared().phrases:
        return _one(shared().phrases[name], family, cast)
    return cast.value(name)


def _one(phrases: Sequence[str], family: Family, cast: TemplateValues) -> str:
    return _expanded(cast.dice.pick(phrases), family, cast)


def _capitalised(text: str) -> str:
    """Begin a text with a capital, unless it begins with a link."""
    return text if is_live(text.split(" ", 1)[0]) else text[:1].upper() + text[1:]


def _in_hand(text: str, writer: Hand, cast: TemplateValues) -> str:
    """Write a text as people type: shorter words, small letters, no full stop, each more or less often."""
    dice = cast.dice

    def typed(match: re.Match[str]) -> str:
        lot, options = dice.lot(), writer.short.get(match[0].lower())
        return dice.pick(options) if options and lot < writer.shortens else match[0]

    text = re.sub(r"[A-Za-z']+", typed, text)
    if dice.lot() < writer.small_letters:
        text = text.lower()
    if dice.lot() < writer.no_full_stop:
        text = text.removesuffix(".")
    if dice.lot() < writer.dots:
        text = text.replace(". ", "... ").replace(", ", dice.pick(("... ", ".. ", ", ")))
    return text


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
    labels = SeededRandom("labels", seed).shuffled(ordered)
    return [write(era, label, seed=seed, index=index) for index, label in enumerate(labels)]


def write(era: Era, label: Label, *, seed: int, index: int) -> Synthetic:
    """Write the message of a place in the traffic; `both` draws an era at random."""
    dice = SeededRandom("message", seed, index)
    one_era = dice.pick(ERAS) if era == "both" else era
    known = families(one_era, label)
    bounds = list(accumulate(family.weight for family in known))
    lot = dice.below(bounds[-1])
    family = next(family for family, bound in zip(known, bounds, strict=True) if lot < bound)
    return Synthetic(text_of(family, TemplateValues(dice, one_era)), label, family.name)
