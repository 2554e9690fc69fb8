"""Read the suites: messages that every filter must deliver, or must catch, the bundled ones and a user's own."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from spamctl.data.cleaning import clean
from spamctl.data.everyday import FOLDER
from spamctl.data.files import open_rows
from spamctl.data.rows import Columns
from spamctl.errors import DataError
from spamctl.message import NOT_SPAM, SPAM, Label, Message, Traits

MUST_DELIVER: Final = "must-deliver"
MUST_CATCH: Final = "must-catch"
SUITES: Final[dict[str, Label]] = {MUST_DELIVER: NOT_SPAM, MUST_CATCH: SPAM}
NO_FILE: Final = "none"
OWN_LINE: Final = " (yours)"  # how the name of a line of a user's own ends


def read_suites(must_deliver: str = NO_FILE, must_catch: str = NO_FILE) -> dict[str, tuple[Message, ...]]:
    """Return the messages of each suite; the `kind` of a message is its line of the suite.

    `must_deliver` and `must_catch` are files of a user's own, each of which becomes a line named after it. Raises
    DataError if one cannot be read.
    """
    own = {MUST_DELIVER: must_deliver, MUST_CATCH: must_catch}
    found = {}
    for suite in SUITES:
        rows = [*_bundled(suite)]
        if own[suite] != NO_FILE:
            rows += _own(suite, Path(own[suite]))
        found[suite] = tuple(rows)
    return found


def _bundled(suite: str) -> Iterator[Message]:
    """Yield the messages of a suite that came with the package."""
    for line in (FOLDER / f"{suite}.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        yield Message(clean(row["text"]), SUITES[suite], Traits(suite, row["line"], language=row["language"]))


def _own(suite: str, path: Path) -> Iterator[Message]:
    """Yield the messages of a user's file, whatever its labels say; all of them must be readable."""
    try:
        rows = list(open_rows(path, Columns("text", "text")).rows)
    except DataError as error:
        raise DataError(f"--{suite} {path}: {error}".replace(f"--dataset {path} ", "")) from error
    for row in rows:
        if row.fault or not (row.text or "").strip():
            raise DataError(f"--{suite} {path}: row {row.place} has {row.fault or 'no text'}: mend it")
        yield Message(clean(row.text or ""), SUITES[suite], Traits(suite, f"{path.stem}{OWN_LINE}"))
    if not rows:
        raise DataError(f"--{suite} {path}: holds no message: give it a file with a column named text")
