"""Declare an option once, and validate what several verbs share: names, lengths of time, encodings."""

from __future__ import annotations

import codecs
import dataclasses
import functools
import re
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, cast

from annotated_types import Ge, Gt, Le, Lt

# Format messages about options: the nearest known name, and what a user wrote, repeated safely.

LONGEST = 60


def unknown(name: str, known: Sequence[str], *, what: str, otherwise: str) -> str:
    """Report that `name` is no such `what`, with the nearest known name or, failing that, where to look."""
    return f"there is no such {what}{nearest(name, known, likeness=0.75) or '; ' + otherwise}"


def nearest(text: str, known: Sequence[str], *, likeness: float = 0.6) -> str:
    """Ask whether the nearest known word was meant; say nothing if none is near."""
    found = get_close_matches(text, known, n=1, cutoff=likeness)
    return f"; did you mean {found[0]}?" if found else ""


def shown(text: str) -> str:
    """Repeat what a user wrote: numbers bare, anything else quoted, escaped and cut."""
    try:
        float(text)
    except ValueError:
        return repr(text if len(text) <= LONGEST else text[: LONGEST - 1] + "…")
    return text.strip()


def number(value: float) -> str:
    """Write a number as a person would: 3, 0.005, 5e-05."""
    return str(value) if isinstance(value, int) else f"{value:g}"


Scalar = str | int | float | bool
Value = TypeVar("Value", bound=Scalar)

VARIABLE_PREFIX = "SPAMCTL_"


def option(default: Value, purpose: str, *, group: str, secret: bool = False, advanced: bool = False) -> Value:
    """Declare one field of an `Options` class with its default, its help text and the panel that lists it.

    A `secret` may hold a password: it reaches the flow as a variable, never as a parameter, which Metaflow records.
    An `advanced` option is listed by `--help-all` only: few users ever need another value than the default.
    """
    about = {"help": purpose, "group": group, "secret": secret, "advanced": advanced}
    declared: Value = field(default=default, metadata=about)
    return declared


def same(options: type[Options], name: str) -> Any:
    """Declare a field as another verb declares it: its default, what it is for, and its help panel."""
    (found,) = (item for item in dataclasses.fields(options) if item.name == name)
    return field(default=found.default, metadata=found.metadata)


@dataclass(frozen=True)
class Option:
    """A declared option, in types of the standard library."""

    verb: str
    name: str
    kind: type[Scalar]
    default: Scalar
    help: str
    group: str
    choices: tuple[str, ...]
    bounds: tuple[Ge | Gt | Le | Lt, ...]
    secret: bool
    advanced: bool

    @property
    def flag(self) -> str:
        """Spell the option as it is typed: `--learning-rate`."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """Spell the option as an environment variable: `SPAMCTL_TRAIN_LEARNING_RATE`."""
        return f"{VARIABLE_PREFIX}{self.verb}_{self.name}".upper()

    @property
    def allowed(self) -> str:
        """Describe the allowed values; empty if any value of the type is allowed."""
        if self.choices:
            return " or ".join(filter(None, [", ".join(self.choices[:-1]), self.choices[-1]]))
        kinds = tuple(type(bound) for bound in self.bounds)
        limits = [number(_limit(bound)) for bound in self.bounds]
        if kinds == (Ge, Le):
            return " to ".join(limits)
        return " and ".join(f"{_BOUND_WORDS[kind]} {limit}" for kind, limit in zip(kinds, limits, strict=True))


@dataclass(frozen=True)
class Given:
    """A value as it was written, and where: `--epochs`, `SPAMCTL_TRAIN_EPOCHS`, `epochs in fast.yaml`."""

    text: str
    where: str
    quoted: bool = False


@dataclass(frozen=True)
class Fault:
    """What is wrong with the options named in `names`; the sentence continues from the name of the first."""

    names: tuple[str, ...]
    text: str


Layer = Mapping[str, Given]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of one verb; a subclass gives the verb, a summary, an example, and a field per option."""

    verb: ClassVar[str]
    summary: ClassVar[str]
    example: ClassVar[str]

    @classmethod
    @functools.cache
    def declared(cls) -> tuple[Option, ...]:
        """List the options in the order in which they were declared."""
        hints = typing.get_type_hints(cls, include_extras=True)
        return tuple(_describe(cls.verb, item, hints[item.name]) for item in dataclasses.fields(cls))

    def faults(self) -> Iterable[Fault]:
        """Yield what is wrong with values that are each fine alone; a subclass says what."""
        return ()

    def items(self) -> dict[str, Scalar]:
        """Give every option by name."""
        return dataclasses.asdict(self)

    def recorded(self) -> dict[str, Scalar]:
        """Give every option that may be written down where others read it."""
        secret = {option.name for option in self.declared() if option.secret}
        return {name: value for name, value in self.items().items() if name not in secret}


def _describe(verb: str, item: dataclasses.Field[Any], hint: Any) -> Option:
    bounds = tuple(mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Ge | Gt | Le | Lt))
    bare = typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint
    choices = typing.get_args(bare) if typing.get_origin(bare) is Literal else ()
    return Option(
        verb=verb,
        name=item.name,
        kind=str if choices else bare,
        default=cast("Scalar", item.default),
        help=item.metadata["help"],
        group=item.metadata["group"],
        choices=choices,
        bounds=bounds,
        secret=item.metadata["secret"],
        advanced=item.metadata["advanced"],
    )


_BOUND_WORDS = {Ge: "at least", Gt: "more than", Le: "at most", Lt: "less than"}


def _limit(bound: Ge | Gt | Le | Lt) -> Any:
    (limit,) = dataclasses.astuple(bound)
    return limit


# Validate the names of models, experiments and versions.

COPIES = Path(".spamctl", "models")  # of registered packages, in the working folder
VERSIONS = ("champion", "challenger", "latest")
NAME = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,100}")  # of a model: a folder's too
_PLAIN = r"\w(?:[\w .-]*[\w-])?"
_LONGEST = 100


def name_faults(option: str, name: str) -> Iterator[Fault]:
    """Yield what keeps a text from being a model's name, a folder's too."""
    if not NAME.fullmatch(name):
        words = "must be 1 to 100 letters, digits and . _ - and not begin with a dot"
        yield Fault((option,), f"{words}, got {shown(name)}")


def experiment_faults(option: str, name: str) -> Iterator[Fault]:
    """Yield what keeps a text from naming an experiment: beside a store in a file, it names a folder of artefacts."""
    if len(name) > _LONGEST or not re.fullmatch(f"{_PLAIN}(?:/{_PLAIN})*", name):
        words = f"must be 1 to {_LONGEST} letters, digits, blanks and . _ - with / only between names"
        yield Fault((option,), f"{words}, got {shown(name)}")


def version_faults(option: str, version: str, words: tuple[str, ...] = VERSIONS) -> Iterator[Fault]:
    """Yield what keeps a text from naming a version: it is one of some words, or a number."""
    if version not in words and not re.fullmatch(r"[1-9]\d{0,17}", version, re.ASCII):
        yield Fault((option,), f"must be {', '.join(words)} or a number, got {shown(version)}")


# Parse a length of time such as 30s, 45m, 12h, 7d or 2w, and the window that it reaches back.

_SPELLING = re.compile(r"([0-9]{1,5})([smhdw])")
ALWAYS = "always"  # an age that leaves nothing out
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def is_duration(text: str) -> bool:
    """Return whether a text is a length of time."""
    return _SPELLING.fullmatch(text) is not None


def is_age(text: str) -> bool:
    """Return whether a text is the age of a window's oldest rows: a length of time, or always."""
    return text == ALWAYS or is_duration(text)


def date_of_age(age: str, now: datetime) -> datetime | None:
    """Return the moment at which a window of an age begins; None if it has no beginning."""
    return None if age == ALWAYS else now - duration(age)


def duration(text: str) -> timedelta:
    """Return the length of time that a text names; it must be one."""
    found = _SPELLING.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no length of time")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


# Validate the options that name the encoding of a file.


def encoding_faults(name: str, encoding: str) -> Iterator[Fault]:
    """Yield the fault of an option that names neither auto nor an encoding of text."""
    try:
        is_text = encoding == "auto" or getattr(codecs.lookup(encoding), "_is_text_encoding", True)
    except (LookupError, ValueError):
        is_text = False
    if not is_text:
        yield Fault((name,), f"must be auto or an encoding such as utf-8, cp1252 or gb18030, got {shown(encoding)}")


# Validate the options that say which mail is spam.


def mail_faults(spam_folder: str, good: str = "none", spam: str = "none") -> Iterator[Fault]:
    """Yield names of folders that are none, and one label of mail without the other."""
    if not all(name.strip(" .") for name in spam_folder.split(",")):
        yield Fault(("spam_folder",), f"must be names of folders, separated by commas, got {shown(spam_folder)}")
    if (good == "none") != (spam == "none"):
        yield Fault(("good", "spam"), "go together: name mail of both labels")
