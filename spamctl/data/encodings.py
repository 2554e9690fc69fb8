"""Detect a file's character encoding from all of its bytes, open it, and report what was guessed."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TextIO

from spamctl.data.rows import LONGEST_LINE
from spamctl.errors import DataError

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
