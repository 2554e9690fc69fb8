"""Expand the phrases of a family of messages into texts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from spamctl.message import NOT_SPAM, SPAM, Label
from spamctl.schema.codec import from_json, key
from spamctl.simulate.cast import VALUES, Cast
from spamctl.simulate.lexicon import lexicon
from spamctl.simulate.links import is_live

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


def text_of(family: Family, cast: Cast) -> str:
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


def _expanded(phrase: str, family: Family, cast: Cast) -> str:
    """Settle the choices of a phrase from the inside out, then its names."""
    found = 1
    while found:
        phrase, found = _CHOICE.subn(lambda match: cast.dice.pick(match[1].split("|")), phrase)
    return _SYMBOL.sub(lambda match: _named(match[1], family, cast), phrase)


def _named(name: str, family: Family, cast: Cast) -> str:
    if name in family.phrases:
        return _expanded(cast.dice.pick(family.phrases[name]), family, cast)
    if name in shared().roles:
        return cast.once(name, lambda: _one(shared().roles[name], family, cast))
    if name in shared().phrases:
        return _one(shared().phrases[name], family, cast)
    return cast.value(name)


def _one(phrases: Sequence[str], family: Family, cast: Cast) -> str:
    return _expanded(cast.dice.pick(phrases), family, cast)


def _capitalised(text: str) -> str:
    """Begin a text with a capital, unless it begins with a link."""
    return text if is_live(text.split(" ", 1)[0]) else text[:1].upper() + text[1:]


def _in_hand(text: str, writer: Hand, cast: Cast) -> str:
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
