"""Take a mail apart into its parts, and decode their bytes, in time and memory that no sender can inflate.

The parser of the standard library builds every part of a mail before one is asked for, and recurses into nested ones.
Here a part is a range of the mail's bytes, found by its boundaries: only the parts that are read are ever copied.
"""

from __future__ import annotations

import binascii
import codecs
import quopri
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message as Parameters
from typing import Final

MOST_BYTES: Final = 25 * 2**20  # of one mail: what large providers accept; what follows is not read
MOST_PARTS: Final = 100
_DEEPEST = 8  # multiparts within multiparts; mailing lists and forwards reach 4
_MOST_HEADER_BYTES = 2**18  # of all headers of a mail; those of a part get less
_MOST_PART_HEADER_BYTES = 2**13
_MOST_FIELD_BYTES = 2**11  # the parser of parameters takes quadratic time
_MOST_CONTENT = 2**19  # bytes of a part, as sent, that are decoded
_MOST_GUESSED = 2**13  # bytes that an encoding is guessed from
_MOST_WRONG = 0.1  # of the characters that are not ASCII: a damaged byte does not make another encoding

_FIELD = re.compile(rb"^([!-9;-~]{1,76})[ \t]*:(.*(?:\n[ \t].*)*)", re.MULTILINE)
_FOLD = re.compile(r"\r?\n[ \t]*")
_END_OF_HEADERS = re.compile(rb"\n\r?\n")
_WHITE = b" \t\r"
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")
# Read as the superset that mail programs take them for.
_SUPERSETS = {
    "ascii": "utf-8",
    "iso8859-1": "cp1252",
    **dict.fromkeys(("gb2312", "gbk", "gb2312_charset"), "gb18030"),
    **dict.fromkeys(("big5", "chinesebig5"), "big5hkscs"),
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "iso8859-9": "cp1254",
}
# No charsets of mail, and in part of quadratic time.
_REFUSED = {"punycode", "idna", "unicode_escape", "raw_unicode_escape", "undefined"}


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a mail: the fields of its header by their lower-case names, and where its content lies."""

    fields: Mapping[str, tuple[str, ...]]
    start: int
    end: int
    depth: int = 0

    def field(self, name: str) -> str:
        """Return the first field of a name, unfolded but not decoded; nothing if there is none."""
        return self.fields.get(name, ("",))[0]

    @property
    def kind(self) -> str:
        """Return the content type in lower case; text/plain where none is named."""
        kind = self.field("content-type").partition(";")[0].strip().lower()
        return kind if kind.count("/") == 1 else "text/plain"

    @property
    def name(self) -> str:
        """Return the file name of an attachment, decoded; nothing if it has none."""
        for field, parameter in (("content-disposition", "filename"), ("content-type", "name")):
            if found := self.parameter(field, parameter):
                return decoded_words(found).strip()
        return ""

    @property
    def is_attached(self) -> bool:
        """Return whether a part is to be saved, not shown."""
        return self.field("content-disposition").partition(";")[0].strip().lower() == "attachment"

    def parameter(self, field: str, name: str) -> str:
        """Return a parameter of a field, such as the charset of the content type."""
        parameters = Parameters()
        parameters["Content-Type"] = self.field(field)
        try:
            found = parameters.get_param(name, "")
        except (ValueError, LookupError):  # of a mangled RFC 2231 value
            return ""
        if isinstance(found, tuple):
            charset, _, value = found
            raw = value.encode("latin-1", "replace")
            return decoded(raw, charset or "utf-8")[0]
        return found


def parts(mail: bytes) -> Iterator[Part]:
    """Yield the mail itself and every part within it, each before what it holds; at most `MOST_PARTS`."""
    start = mail.find(b"\n") + 1 if mail.startswith((b"From ", b">From ")) else 0
    waiting = [_part(mail, start, min(len(mail), MOST_BYTES), 0)]
    found = 0
    while waiting and found < MOST_PARTS:
        part = waiting.pop()
        found += 1
        yield part
        if part.depth < _DEEPEST:
            inner = [
                _part(mail, start, end, part.depth + 1) for start, end in _inner(mail, part, MOST_PARTS - found + 1)
            ]
            waiting += reversed(inner)


def content(mail: bytes, part: Part) -> tuple[bytes, bool]:
    """Return the content of a part without its transfer encoding, and whether it was too long to be read whole."""
    raw = mail[part.start : min(part.end, part.start + _MOST_CONTENT)]
    encoding = part.field("content-transfer-encoding").strip().lower()
    if encoding == "base64":
        return _from_base64(raw), part.end - part.start > _MOST_CONTENT
    if encoding == "quoted-printable":
        raw = quopri.decodestring(raw)
    return raw, part.end - part.start > _MOST_CONTENT


def decoded(raw: bytes, charset: str) -> tuple[str, bool]:
    """Decode text, and return whether its charset was as named; a wrong or unknown one is guessed."""
    codec = _codec(charset)
    for one in filter(None, (codec, "utf-8")):
        try:
            return raw.decode(one), one == codec
        except (UnicodeError, ValueError):
            continue
    for one in filter(None, (codec if codec != "cp1252" else "", "utf-8")):
        text = raw.decode(one, "replace")
        wrong = text.count("\ufffd")
        if wrong <= _MOST_WRONG * (len(text) - wrong - len(text.encode("ascii", "ignore"))):
            return text, one == codec
    return raw.decode(_guessed(raw), "replace"), False


def decoded_words(field: str) -> str:
    """Return a field of a header with its encoded words decoded."""
    text = decoded(field.encode("utf-8", "surrogateescape"), "utf-8")[0].strip()
    try:
        words = decode_header(text) if "=?" in text else [(text, None)]
    except (HeaderParseError, ValueError, binascii.Error):
        words = [(text, None)]
    # What is no encoded word comes back as bytes of `raw-unicode-escape`, but only beside encoded ones.
    found = (
        word
        if isinstance(word, str)
        else decoded(word, charset)[0]
        if charset
        else word.decode("raw_unicode_escape", "replace")
        for word, charset in words
    )
    return "".join(found).strip() or text


def _part(mail: bytes, start: int, end: int, depth: int) -> Part:
    """Read the header of the part that lies in a range of the mail."""
    if mail[start : start + 1] == b"\n" or mail[start : start + 2] == b"\r\n":  # it has no header
        return Part({}, mail.index(b"\n", start) + 1, end, depth)
    blank = _END_OF_HEADERS.search(mail, start, end)
    after = blank.end() if blank else end
    most = _MOST_PART_HEADER_BYTES if depth else _MOST_HEADER_BYTES
    fields: dict[str, tuple[str, ...]] = {}
    for found in _FIELD.finditer(mail, start, min(after, start + most)):
        name = found[1].decode("ascii").lower()
        value = found[2][:_MOST_FIELD_BYTES].decode("utf-8", "surrogateescape")
        known = fields.get(name, ())
        if len(known) < MOST_PARTS:
            fields[name] = (*known, _FOLD.sub(" ", value).strip())
    if not fields and depth == 0:  # a text without any header
        return Part({}, start, end, depth)
    return Part(fields, after, end, depth)


def _inner(mail: bytes, part: Part, most: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of the parts within a multipart, or of the mail that a part encloses."""
    if part.kind == "message/rfc822" and part.depth:
        yield part.start, part.end
        return
    boundary = part.parameter("content-type", "boundary") if part.kind.startswith("multipart/") else ""
    if not boundary:
        return
    mark = b"--" + boundary.encode("utf-8", "surrogateescape").rstrip()
    at, begins, count = part.start - 1, -1, 0
    while count < most:
        at = part.start if _is_at(mail, part, at, mark) else mail.find(b"\n" + mark, max(at, 0), part.end) + 1
        if at == 0:
            break
        line_end = mail.find(b"\n", at, part.end)
        line_end = part.end if line_end < 0 else line_end
        rest = mail[at + len(mark) : min(line_end, at + len(mark) + 80)].strip(_WHITE)
        if not rest or rest.startswith(b"--"):
            if begins >= 0:
                yield begins, at
                count += 1
            begins = line_end + 1
            if rest:
                return
        at = line_end
    if 0 <= begins < part.end and count < most:  # no boundary closes it
        yield begins, part.end


def _is_at(mail: bytes, part: Part, at: int, mark: bytes) -> bool:
    """Return whether the first line of a multipart's content is a boundary."""
    return at == part.start - 1 and mail.startswith(mark, part.start)


def _from_base64(raw: bytes) -> bytes:
    """Decode base64 of which any character may be missing or foreign."""
    plain = _NOT_BASE64.sub(b"", raw)
    plain = plain[: len(plain) - (len(plain) % 4 == 1)]
    return binascii.a2b_base64(plain + b"=" * (-len(plain) % 4))


def _codec(charset: str) -> str:
    """Return the codec of a charset's name, or nothing if there is none; a mail without a name is in ASCII."""
    name = charset.strip(" \"'").lower()[:40] or "us-ascii"
    name = _SUPERSETS.get(name, name)
    try:
        found = codecs.lookup(name)
    except (LookupError, ValueError):
        return ""
    known = _SUPERSETS.get(found.name, found.name)
    return known if found._is_text_encoding and known not in _REFUSED else ""  # noqa: SLF001 - of the codec registry


def _guessed(raw: bytes) -> str:
    """Guess the encoding of text whose charset is unknown, from its first lines that are not ASCII."""
    from spamctl.data.rows import guess

    lines = (line for line in raw[: 8 * _MOST_GUESSED].splitlines() if not line.isascii())
    return guess(b"\n".join(lines)[:_MOST_GUESSED]) or "cp1252"
