"""Read a user's own messages as they are, to send them again: no cleaning, no order but their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spamctl.data.corpus import NOT_SPAM_WORDS, named
from spamctl.data.files import EXTENSIONS, Columns, Row, read_rows, shown
from spamctl.errors import DataError
from spamctl.message import NOT_SPAM, SPAM, Label

_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Replay:
    """Hold messages in the order of their file, each with its label (None: not asked for), and what was left out."""

    rows: tuple[tuple[str, Label | None], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """Say which file to read, what its columns are called, and whether labels are wanted."""

    replay: str
    text_column: str = "text"
    label_column: str = "label"
    spam_label: str = "spam"
    bad_rows: Literal["refuse", "skip"] = "refuse"
    truth: bool = True


def read_replay(request: ReplayRequest) -> Replay:
    """Read a file of messages; raise DataError, with what to do, where it cannot be used as asked."""
    path = Path(request.replay)
    _refuse_no_file(path)
    # Without labels the column of texts is read twice, so that no label column is needed.
    columns = Columns(request.text_column, request.label_column if request.truth else request.text_column)
    rows = list(read_rows(path, columns))
    faults = {row.place: fault for row in rows if (fault := _fault(row, labelled=request.truth))}
    left_out = _left_out(faults)
    if faults and request.bad_rows == "refuse":
        raise DataError(f"--replay {path}: {left_out}: mend these rows, or leave them out with --bad-rows skip")
    usable = [row for row in rows if row.place not in faults]
    if not usable:
        raise DataError(f"--replay {path} has no usable row: give it a file with a row for each message")
    labels = _labels(usable, request) if request.truth else [None] * len(usable)
    texts = [row.text or "" for row in usable]
    return Replay(tuple(zip(texts, labels, strict=True)), (f"left out: {left_out}",) if faults else ())


def _refuse_no_file(path: Path) -> None:
    """Refuse what is no file of messages, in the words of this option."""
    if path.suffix.lower() not in EXTENSIONS:
        raise DataError(f"--replay {path}: is not of a known kind: convert it to {', '.join(EXTENSIONS)}")
    if not path.is_file():
        what = "is no file" if path.exists() else "does not exist"
        raise DataError(f"--replay {path}: {what}: give it a file that ends in {', '.join(EXTENSIONS)}")


def _fault(row: Row, *, labelled: bool) -> str:
    """Say why a row cannot be sent, or nothing; a message without a character is one all the same."""
    if row.fault:
        return row.fault
    if row.text is None:
        return "no text"
    return "no label" if labelled and row.label is None else ""


def _left_out(faults: dict[int, str]) -> str:
    """Say how many rows have which fault, and which come first."""
    places: dict[str, list[int]] = {}
    for place, fault in faults.items():
        places.setdefault(fault, []).append(place)
    return "; ".join(named(fault, where) for fault, where in places.items())


def _labels(rows: Sequence[Row], request: ReplayRequest) -> list[Label | None]:
    """Return the label of each row; refuse to guess which of many words mean that a message is not spam."""
    spam = request.spam_label.strip().casefold()
    words = [(row.label or "").casefold() for row in rows]
    others = sorted(set(words) - {spam})
    if not NOT_SPAM_WORDS.issuperset(others) and (len(others) > 1 or spam not in words):
        found = ", ".join(map(shown, others[:_MOST_NAMED])) + (", …" if len(others) > _MOST_NAMED else "")
        raise DataError(
            f"--replay {request.replay}: which labels mean spam is not clear ({found} beside "
            f"{shown(request.spam_label)}): name it with --spam-label, or send them without truth: --no-truth"
        )
    return [SPAM if word == spam else NOT_SPAM for word in words]
