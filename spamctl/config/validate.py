"""Validate the given values against the declarations, and report every fault in the user's own spelling."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from pydantic import ConfigDict, ValidationError, create_model

from spamctl.config.options import Fault, Given, Layer, Option, Options
from spamctl.config.words import nearest, number, shown
from spamctl.errors import OptionsError

Chosen = TypeVar("Chosen", bound=Options)

_TYPE_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def validate(options: type[Chosen], layers: Sequence[Layer]) -> Chosen:
    """Build `options` from `layers`, strongest first; raise OptionsError naming all faults together."""
    given = {name: value for layer in reversed(layers) for name, value in layer.items()}
    declared = {option.name: option for option in options.declared()}
    misspelt = {name: _misspelling(declared[name], value) for name, value in given.items()}
    faults = [Fault((name,), reason) for name, reason in misspelt.items() if reason]
    faulty = {fault.names[0] for fault in faults}
    values, broken = _parse(options, {name: value.text for name, value in given.items() if name not in faulty})
    faults += [Fault((name,), _reason(declared[name], error)) for name, error in broken]
    chosen = options(**values)
    faulty = {fault.names[0] for fault in faults}
    faults += [fault for fault in chosen.faults() if faulty.isdisjoint(fault.names)]
    if faults:
        order = list(declared)
        faults.sort(key=lambda fault: order.index(fault.names[0]))
        raise OptionsError([_sentence(fault, declared, given) for fault in faults])
    return chosen


def _parse(options: type[Options], texts: dict[str, str]) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """Turn text into typed values; give the values that could be read and the errors of those that could not."""
    hints = typing.get_type_hints(options, include_extras=True)
    fields: dict[str, Any] = {option.name: (hints[option.name], option.default) for option in options.declared()}
    model = create_model(options.__name__, __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **fields)
    errors = []
    try:
        read = model.model_validate_strings(texts)
    except ValidationError as refusal:
        errors = [(str(error["loc"][0]), error) for error in refusal.errors(include_url=False)]
        wrong = {name for name, _ in errors}
        read = model.model_validate_strings({name: text for name, text in texts.items() if name not in wrong})
    return read.model_dump(), errors


def _misspelling(option: Option, value: Given) -> str:
    if not value.text:
        return "is empty; give a value or leave it out"
    if value.quoted and option.kind is not str:
        return f"must be {_TYPE_WORDS[option.kind]}, got the text {value.text!r}; leave out the quotes"
    return ""


def _reason(option: Option, error: Any) -> str:
    """Explain a Pydantic error, and end with the value that was given."""
    words = dict(error.get("ctx", {}))
    match error["type"]:
        case "greater_than_equal":
            wanted = f"at least {number(words['ge'])}"
        case "greater_than":
            wanted = f"more than {number(words['gt'])}"
        case "less_than_equal":
            wanted = f"at most {number(words['le'])}"
        case "less_than":
            wanted = f"less than {number(words['lt'])}"
        case "literal_error":
            wanted = f"one of {', '.join(option.choices)}"
        case "finite_number":
            wanted = "a finite number"
        case _:
            wanted = _TYPE_WORDS[option.kind]
    return f"must be {wanted}, got {shown(str(error['input']))}{nearest(str(error['input']), option.choices)}"


def _sentence(fault: Fault, declared: dict[str, Option], given: Layer) -> str:
    return f"{next(_places(fault, declared, given))}: {fault.text}"


def _places(fault: Fault, declared: dict[str, Option], given: Layer) -> Iterator[str]:
    """Name the place to change: the first of the named options that somebody set, else the first one's flag."""
    yield from (given[name].where for name in fault.names if name in given)
    yield declared[fault.names[0]].flag
