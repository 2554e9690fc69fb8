"""Declare the options of the short verbs `spamctl rollback`, `forget` and `trace`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from spamctl.config.models import NAME
from spamctl.config.moments import is_duration
from spamctl.config.options import Fault, Options, option
from spamctl.config.words import shown


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
