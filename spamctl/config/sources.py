"""Read options from flags, variables and files, resolve them by precedence, and validate them."""

from __future__ import annotations

import io
import stat
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import ConfigDict, ValidationError, create_model

from spamctl.config.options import (
    VARIABLE_PREFIX,
    Fault,
    Given,
    Layer,
    Option,
    Options,
    nearest,
    number,
    shown,
    unknown,
)
from spamctl.config.verbs import known_variables
from spamctl.errors import OptionsError

if TYPE_CHECKING:
    import yaml
    from dotenv.parser import Original

NULL = "tag:yaml.org,2002:null"
LARGEST = 2**20  # bytes: options and variables are no megabytes


@dataclass(frozen=True)
class Source:
    """Values from one source, and what is wrong with the source itself."""

    values: Mapping[str, Given]
    faults: tuple[str, ...] = ()


def from_flags(options: type[Options], flags: Mapping[str, object]) -> Source:
    """Take the flags that were typed; one that was not typed is None."""
    spelling = {option.name: option.flag for option in options.declared()}
    given = {name: Given(_text(value), spelling[name]) for name, value in flags.items() if value is not None}
    return Source(given)


def from_variables(options: type[Options], variables: Mapping[str, str], *, place: str = "") -> Source:
    """Take the verb's variables, and refuse any SPAMCTL_* that means nothing; `place` is the file they stand in."""
    where = f" in {place}" if place else ""
    names = {option.variable: option.name for option in options.declared()}
    known = known_variables()
    otherwise = "spamctl VERB --help-all lists the variables of a verb"
    faults = tuple(
        f"{name}{where}: {unknown(name, known, what='variable', otherwise=otherwise)}"
        for name in sorted(variables)
        if name.startswith(VARIABLE_PREFIX) and name not in known
    )
    given = {names[name]: Given(text, name + where) for name, text in variables.items() if name in names}
    return Source(given, faults)


def read_dotenv(path: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """Read the variables of a `.env` file; give them with the faults of the file. No file, no variables."""
    import dotenv
    from dotenv.parser import parse_stream

    try:
        text = _text_of(path)
    except FileNotFoundError:
        return {}, ()
    except (OSError, ValueError) as error:
        return {}, (f"{path.name}: cannot be read: {_cause(error)}",)
    if "\0" in text:  # which no variable can hold
        line = text[: text.index("\0")].count("\n") + 1
        return {}, (f"{path.name}, line {line}: holds a NUL character; write NAME=value",)
    faults = tuple(
        f"{path.name}, line {_first_line(line.original)}: cannot be understood; write NAME=value"
        for line in parse_stream(io.StringIO(text))
        if line.error or (line.key and line.value is None)
    )
    if faults:
        return {}, faults
    return {name: value or "" for name, value in dotenv.dotenv_values(stream=io.StringIO(text)).items()}, ()


def from_yaml(options: type[Options], path: Path) -> Source:
    """Take the keys of a YAML file as they were written, so that `5e-5`, `no` and `007` mean what they say."""
    import yaml

    try:
        root = yaml.compose(_text_of(path), Loader=yaml.SafeLoader)
    except FileNotFoundError:
        return Source({}, (f"--config {path}: there is no such file",))
    except (yaml.YAMLError, RecursionError) as error:
        return Source({}, (f"{path.name}{_line(error)}: is not YAML: {_problem(error)}",))
    except (OSError, ValueError) as error:
        return Source({}, (f"--config {path}: cannot be read: {_cause(error)}",))
    if root is None or root.tag == NULL:
        return Source({})
    if not isinstance(root, yaml.MappingNode):
        return Source({}, (f"{path.name}: must hold lines like `epochs: 3`",))
    return _from_nodes(options, root, path.name)


def _from_nodes(options: type[Options], root: yaml.MappingNode, place: str) -> Source:
    known = [option.name for option in options.declared()]
    given: dict[str, Given] = {}
    faults: list[str] = []
    for key, node in root.value:
        name = str(key.value)
        where = f"{name} in {place}"
        if name not in known:
            otherwise = f"spamctl {options.verb} --help-all lists them"
            faults.append(f"{where}: {unknown(name, known, what='option', otherwise=otherwise)}")
        elif name in given:
            faults.append(f"{where}: is given twice, again in line {key.start_mark.line + 1}; keep one")
        elif not isinstance(node.value, str):
            faults.append(f"{where}: must be one value, not a list or a mapping")
        elif node.tag == NULL:
            faults.append(f"{where}: has no value; give one or take the line out")
        else:
            given[name] = Given(node.value, where, quoted=node.style is not None)
    return Source(given, tuple(faults))


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _text_of(path: Path) -> str:
    """Read a file of settings; raise OSError or ValueError for what is none, such as a pipe, which might never end."""
    if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
        raise ValueError("it is a pipe or a device, not a file")
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError("it is larger than 1 MiB")
    return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def _cause(error: OSError | ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    return str(error.strerror) if isinstance(error, OSError) else str(error)


def _first_line(original: Original) -> int:
    """Number the line where something stands, past the empty ones that the parser counts to it."""
    blank = original.string[: len(original.string) - len(original.string.lstrip())]
    return original.line + blank.count("\n")


def _line(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f", line {mark.line + 1}" if mark else ""


def _problem(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply; write lines like `epochs: 3`"
    return str(getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable")


# Validate the given values against the declarations, and report every fault in the user's own spelling.

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


# Resolve every option of a verb: flags override variables, variables a file, a file the defaults.

DOTENV = ".env"


@dataclass(frozen=True)
class Settled(Generic[Chosen]):
    """The options, and the variables in force in this folder: those of the shell over those of `.env`."""

    options: Chosen
    variables: Mapping[str, str]


def resolve(
    options: type[Chosen], flags: Mapping[str, object], *, config: Path | None, environ: Mapping[str, str], folder: Path
) -> Settled[Chosen]:
    """Settle the options from flags, variables, `.env` and a YAML file; raise OptionsError with all faults."""
    dotenv, dotenv_faults = read_dotenv(folder / DOTENV)
    hidden = {name: value for name, value in dotenv.items() if name not in environ}
    sources = [
        from_flags(options, flags),
        from_variables(options, environ),
        from_variables(options, hidden, place=DOTENV),
        from_yaml(options, config) if config is not None else Source({}),
    ]
    faults = [*dotenv_faults, *(fault for source in sources for fault in source.faults)]
    try:
        chosen = validate(options, [source.values for source in sources])
    except OptionsError as refusal:
        raise OptionsError([*faults, *refusal.faults]) from None
    if faults:
        raise OptionsError(faults)
    return Settled(chosen, {**dotenv, **environ})
