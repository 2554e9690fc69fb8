"""Convert the nouns of the schema to plain JSON values and back: for files, events and the steps of a flow."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import datetime
from types import MappingProxyType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
JsonObject = dict[str, object]
Reader = Callable[[object], Any]

# What a field's metadata may say of its JSON: the key, where no identifier spells it, and what becomes of None.
_KEY, _NONE = "key", "none"
ABSENT = MappingProxyType({_NONE: "absent"})  # None leaves the key out
EMPTY = MappingProxyType({_NONE: "empty"})  # None is written as {}
UNWRITTEN = MappingProxyType({_NONE: "unwritten"})  # the value is read, but never written

_NAMES = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}


def key(name: str) -> Mapping[str, str]:
    """Return the metadata of a field whose key in JSON is no Python name."""
    return {_KEY: name}


def to_json(value: object) -> Any:
    """Return a noun as an object of plain JSON values, its keys in the order of its fields; NaN stays a float."""
    if is_dataclass(value):
        return _object_of(value)
    if isinstance(value, Mapping):
        return {str(name): to_json(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(each) for each in value]
    return value.isoformat() if isinstance(value, datetime) else value


def from_json(kind: type[T], told: object) -> T:
    """Return the noun of a kind that JSON values spell; a value that is that noun already stays what it is.

    Unknown keys are passed over, and a missing one takes its field's default: files of older releases stay readable.
    Raises ValueError, which names the place and never a value, if they spell something else.
    """
    described: Any = kind
    try:
        made: T = _reader(described)(told)
    except ValueError as error:
        raise ValueError(f"{kind.__name__}: {error}") from None
    return made


def finite(value: Any) -> Any:
    """Return plain values with each NaN and infinity as None, which every reader of JSON accepts."""
    if isinstance(value, Mapping):
        return {str(name): finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _object_of(noun: object) -> JsonObject:
    told: JsonObject = {}
    described: Any = type(noun)
    for name, spelt, none in _plan(described):
        held = getattr(noun, name)
        if none == "unwritten" or (held is None and none == "absent"):
            continue
        told[spelt] = {} if held is None and none == "empty" else to_json(held)
    return told


@functools.cache
def _plan(kind: Any) -> tuple[tuple[str, str, str], ...]:
    """Return each field's name, its key in JSON, and what becomes of None."""
    return tuple((one.name, _key_of(one), one.metadata.get(_NONE, "")) for one in fields(kind))


def _key_of(one: Field[Any]) -> str:
    return str(one.metadata.get(_KEY, one.name))


@functools.cache
def _reader(kind: Any) -> Reader:
    """Return the function that reads one value of an annotated type."""
    origin, inner = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return _object(kind)
    if origin in {Union, UnionType}:
        return _optional(inner)
    if origin is Literal:
        return _one_of(inner)
    if origin in {tuple, list, Sequence}:
        several = origin is not tuple or inner[-1] is Ellipsis
        return (
            _sequence(tuple if origin is tuple else list, _reader(inner[0]))
            if several
            else _places(tuple(map(_reader, inner)))
        )
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(_reader(inner[1]))
    return _SCALARS[kind]


def _object(kind: Any) -> Reader:
    """Read an object into a dataclass."""
    hints = get_type_hints(kind)
    known = [
        (one.name, _key_of(one), _reader(hints[one.name]), one.default is MISSING and one.default_factory is MISSING)
        for one in fields(kind)
    ]

    def read(told: object) -> Any:
        if isinstance(told, kind):
            return told
        if not isinstance(told, Mapping):
            raise _other("an object", told)
        values = {}
        for name, spelt, reader, required in known:
            if spelt in told:
                try:
                    values[name] = reader(told[spelt])
                except ValueError as error:
                    raise ValueError(f"{spelt}: {error}") from None
            elif required:
                raise ValueError(f"{spelt}: is missing")
        return kind(**values)

    return read


def _optional(inner: tuple[Any, ...]) -> Reader:
    """Read a value of the first kind that it fits; an empty object stands for null where that or a noun is meant."""
    kinds = [one for one in inner if one is not type(None)]
    readers, may_be_none = list(map(_reader, kinds)), len(kinds) < len(inner)
    empty = may_be_none and all(map(is_dataclass, kinds))

    def read(told: object) -> Any:
        if may_be_none and (told is None or (empty and told == {})):
            return None
        for reader in readers[:-1]:
            with contextlib.suppress(ValueError):
                return reader(told)
        return readers[-1](told)

    return read


def _one_of(words: tuple[Any, ...]) -> Reader:
    def read(told: object) -> Any:
        if told not in words:
            raise ValueError(f"must be one of {', '.join(map(str, words))}")
        return told

    return read


def _sequence(kind: Any, each: Reader) -> Reader:
    def read(told: object) -> Any:
        if not isinstance(told, list | tuple):
            raise _other("a list", told)
        return kind(map(each, told))

    return read


def _places(readers: tuple[Reader, ...]) -> Reader:
    """Read a list whose length is known, each place by its own type."""

    def read(told: object) -> Any:
        if not isinstance(told, list | tuple) or len(told) != len(readers):
            raise _other(f"a list of {len(readers)}", told)
        return tuple(reader(value) for reader, value in zip(readers, told, strict=True))

    return read


def _mapping(each: Reader) -> Reader:
    def read(told: object) -> Any:
        if not isinstance(told, Mapping):
            raise _other("an object", told)
        return {str(name): each(value) for name, value in told.items()}

    return read


def _scalar(kind: type, *accepted: type) -> Reader:
    """Read a plain value; true and false are no numbers."""

    def read(told: object) -> Any:
        if not isinstance(told, accepted) or (isinstance(told, bool) and kind is not bool):
            raise _other(_NAMES[kind], told)
        return kind(told)

    return read


def _moment(told: object) -> datetime:
    if not isinstance(told, str):
        raise _other("a date", told)
    return datetime.fromisoformat(told)


def _other(wanted: str, told: object) -> ValueError:
    """Return the refusal of a value by its type, without its contents."""
    got = "null" if told is None else _NAMES.get(type(told), "a list" if isinstance(told, list) else "an object")
    return ValueError(f"must be {wanted}, got {got}")


_SCALARS: Mapping[Any, Reader] = MappingProxyType(
    {
        str: _scalar(str, str),
        bool: _scalar(bool, bool),
        int: _scalar(int, int),
        float: _scalar(float, float, int),
        datetime: _moment,
        object: lambda told: told,
    }
)
