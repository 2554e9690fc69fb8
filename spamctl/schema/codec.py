"""Convert the nouns of the schema to plain JSON values and back: for files, events and the steps of a flow."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Noun = TypeVar("Noun")


def to_json(noun: object) -> Any:
    """Return a noun as plain JSON values: dicts keyed by field, lists, strings and numbers; NaN stays a float."""
    kind: Any = type(noun)
    return _adapter(kind).dump_python(noun, mode="json")


def from_json(kind: type[Noun], values: object) -> Noun:
    """Return the noun of a kind that `to_json` wrote; keys that it does not know are left out.

    What an older version did not write yet gets the default of its field. Raises ValueError if a value is missing or
    of another type.
    """
    described: Any = kind
    noun: Noun = _adapter(described).validate_python(values)
    return noun


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Return the converter of a kind, made once; pydantic loads only where something is converted."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
