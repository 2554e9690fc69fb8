"""Declare an option once: its flag, its variable, its key in a file and its flow parameter are one field."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar, cast

from annotated_types import Ge, Gt, Le, Lt

from spamctl.config.words import number

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
