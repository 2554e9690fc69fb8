"""Declare the options of the short verbs: rollback, forget, trace, demo, cards, ui and help."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from spamctl.config.options import NAME, Fault, Options, is_duration, option, shown


@dataclass(frozen=True, kw_only=True)
class RollbackOptions(Options):
    """Options of a rollback."""

    verb: ClassVar[str] = "rollback"
    summary: ClassVar[str] = "Restore an earlier version as the champion; a running server follows."
    example: ClassVar[str] = "spamctl rollback --to 3"

    model_name: str = option("spam", "Name of the model in the registry.", group="Version")
    to: str = option("previous", "Version to make the champion: its number, or previous.", group="Version")

    def faults(self) -> Iterator[Fault]:
        """Yield a version that is none."""
        if not re.fullmatch(r"previous|[1-9][0-9]{0,8}", self.to):
            yield Fault(("to",), f"must be previous or the number of a version, got {shown(self.to)}")
        if not NAME.fullmatch(self.model_name):
            yield Fault(("model_name",), f"must be the name of a registered model, got {shown(self.model_name)}")


@dataclass(frozen=True, kw_only=True)
class ForgetOptions(Options):
    """Options of the removal of rows."""

    verb: ClassVar[str] = "forget"
    summary: ClassVar[str] = "Delete answered messages permanently: from the store, every file, and later trainings."
    example: ClassVar[str] = "spamctl forget 0f3c1d52-8f0e-5b53-9a3e-6d1f0a2b7c44"

    datastore_uri: str = option(
        "spam.db", "Store of the rows: a SQLite file, or the URL of a database.", group="Rows", secret=True
    )
    older_than: str = option(
        "never", "Delete all rows older than this instead, such as 90d; copies may still be trained on.", group="Rows"
    )
    matching: str = option(
        "none", "Delete what a file lists instead: one uuid or one whole message per line.", group="Rows"
    )

    def faults(self) -> Iterator[Fault]:
        """Yield an age that is none, and two wishes at once."""
        if self.older_than != "never" and not is_duration(self.older_than):
            yield Fault(
                ("older_than",), f"must be never, or an age such as 90d, 26w or 12h, got {shown(self.older_than)}"
            )
        if self.older_than != "never" and self.matching != "none":
            yield Fault(("older_than", "matching"), "cannot be given with --matching: they name different rows")


@dataclass(frozen=True, kw_only=True)
class TraceOptions(Options):
    """Options of a trace."""

    verb: ClassVar[str] = "trace"
    summary: ClassVar[str] = "Trace an answer to its model version, and to that version's training run, data and code."
    example: ClassVar[str] = "spamctl trace 0f3c1d52-8f0e-5b53-9a3e-6d1f0a2b7c44 --text"

    datastore_uri: str = option(
        "spam.db", "Store of the row: a SQLite file, or the URL of a database.", group="Row", secret=True
    )
    text: bool = option(False, "Show the message too.", group="Row")


# Declare the options of `spamctl demo`.


@dataclass(frozen=True, kw_only=True)
class DemoOptions(Options):
    """Options of the demonstration."""

    verb: ClassVar[str] = "demo"
    summary: ClassVar[str] = (
        "Run a demonstration in one folder: train, serve, drift, label, monitor, retrain, and monitor again."
    )
    example: ClassVar[str] = "spamctl demo --folder demo"

    folder: str = option(
        "spamctl-demo", "Folder to work in: a new one, or that of an earlier demo, which is cleared.", group="Demo"
    )
    messages: Annotated[int, Ge(100), Le(10_000)] = option(
        600, "Number of messages per round: clean, drifted, and drifted again.", group="Demo"
    )
    base_model: str = option("gpt2", "Base model, as in spamctl train.", group="Demo")
    dataset: str = option("sms-spam,everyday", "Training data, as in spamctl train.", group="Demo")
    open: bool = option(True, "Open the final page in a browser, if there is a screen.", group="Demo")


# Declare the options of the verbs that only show something: `spamctl cards`, `spamctl ui` and `spamctl help`.


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
