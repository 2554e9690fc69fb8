"""Read options as they were written: flags, environment variables, a `.env` file and a YAML file."""

from __future__ import annotations

import io
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spamctl.config.options import VARIABLE_PREFIX, Given, Options
from spamctl.config.verbs import known_variables
from spamctl.config.words import unknown

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
