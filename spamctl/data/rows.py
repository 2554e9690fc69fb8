"""Define what every reader of a file yields: rows, the requested columns, and labels as a user types them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from numbers import Real
from pathlib import Path

from spamctl.errors import DataError
from spamctl.message import UNKNOWN, Traits

TEXT, LABEL = "text", "label"
SPAM_FOLDER = "Junk,Spam"
LONGEST_LINE = 8 * 2**20  # characters; as many bytes as the server takes in one request
UNREADABLE = "unreadable bytes (save the file as UTF-8)"
_UNDECODED = re.compile("[\udc80-\udcff]")  # what the handler `surrogateescape` makes of bytes of another encoding
_WHOLE_NUMBER = re.compile(r"([+-]?\d+)[.,]0+")  # as pandas and spreadsheets write 0 and 1 beside cells that are empty
_LONGEST_SHOWN = 40
_MOST_COLUMNS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the columns that hold text and label, in the user's spelling, and the other settings of the file.

    Without a header columns are called 1, 2, 3. The encoding is a codec's name, or `auto`. Of mail, folders take the
    place of columns: those named by `spam_folder`, separated by commas, hold spam.
    """

    text: str = TEXT
    label: str = LABEL
    header: bool = True
    encoding: str = "auto"
    spam_folder: str = SPAM_FOLDER

    def asked(self) -> list[tuple[str, str]]:
        """Return the option and the name of each column that is needed."""
        return [("--text-column", self.text), ("--label-column", self.label)]

    @property
    def are_default(self) -> bool:
        """Return whether nobody has named a column."""
        return {self.text, self.label} <= {TEXT, LABEL}


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it was read, or the fault that makes it unusable; `place` is its line, or row, counted from 1.

    The place of a mail is its folder and the name of its file. A row with a fault keeps its label where that can be
    told.
    """

    place: int | str
    text: str | None = None
    label: str | None = None
    fault: str = ""
    traits: Traits = UNKNOWN


def shown(value: str) -> str:
    """Quote a string of a file for a terminal: cut, with what would move the cursor escaped."""
    return repr(value if len(value) <= _LONGEST_SHOWN else value[: _LONGEST_SHOWN - 1] + "…")


def is_undecoded(value: str) -> bool:
    """Return whether a string contains bytes that are invalid in the file's encoding."""
    return not value.isascii() and _UNDECODED.search(value) is not None


def typed_row(place: int, text: object, label: object) -> Row:
    """Return the row that typed values make."""
    if not isinstance(label, str | Real | None) and not _is_decimal(label):
        return Row(place, fault="a label that is neither string nor number")
    word = label_word(label)
    if not isinstance(text, str | None):
        return Row(place, label=word, fault="a text that is not a string")
    return Row(place, text, word)


def label_word(label: object) -> str | None:
    """Return a label as a user would type it: true, 1, spam; None where there is none, or the NaN that pandas puts."""
    if label is None:
        return None
    if isinstance(label, bool):
        return str(label).lower()
    if isinstance(label, Real) and label != label:  # noqa: PLR0124 - NaN; a float cannot hold every whole number
        return None
    word = str(label).strip()
    whole = _WHOLE_NUMBER.fullmatch(word)
    return (whole[1] if whole else word) or None


def refuse_column(path: Path, header: Sequence[str], columns: Columns, asked: tuple[str, str]) -> DataError:
    """Return the refusal of a column that is not there, which names those there are and the nearest."""
    option, column = asked
    names = {name.rpartition(".")[2].casefold(): name for name in reversed(header)}  # what is inside others, too
    names |= {name.strip().casefold(): name for name in reversed(header)}
    others = {name for _, name in columns.asked()}
    names = {known: name for known, name in names.items() if name not in others}
    nearest = [names[match] for match in get_close_matches(column.casefold(), names, n=1)]
    found = ", ".join(map(shown, header[:_MOST_COLUMNS_SHOWN])) + (", …" if len(header) > _MOST_COLUMNS_SHOWN else "")
    return DataError(
        f"{path} has no column {shown(column)} ({option}), but {found or 'none'}: "
        f"{f'try {option} {shown(nearest[0])}' if nearest else f'name one of them with {option}'}"
    )


def _is_decimal(value: object) -> bool:
    """Return whether a value is a decimal number, which Python counts among no kind of numbers."""
    from decimal import Decimal

    return isinstance(value, Decimal)
