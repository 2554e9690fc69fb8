"""Label the stored answers, after a review at the terminal if that is the source."""

from __future__ import annotations

import getpass
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from spamctl.cli.options import Flags
from spamctl.cli.remote import Words
from spamctl.cli.run import Config, Debug, Start, run_verb
from spamctl.config.label import LabelOptions

if TYPE_CHECKING:
    from spamctl.schema.message import ReviewCounts


def label(flags: Flags, *, words: Words, config: Config = None, debug: Debug = False) -> int:
    """Label, review or export, and say what the store holds then."""
    from rich.console import Console

    from spamctl.reports.label import show
    from spamctl.schema.codec import from_json
    from spamctl.schema.message import LabelResult

    decided = _review(flags, config)
    result = from_json(LabelResult, run_verb(LabelOptions, flags, Start(config, None, debug, words))[1])
    show(replace(result, review=decided), Console(highlight=False))
    return 0


def _review(flags: Flags, config: Path | None) -> ReviewCounts | None:
    """Run a review if that was asked for, before the flow counts what was decided."""
    from spamctl.config.sources import resolve

    settled = resolve(LabelOptions, flags, config=config, environ=os.environ, folder=Path.cwd())
    options = settled.options
    if options.source != "review" or options.export != "none":
        return None
    from spamctl.cli.review import review

    name = _user() if options.annotator == "me" else options.annotator
    return review(replace(options, annotator=name), settled.variables)


def _user() -> str:
    """Name who sits here."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no name for this number, as in a container
        return f"user {os.getuid()}"
