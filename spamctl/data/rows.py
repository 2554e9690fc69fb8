"""Define what every reader yields: rows in a known encoding, with labels as a user types them."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from numbers import Real
from pathlib import Path
from typing import IO, Literal, TextIO

from spamctl.errors import DataError
from spamctl.schema.message import NOT_SPAM, SPAM, UNKNOWN, Label, Traits

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


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLayout:
    """How a user's files are to be read: their columns, the words for spam, and what becomes of rows that are no use.

    Of a mailbox `spam_folder` names the folders of spam.
    """

    text_column: str = TEXT
    label_column: str = LABEL
    spam_label: str = "spam"
    header: bool = True
    encoding: str = "auto"
    bad_rows: Literal["refuse", "skip"] = "refuse"
    spam_folder: str = SPAM_FOLDER

    def columns(self) -> Columns:
        """Return the columns and the settings of the file."""
        return Columns(self.text_column, self.label_column, self.header, self.encoding, self.spam_folder)


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


class ColumnError(DataError):
    """Column that a file does not have; `option` is the flag that named it."""

    def __init__(self, words: str, option: str) -> None:
        super().__init__(words)
        self.option = option


def refuse_column(path: Path | str, header: Sequence[str], columns: Columns, asked: tuple[str, str]) -> ColumnError:
    """Return the refusal of a column that is not there, which names those there are and the nearest."""
    option, column = asked
    names = {name.rpartition(".")[2].casefold(): name for name in reversed(header)}  # what is inside others, too
    names |= {name.strip().casefold(): name for name in reversed(header)}
    others = {name for _, name in columns.asked()}
    names = {known: name for known, name in names.items() if name not in others}
    nearest = [names[match] for match in get_close_matches(column.casefold(), names, n=1)]
    found = ", ".join(map(shown, header[:_MOST_COLUMNS_SHOWN])) + (", …" if len(header) > _MOST_COLUMNS_SHOWN else "")
    return ColumnError(
        f"{path} has no column {shown(column)} ({option}), but {found or 'none'}: "
        f"{f'try {option} {shown(nearest[0])}' if nearest else f'name one of them with {option}'}",
        option,
    )


def _is_decimal(value: object) -> bool:
    """Return whether a value is a decimal number, which Python counts among no kind of numbers."""
    from decimal import Decimal

    return isinstance(value, Decimal)


# Interpret the words of a label column, and count how many of the rejected rows meant spam.

NOT_SPAM_WORDS = frozenset({"not spam", "not-spam", "not_spam", "notspam", "ham", "legit", "0", "false", "no"})
_MOST_NAMED = 5
_MOST_LEFT_OUT = 0.05  # of a label; what is left would be another mixture than the file's


def spam_words(spam_label: str) -> frozenset[str]:
    """Return the words that mean spam, which commas separate; a word may hold a comma itself."""
    words = [label_word(word) for word in (spam_label, *spam_label.split(","))]
    return frozenset(word.casefold() for word in words if word)


def named(fault: str, places: Sequence[int | str]) -> str:
    """Describe how many rows have a fault, and which come first."""
    first = ", ".join(map(str, places[:_MOST_NAMED])) + (", …" if len(places) > _MOST_NAMED else "")
    return f"{len(places):,} {'row' if len(places) == 1 else 'rows'} with {fault} ({first})"


def listed(words: Sequence[str]) -> str:
    """Quote the first of some words for a terminal."""
    return ", ".join(map(shown, words[:_MOST_NAMED])) + (", …" if len(words) > _MOST_NAMED else "")


@dataclass(slots=True)
class LeftOut:
    """Places of unusable rows by their fault, and their labels."""

    faults: dict[str, list[int | str]] = field(default_factory=dict)
    words: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row, fault: str) -> None:
        """Set a row aside."""
        self.faults.setdefault(fault, []).append(row.place)
        self.words[(row.label or "").casefold()] += 1

    @property
    def _named(self) -> list[str]:
        return [named(fault, places) for fault, places in self.faults.items()]

    def refuse(self, where: str, usable: int) -> None:
        """Raise DataError if any row is set aside; to leave all of them out would help nobody."""
        if self.faults:
            advice = ", or leave them out with --bad-rows skip" if usable else ""
            raise DataError(f"{where}: {'; '.join(self._named)}: mend these rows{advice}")

    def settle(self, where: str, kept: Counter[Label], meaning: Callable[[str], Label | None]) -> list[str]:
        """Describe what was left out, and how much of each label; raise DataError where that is too much of one.

        `meaning` tells what a word means, None if that is not known.
        """
        lost: Counter[Label] = Counter()
        for word, count in self.words.items():
            if label := meaning(word):
                lost[label] += count
        labels: tuple[Label, ...] = (SPAM, NOT_SPAM)
        shares = {label: _share(label, lost, kept) for label in labels if lost[label]}
        too_many = [
            share for label, share in shares.items() if lost[label] > _MOST_LEFT_OUT * (lost[label] + kept[label])
        ]
        if too_many:
            raise DataError(
                f"{where}: {'; '.join(self._named)}: --bad-rows skip would leave out {' and '.join(too_many)}, more "
                f"than {_MOST_LEFT_OUT:.0%} of a label, and what is left would be another mixture: mend these rows"
            )
        told = [f"left out: {fault}" for fault in self._named]
        return told + ([f"left out by label: {', '.join(shares.values())}"] if shares else [])


def _share(label: Label, lost: Counter[Label], kept: Counter[Label]) -> str:
    """Describe what share of a label is left out."""
    every = lost[label] + kept[label]
    return f"{lost[label]:,} of {every:,} rows that are {label} ({lost[label] / every:.1%})"


# Detect a file's character encoding from all of its bytes, open it, and report what was guessed.

# A mark of UTF-32 begins with the one of UTF-16: it is looked for first.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_GZIP = b"\x1f\x8b"
_CHUNK = 2**20
_HEAD = 2**14
_LEAST_NULS = 0.01  # of a file in UTF-16: Chinese has few, but for separators and line ends
_MOST_LINES = 5_000
_LARGEST_SAMPLE = 2**15
_BY_CHANCE = 0.1  # of lines in another encoding are UTF-8 too, at most: short Chinese ones
_AS_GOOD = 0.1
_LEAST_BYTES = 4  # that are not ASCII, for a guess: fewer fit everywhere
_TYPICAL = 0.95
# What people still save in, by how often: the first that fits as well as the best is taken.
_LEGACY = ["cp1252", "cp1251", "koi8_r", "cp1250", "cp1253", "cp1254", "cp1255", "cp1256", "gb18030", "big5"]
_LEGACY += ["cp932", "euc_jp", "cp949", "cp1257", "cp874", "mac_roman", "cp850", "cp866"]
_LATIN = {"cp1250", "cp1252", "cp1254", "cp1257", "mac_roman", "cp850"}
# Letters of Western Europe's languages, currencies and the marks that word processors put.
_WESTERN = frozenset(
    bytes(
        [
            *b"\x80\x85\x86\x89\x8b\x8c\x91\x92\x93\x94\x95\x96\x97\x99\x9b\x9c\xa0\xa1\xa3\xa7\xa9\xab\xae\xb0\xb4\xb7\xbb\xbf",
            *range(0xC0, 256),
        ]
    )
    .translate(None, b"\xc3\xd0\xd7\xdd\xde\xf0\xf7\xfd\xfe\xff")
    .decode("cp1252")
)


@dataclass(frozen=True, slots=True)
class Writing:
    """Encoding of a file: its codec, gzip or not, and the characters that its tables treat specially."""

    codec: str
    packed: bool = False
    quotes: bool = True
    escapes: bool = True
    note: str = ""


def find_writing(path: Path, asked: str = "auto") -> Writing:
    """Read a file once, as bytes, and say how it is written; `asked` names the codec, or is `auto`."""
    packed = _begins(path, _GZIP)
    with _bytes_of(path, packed=packed) as file:
        head = file.read(_HEAD)
        marked = next((codec for mark, codec in _MARKS.items() if head.startswith(mark)), "")
        if asked != "auto":
            codec = codecs.lookup(asked).name
            codec = marked if marked.startswith(codec[:6]) else codec
            return Writing(codec, packed, note=f"read as {codec} (--encoding)")
        if marked and marked != "utf-8-sig":
            return Writing(marked, packed)
        if codec := _without_mark(head):
            return Writing(codec, packed, note=f"read as {codec.upper()}, though no mark at its beginning says so")
        is_utf8, quotes, escapes = _scan(head, file)
    if is_utf8:
        return Writing("utf-8-sig", packed, quotes, escapes)
    codec, note = _legacy(path, packed=packed)
    return Writing(codec, packed, quotes, escapes, note)


@contextmanager
def open_text(path: Path, writing: Writing) -> Iterator[TextIO]:
    """Open a file as it is written; bytes that its encoding does not know are kept, as lone surrogates."""
    lossless = not writing.codec.startswith(("utf-16", "utf-32"))
    errors = "surrogateescape" if lossless else "strict"
    with _bytes_of(path, packed=writing.packed) as file:
        yield io.TextIOWrapper(file, encoding=writing.codec, errors=errors, newline="")


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for its bytes, unpacked if it is packed."""
    with _bytes_of(path, packed=_begins(path, _GZIP)) as file:
        yield file


def lines_of(path: Path, file: TextIO) -> Iterator[str]:
    """Yield the lines of a file, none longer than the limit."""
    try:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), ""), start=1):
            if len(line) > LONGEST_LINE:
                raise DataError(f"{path}, line {number}: longer than {LONGEST_LINE:,} characters: split or remove it")
            yield line
    except UnicodeError as error:
        raise refuse_encoding(path, error) from error


def refuse_encoding(path: Path, error: UnicodeError) -> DataError:
    """Return the refusal of a file whose bytes are not what its first ones say."""
    reason = f"{getattr(error, 'encoding', 'utf-16')}, as its first bytes say"
    return DataError(f"{path} is not {reason} ({getattr(error, 'reason', error)}): save it as UTF-8")


@contextmanager
def _bytes_of(path: Path, *, packed: bool) -> Iterator[IO[bytes]]:
    """Open a file, and refuse in one line what gzip cannot unpack."""
    try:
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            yield file  # type: ignore[misc]
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise DataError(f"{path} cannot be unpacked by gzip ({reason}): pack or fetch it again") from error


def _begins(path: Path, mark: bytes) -> bool:
    """Return whether a file begins with some bytes."""
    with path.open("rb") as file:
        return file.read(len(mark)) == mark


def _without_mark(head: bytes) -> str:
    """Name the UTF-16 that a file without a mark is in, for its ASCII characters fill every other byte with 0."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    if even + odd < max(1, _LEAST_NULS * len(head)) or min(even, odd) > (even + odd) / 10:
        return ""
    codec = "utf-16-le" if odd > even else "utf-16-be"
    text = head[: len(head) & ~1].decode(codec, "ignore")
    return codec if any(mark in text for mark in "\n\r{[") and "\0" not in text else ""


def _scan(head: bytes, file: IO[bytes]) -> tuple[bool, bool, bool]:
    r"""Return whether all bytes are UTF-8, and whether `"` and `\"` are among them."""
    decode = codecs.getincrementaldecoder("utf-8")().decode
    is_utf8, quotes, escapes, chunk, last = True, False, False, head, b""
    while chunk:
        quotes = quotes or b'"' in chunk
        escapes = escapes or b'\\"' in last + chunk
        last, following = chunk[-1:], file.read(_CHUNK)
        try:
            is_utf8 = is_utf8 and decode(chunk, not following) is not None
        except UnicodeDecodeError:
            is_utf8 = False
        chunk = following
    return is_utf8, quotes, escapes


def _legacy(path: Path, *, packed: bool) -> tuple[str, str]:
    """Name the encoding of a file that is not UTF-8, and what to tell of it.

    A file that is mostly UTF-8 stays so, and the rows that are not become faults: half of it would be misread else.
    """
    good, bad, sample = 0, 0, bytearray()
    with _bytes_of(path, packed=packed) as file:
        for line in iter(lambda: file.readline(LONGEST_LINE), b""):
            if line.isascii():
                continue
            try:
                line.decode()
                good += 1
            except UnicodeDecodeError:
                bad += 1
                sample += line if len(sample) < _LARGEST_SAMPLE else b""
            if good + bad == _MOST_LINES:
                break
    codec = guess(bytes(sample)) if good <= _BY_CHANCE * (good + bad) else ""
    if not codec:
        return "utf-8-sig", ""
    return codec, f"read as {codec}, for it is not UTF-8: if letters are wrong, name the right one with --encoding"


def guess(sample: bytes) -> str:
    """Return the encoding of lines that are not UTF-8, or nothing."""
    from charset_normalizer import from_bytes

    best = from_bytes(sample, cp_isolation=_LEGACY).best()
    western = from_bytes(sample, cp_isolation=["cp1252"]).best()
    # Of encodings of Latin letters several fit as well, and the library takes one by its name.
    if best is None or best.encoding in _LATIN or (western and western.chaos <= best.chaos + _AS_GOOD):
        foreign = [letter for letter in sample.decode("cp1252", "replace") if not letter.isascii()]
        if sum(letter in _WESTERN for letter in foreign) >= _TYPICAL * len(foreign):
            return "cp1252"
    return "" if best is None or sum(byte > 127 for byte in sample) < _LEAST_BYTES else best.encoding  # noqa: PLR2004
