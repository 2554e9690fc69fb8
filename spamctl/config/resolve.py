"""Resolve every option of a verb: flags override variables, variables a file, a file the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from spamctl.config.options import Options
from spamctl.config.sources import Source, from_flags, from_variables, from_yaml, read_dotenv
from spamctl.config.validate import validate
from spamctl.errors import OptionsError

Chosen = TypeVar("Chosen", bound=Options)

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
