"""Declare the options of the verbs that only show something: `spamctl cards`, `spamctl ui` and `spamctl help`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from spamctl.config.options import Options, option


@dataclass(frozen=True, kw_only=True)
class CardsOptions(Options):
    """Options of the card viewer."""

    verb: ClassVar[str] = "cards"
    summary: ClassVar[str] = "Open the cards of a verb's latest run, updated live: curves, tables and worst errors."
    example: ClassVar[str] = "spamctl cards train --port 8325"

    port: Annotated[int, Ge(1), Le(65535)] = option(8324, "Port of the page on 127.0.0.1.", group="Page")


@dataclass(frozen=True, kw_only=True)
class UiOptions(Options):
    """Options of the MLflow page."""

    verb: ClassVar[str] = "ui"
    summary: ClassVar[str] = "Open the MLflow UI: every run and every registered model version."
    example: ClassVar[str] = "spamctl ui --port 5002"

    port: Annotated[int, Ge(1), Le(65535)] = option(5001, "Port of the page on 127.0.0.1.", group="Page")


@dataclass(frozen=True, kw_only=True)
class HelpOptions(Options):
    """The options of the help texts: none."""

    verb: ClassVar[str] = "help"
    summary: ClassVar[str] = "Explain a topic that concerns several verbs, such as files, drift or promotion."
    example: ClassVar[str] = "spamctl help files"
