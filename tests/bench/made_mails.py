"""Make mails for benchmarks: as people and shops send them, and as nobody should."""

from __future__ import annotations

import base64
import html
import quopri
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final

HOPS = 4
DATE = "Mon, 30 Nov 2026 10:00:00 +0000"
_HEADERS: Final = [
    "subject",
    "from",
    "to",
    "date",
    "content-type",
    "content-transfer-encoding",
    "mime-version",
    "list-id",
]
_CHARSETS: Final = [
    "utf-8",
    "us-ascii",
    "iso-8859-1",
    "koi8-r",
    "gb2312",
    "utf-7",
    "utf-16",
    "DEFAULT_CHARSET",
    "unknown-8bit",
    "x\x00y",
    "idna",
    "punycode",
    "hex",
]
_ENCODINGS: Final = ["base64", "quoted-printable", "7bit", "8bit", "binary", "x-uuencode", "chunked"]


def usual(text: str, seed: int) -> bytes:
    """Return a text as a mail: plain, HTML or both, with the head that a mail has after a few servers."""
    dice = random.Random(seed)
    subject, _, body = text.partition("\n")
    head = [*received(dice), *people(dice), f"Subject: {subject.removeprefix('Subject: ')}"]
    plain = part(dice, "text/plain", body)
    page = part(dice, "text/html", styled(body))
    kind = dice.random()
    if kind < 0.35:
        lines = [*head, plain]
    elif kind < 0.55:
        lines = [*head, page]
    else:
        bound = f"=_{dice.getrandbits(64):016x}"
        kinds = f'Content-Type: multipart/alternative; boundary="{bound}"\r\n'
        lines = [*head, kinds, f"--{bound}\r\n{plain}\r\n--{bound}\r\n{page}\r\n--{bound}--\r\n"]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


def received(dice: random.Random) -> Iterator[str]:
    """Yield the lines that mail servers add."""
    for hop in range(HOPS):
        name = f"mx{dice.randrange(100)}.example.{dice.choice(('com', 'net', 'org'))}"
        yield f"Received: from {name} by mx{hop}.example.com\r\n\tid {dice.getrandbits(80):020x}; {DATE}"
    yield f"DKIM-Signature: v=1; a=rsa-sha256; d=example.com;\r\n\tb={base64.b64encode(dice.randbytes(192)).decode()}"


def people(dice: random.Random) -> list[str]:
    """Return who writes to whom."""
    return [
        f"From: Someone <someone{dice.randrange(1000)}@example.com>",
        "To: jo@home.example",
        f"Date: {DATE}",
        "MIME-Version: 1.0",
    ]


def part(dice: random.Random, kind: str, text: str) -> str:
    """Return a part with its own headers, encoded as mail programs do."""
    raw = text.replace("\n", "\r\n").encode("utf-8", "replace")
    way = dice.choice(("base64", "quoted-printable", "8bit"))
    content = {
        "base64": base64.encodebytes(raw),
        "quoted-printable": quopri.encodestring(raw),
        "8bit": raw,
    }[way].decode("utf-8", "surrogateescape")
    return f"Content-Type: {kind}; charset=utf-8\r\nContent-Transfer-Encoding: {way}\r\n\r\n{content}"


def styled(text: str) -> str:
    """Return a text as the HTML of a newsletter, about as long as mails are."""
    rows = "".join(f'<tr><td style="padding:8px"><p>{html.escape(line)}</p></td></tr>\n' for line in text.split("\n"))
    style = "<style>td{font:16px sans-serif;color:#222}a{color:#06c}</style>" * 6
    link = '<a href="https://shop.example.com/offers?id=1">Read on</a>'
    return f"<html><head>{style}</head><body><table>{rows}</table>{link}</body></html>"


def hostile(count: int, seed: int = 0) -> Iterator[bytes]:
    """Yield mails that attack whoever parses them, the same for the same seed; a few are megabytes long."""
    dice = random.Random(seed)
    ways: Sequence[Callable[[random.Random], bytes]] = (
        noise, bad_heads, nested, many_parts, bad_charsets,
        bad_encodings, deep_page, long_lines, cut_off, encoded_words,
    )  # fmt: skip
    for number in range(count):
        yield ways[number % len(ways)](dice)


def size(dice: random.Random, most: int) -> int:
    """Return a size: mostly small, now and then as large as can be."""
    return int(most ** dice.random()) + 1


def noise(dice: random.Random) -> bytes:
    """Return bytes of any kind, with or without a head before them."""
    head = b"Subject: x\r\nContent-Type: text/html\r\n\r\n" if dice.random() < 0.5 else b""
    return head + dice.randbytes(size(dice, 2**18))


def bad_heads(dice: random.Random) -> bytes:
    """Return a flood of headers: folded for ever, without a name, with names a thousand times."""
    lines = [
        dice.choice(
            (
                f"{dice.choice(_HEADERS)}: {'x' * size(dice, 2000)}",
                " folded" * size(dice, 50),
                ":",
                "no colon",
                "\0: \0",
            )
        )
        for _ in range(size(dice, 20_000))
    ]
    return dice.choice(("\r\n", "\n", "\r")).join(lines).encode() + b"\n\nbody"


def nested(dice: random.Random) -> bytes:
    """Return multiparts within multiparts, some with one boundary for all."""
    depth, same = size(dice, 3000), dice.random() < 0.5
    lines = []
    for level in range(depth):
        bound = "b" if same else f"b{level}"
        kind = dice.choice(("multipart/mixed", "multipart/alternative", "message/rfc822", "multipart/digest"))
        lines.append(f'Content-Type: {kind}; boundary="{bound}"\n\n--{bound}')
    return "\n".join(lines).encode() + b"\nContent-Type: text/plain\n\nthe end"


def many_parts(dice: random.Random) -> bytes:
    """Return a mail of thousands of small parts."""
    body = b"\n--b\nContent-Type: text/html; name=x\n\n<b>x" * size(dice, 20_000)
    return b"Content-Type: multipart/mixed; boundary=b\n" + body + b"\n--b--"


def bad_charsets(dice: random.Random) -> bytes:
    """Return a text in a charset that there is not, or that it is not in."""
    charset, encoding = dice.choice(_CHARSETS), dice.choice(_ENCODINGS)
    head = f"Content-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: {encoding}\n\n"
    return head.encode() + dice.randbytes(size(dice, 2**17))


def bad_encodings(dice: random.Random) -> bytes:
    """Return base64 or quoted-printable that is none."""
    body = dice.choice(
        (
            b"=" * size(dice, 2**18),
            b"A" * size(dice, 2**18),
            b"=3D=3" * size(dice, 2**15),
            b"\xff=\n" * size(dice, 2**15),
        )
    )
    return f"Content-Transfer-Encoding: {dice.choice(_ENCODINGS)}\n\n".encode() + body


def deep_page(dice: random.Random) -> bytes:
    """Return HTML of a depth that no page has, or of tags and comments that never end."""
    unit = dice.choice(
        (b"<div>", b"<b><i>", b"<table><tr><td>", b"<!--", b"<a href='x", b"<p style='display:none'>x", b"&#", b"<" * 3)
    )
    return b"Content-Type: text/html\n\n" + unit * size(dice, 100_000)


def long_lines(dice: random.Random) -> bytes:
    """Return a line of a million characters, in the head or in the body."""
    line = dice.choice((b"x", b"x ", b"\t", b">", b"http://a.example/", "é".encode())) * size(dice, 2**20)
    return b"Subject: " + line + b"\n\n" if dice.random() < 0.5 else b"Subject: x\n\n" + line


def cut_off(dice: random.Random) -> bytes:
    """Return a mail that ends in the middle of something."""
    whole = usual("An offer for you\n" + "Buy it today. " * size(dice, 500), dice.randrange(2**32))
    return whole[: dice.randrange(len(whole))]


def encoded_words(dice: random.Random) -> bytes:
    """Return a subject of thousands of encoded words, which decode to other encoded words or to nothing."""
    word = dice.choice(
        ("=?utf-8?B?PT91dGYtOD9CP1BUMD0/PQ==?=", "=?utf-8?Q?=00=FF?=", "=?nope?B?!!!!?=", "=?utf-8?Q??=")
    )
    return f"Subject: {(word + ' ') * size(dice, 30_000)}\nFrom: {word * 50}\n\nbody".encode()
