"""Draw the names, amounts, places, dates and numbers of one synthetic message."""

from collections.abc import Callable
from functools import cache
from types import MappingProxyType

from faker import Faker

from spamctl.simulate.dice import Dice
from spamctl.simulate.links import ENDINGS, host

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


class Cast:
    """Values that fill the template of one message: each is drawn when first used, and stays the same to the end."""

    def __init__(self, dice: Dice, era: str) -> None:
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


def _day_of_month(cast: Cast) -> str:
    day, month = cast.dice.between(1, 28), cast.dice.pick(_MONTHS)
    return cast.dice.pick((f"{day} {month}", f"{month} {day}", f"{day:02}/{_MONTHS.index(month) + 1:02}"))


def _hour(cast: Cast, later: int = 0) -> str:
    """Return a time of day, or one that is hours later and written alike."""
    hour, minute, style = cast.clock
    hour, half = hour + later, "am" if hour + later < 12 else "pm"  # noqa: PLR2004 noon
    of_twelve = (hour - 1) % 12 + 1
    return (f"{hour:02}:{minute}", f"{of_twelve}:{minute}{half}", f"{of_twelve}{half}")[style]


def _path(cast: Cast) -> str:
    return cast.dice.pick((cast.signs(5).lower(), cast.signs(6), cast.digits(6), f"?id={cast.digits(5)}"))


VALUES = MappingProxyType[str, Callable[[Cast], str]](
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
