"""Speak the SPAMC/SPAMD protocol, version 1.5, and express a verdict as SpamAssassin's clients read it."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from spamctl import __version__
from spamctl.display import visible
from spamctl.errors import SpamctlError
from spamctl.schema.message import NOT_SPAM, SPAM, Label

# Read requests and write responses of the SPAMC/SPAMD protocol, version 1.5.
# A client sends a command, headers, a blank line and a mail, and closes its sending side; it gets one response:
# CHECK SPAMC/1.5 SPAMD/1.5 0 EX_OK User: jo Content-length: 0 Content-length: 1200 Spam: True ; 9.7 / 5.0
# The codes of a response are those of sysexits.h. Clients take every code but 0 for "no verdict" and let the mail pass:
# that is how a mail server goes on when this one is down, overloaded or too slow.

VERSION: Final = "1.5"
OLD = (1, 2)  # up to this one the score stands in the body of a response, from 1.3 on in its header Spam
MOST_HEAD_BYTES = 8192
MOST_HEADERS = 50

OK, USAGE, BAD_DATA, UNAVAILABLE, SOFTWARE, TRY_AGAIN, PROTOCOL, TIMEOUT = 0, 64, 65, 69, 70, 75, 76, 79
CODES: Final[Mapping[int, str]] = {
    OK: "EX_OK",
    USAGE: "EX_USAGE",
    BAD_DATA: "EX_DATAERR",
    UNAVAILABLE: "EX_UNAVAILABLE",
    SOFTWARE: "EX_SOFTWARE",
    TRY_AGAIN: "EX_TEMPFAIL",
    PROTOCOL: "EX_PROTOCOL",
    TIMEOUT: "EX_TIMEOUT",
}
BAD_HEADER = "Bad header line"
TOO_LONG = "the mail is too long: raise --max-body-mib, or have the client send no mail of that size"

PING, SKIP, TELL = "PING", "SKIP", "TELL"
CHECK, SYMBOLS, REPORT, REPORT_IFSPAM, HEADERS, PROCESS = (
    *("CHECK", "SYMBOLS", "REPORT", "REPORT_IFSPAM", "HEADERS", "PROCESS"),
)
WITHOUT_MAIL = frozenset({PING, SKIP})
COMMANDS = frozenset({CHECK, SYMBOLS, REPORT, REPORT_IFSPAM, HEADERS, PROCESS, TELL}) | WITHOUT_MAIL

_FIRST_LINE = re.compile(rb"([A-Z_]{1,20}) SPAMC/([0-9]{1,2})\.([0-9]{1,2})[ \t]*")
_HEADER = re.compile(rb"([!-9;-~]{1,100})[ \t]*:[ \t]*([^\r\n]*?)[ \t]*")
_LENGTH = re.compile(r"[0-9]{1,15}")
_USER = re.compile(r"[!-~]{1,128}")
_CLASSES: Final[Mapping[str, Label]] = {"spam": SPAM, "ham": NOT_SPAM}


class SpamdRefusal(SpamctlError):  # noqa: N818 - an answer like any other, not a fault of the server
    """Response with a code other than 0; its message may be shown to anyone."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class SpamcRequest:
    """Head of a request: what is asked of the mail that follows it; `length` is in bytes, None: up to the end.

    TELL names a class and what is to be done with it in the local store: `learns` sets the label, `forgets` removes it.
    """

    command: str
    version: tuple[int, int] = (1, 5)
    length: int | None = None
    user: str = ""
    compressed: bool = False
    label: Label | None = None
    learns: bool = False
    forgets: bool = False

    @property
    def is_old(self) -> bool:
        """Return whether the client expects the score in the body."""
        return self.version <= OLD


def read_first_line(line: bytes) -> SpamcRequest:
    """Return the command and the version of a first line; raise SpamdRefusal if it is none."""
    found = _FIRST_LINE.fullmatch(line.rstrip(b"\r\n"))
    if found is None or found[1].decode("ascii") not in COMMANDS:
        raise SpamdRefusal(PROTOCOL, BAD_HEADER)
    return SpamcRequest(found[1].decode("ascii"), (int(found[2]), int(found[3])))


def read_head(first: SpamcRequest, lines: Iterable[bytes]) -> SpamcRequest:
    """Return a request with its headers, in any order and case; raise SpamdRefusal for a bad one."""
    headers: dict[str, str] = {}
    for line in lines:
        found = _HEADER.fullmatch(line.rstrip(b"\r\n"))
        if found is None:
            raise SpamdRefusal(PROTOCOL, BAD_HEADER)
        name, value = found[1].decode("ascii").lower(), found[2].decode("latin-1")
        if headers.setdefault(name, value) != value:
            raise SpamdRefusal(PROTOCOL, f"{BAD_HEADER}: {name.title()} is given twice")
    compress = headers.get("compress", "")
    if compress.lower() not in {"", "zlib"}:
        raise SpamdRefusal(PROTOCOL, "Compress: only zlib is read")
    return replace(
        first,
        length=_length(headers.get("content-length")),
        user=_user(headers.get("user", "")),
        compressed=bool(compress),
        **_teaching(first.command, headers),
    )


def inflate(body: bytes, most_bytes: int) -> bytes:
    """Return a body without its zlib compression; raise SpamdRefusal if it is damaged, or longer than `most_bytes`."""
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(body, most_bytes + 1)
    except zlib.error:
        raise SpamdRefusal(BAD_DATA, "Compress: the mail is not compressed by zlib") from None
    if len(plain) > most_bytes:
        raise SpamdRefusal(BAD_DATA, TOO_LONG)
    if not stream.eof:
        raise SpamdRefusal(BAD_DATA, "Compress: the mail is cut off")
    return plain


def response(headers: Iterable[str] = (), body: bytes = b"") -> bytes:
    """Return a response with code 0; Content-length is its first header, as Exim wants it."""
    lines = [f"SPAMD/{VERSION} {OK} {CODES[OK]}", f"Content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("ascii") + body


def pong() -> bytes:
    """Return the response to PING."""
    return f"SPAMD/{VERSION} {OK} PONG\r\n".encode("ascii")


def refusal(refused: SpamdRefusal) -> bytes:
    """Return the response of a refusal: one line and no blank one after it.

    With a blank line spamc 4.0 takes a refusal for an answer: it prints no mail at all, or says that it was learnt.
    """
    told = refused.message if refused.code == PROTOCOL else f"{CODES[refused.code]} {refused.message}"
    return f"SPAMD/{VERSION} {refused.code} {visible(told)[:200]}\r\n".encode("ascii", "replace")


def _length(given: str | None) -> int | None:
    if given is None:
        return None
    if not _LENGTH.fullmatch(given):
        raise SpamdRefusal(PROTOCOL, f"{BAD_HEADER}: Content-length is no number")
    return int(given)


def _user(given: str) -> str:
    """Return a user's name; one with other characters than visible ASCII names nobody, and stops nothing."""
    return given if _USER.fullmatch(given) else ""


def _teaching(command: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """Return what TELL asks for; what concerns remote databases is not for us."""
    if command != TELL:
        return {}
    learns, forgets = (_is_local(headers.get(name, "")) for name in ("set", "remove"))
    label = _CLASSES.get(headers.get("message-class", "").lower())
    if learns and label is None:
        raise SpamdRefusal(USAGE, "TELL: to learn, send Message-class: spam or ham")
    return {"label": label, "learns": learns, "forgets": forgets and not learns}


def _is_local(places: str) -> bool:
    """Return whether a list of places, such as `local, remote`, names the local store."""
    return "local" in (place.strip() for place in places.lower().split(","))


# Express a verdict as SpamAssassin's clients read it: a score with 5.0 as its threshold, rules, headers, a report.
# The score is the threshold of these clients, 5.0, plus the distance of two log-odds (natural logarithm): those of the
# message's probability of spam, less those of the model's threshold: 5.0 + ln(p / (1 - p)) - ln(t / (1 - t)), rounded
# down to one decimal and kept within ±99.9. It rises with the probability; one point more means that spam is 2.7 times
# as probable against the rest. Clients compare the score with 5.0 themselves, so it always agrees with the verdict: a
# message out of reach that is delivered scores 4.9 at most, whatever its probability.
# The rules tell how the verdict came about. None of them, nor anything else here, repeats a word of the message: of the
# words that count most for spam, only the families are told.

REQUIRED: Final = 5.0
MOST: Final = 99.9
MOST_OF_THE_REST: Final = 4.9  # the highest score of what is not called spam

_BANDS = (99, 95, 80, 50, 20, 5, 0)  # percent: lower ends
_MEANINGS = {
    "SPAMCTL_SPAM": "called spam by the model",
    "SPAMCTL_HAM": "not called spam by the model",
    "SPAMCTL_OUT_OF_REACH": "unlike all messages of the training",
    "SPAMCTL_TRUNCATED": "longer than what the model reads",
    "SPAMCTL_MEDIUM_MAIL": "read as mail",
    "SPAMCTL_HIDDEN_TEXT": "text that a reader cannot see was left out",
    "SPAMCTL_LINKS": "links to other hosts",
    "SPAMCTL_ATTACHMENTS": "attachments, which are not read",
}
MOST_WORDS: Final = 12  # that count most for spam, and are looked up in the families
_FAMILIES = {
    "MONEY": (
        "about money",
        r"[$£€¥₹]|\d+[.,]\d\d|cash|money|pay\w*|fees?|price|usd|eur|gbp|inr|dinero|pago|geld|argent|soldi|dinheiro",
    ),
    "URGENCY": (
        "that hurry",
        r"urgent\w*|now|today|immediate\w*|hours?|expir\w+|final|last|soon|hoy|ahora|sofort|heute|vite|oggi|agora",
    ),
    "PRIZE": (
        "about something for nothing",
        r"won|win\w*|prize|congrat\w*|free|gifts?|rewards?|claim\w*|bonus|lottery|gratis|premio|gewinn\w*|gagn\w+",
    ),
    "ACCOUNT": (
        "about accounts and their access",
        r"accounts?|bank\w*|cards?|verif\w+|log\w*|password|suspend\w*|security|codes?|cuenta|konto|compte|conta|kyc",
    ),
    "DELIVERY": ("about parcels", r"parcels?|packages?|deliver\w*|shipment|customs|courier|paquete|paket|colis|pacco"),
    "OFFER": (
        "of adverts",
        r"offers?|discounts?|sale|buy|order|shop|subscribe|unsubscribe|limited|oferta|angebot|soldes|sconto",
    ),
    "INCOME": (
        "about income",
        r"jobs?|earn\w*|income|profits?|invest\w*|loans?|crypto|bitcoin|btc|trading|hiring|kredit",
    ),
    "CONTACT": ("that ask for an answer", r"call|text|reply|contact|click|visit|whatsapp|telegram|dm|write|stop|link"),
    "NUMBERS": ("of digits", r"\d+"),
}
_WORDS = {name: re.compile(pattern) for name, (_, pattern) in _FAMILIES.items()}
_MEANINGS |= {f"SPAMCTL_WORDS_{name}": f"words {meaning} count for spam" for name, (meaning, _) in _FAMILIES.items()}
_OURS = re.compile(rb"x-spam-", re.IGNORECASE)
_NAME = re.compile(rb"[!-9;-~]+[ \t]*:")


@dataclass(frozen=True, slots=True)
class MailTraits:
    """What the reader of a mail noticed beside its text."""

    hidden_text: bool = False
    hosts: bool = False
    attachments: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SpamdVerdict:
    """A verdict with all that its headers and its report show; `threshold` is the model's probability."""

    classification: Label
    probability: float
    threshold: float
    in_reach: bool
    truncated: bool
    model: str
    version: str
    traits: MailTraits = MailTraits()
    families: tuple[str, ...] = ()

    @property
    def is_spam(self) -> bool:
        """Return whether the message is called spam."""
        return self.classification == SPAM

    @property
    def score(self) -> float:
        """Return the score, a whole number of tenths; at least 5.0 if and only if the message is called spam."""
        raw = REQUIRED + _log_odds(self.probability) - _log_odds(self.threshold)
        rounded = math.floor(min(MOST, max(-MOST, raw)) * 10) / 10
        return max(REQUIRED, rounded) if self.is_spam else min(MOST_OF_THE_REST, rounded)

    @property
    def rules(self) -> tuple[str, ...]:
        """Return the names of the rules that hold, the verdict's own first."""
        band = next(low for low in _BANDS if self.probability * 100 >= low)
        noted = {
            "SPAMCTL_OUT_OF_REACH": not self.in_reach,
            "SPAMCTL_TRUNCATED": self.truncated,
            "SPAMCTL_HIDDEN_TEXT": self.traits.hidden_text,
            "SPAMCTL_LINKS": self.traits.hosts,
            "SPAMCTL_ATTACHMENTS": self.traits.attachments,
        }
        verdict = "SPAMCTL_SPAM" if self.is_spam else "SPAMCTL_HAM"
        return (
            verdict,
            f"SPAMCTL_PROBABILITY_{band:02}",
            "SPAMCTL_MEDIUM_MAIL",
            *(name for name, holds in noted.items() if holds),
            *(f"SPAMCTL_WORDS_{family}" for family in self.families),
        )

    def spam_header(self) -> str:
        """Return the header Spam of a response."""
        return f"Spam: {self.is_spam} ; {self.score:.1f} / {REQUIRED:.1f}"

    def old_score(self) -> bytes:
        """Return the line that begins a body for clients of SPAMC/1.2 and before."""
        return f"{self.score:.1f}/{REQUIRED:.1f}\r\n".encode("ascii")

    def symbols(self) -> bytes:
        """Return the rules as the response to SYMBOLS has them."""
        return (",".join(self.rules) + "\r\n").encode("ascii")

    def mail_headers(self) -> list[str]:
        """Return the headers that a mail gets.

        Exactly one token begins with `autolearn`: rspamd takes all up to the last of them for the name of a rule.
        """
        answer = "Yes" if self.is_spam else "No"
        status = f"{answer}, score={self.score:.1f} required={REQUIRED:.1f} tests={','.join(self.rules)}"
        return [
            *(["X-Spam-Flag: YES"] if self.is_spam else []),
            f"X-Spam-Checker-Version: spamctl {__version__} (model {self.model}, version {self.version})",
            f"X-Spam-Level: {'*' * max(0, min(50, math.floor(self.score)))}",
            f"X-Spam-Status: {status} autolearn=no version={__version__}",
        ]

    def report(self) -> bytes:
        """Return the verdict in words, for a person who reads it in a header or a log."""
        numbers = f"probability {self.probability:.4f}, threshold {self.threshold:.4f}"
        lines = [
            f"spamctl {__version__}, model {self.model}, version {self.version}: {self.classification}",
            f"{numbers}: {self.score:.1f} points, {REQUIRED:.1f} required",
            "",
            " pts rule name                 description",
            "---- ------------------------- " + "-" * 44,
            *(
                f"{self.score if place == 0 else 0.0:4.1f} {name:<25} {_meaning(name)}"
                for place, name in enumerate(self.rules)
            ),
            "",
        ]
        return "\r\n".join(lines).encode("ascii")


def word_families(words: Sequence[str]) -> tuple[str, ...]:
    """Return the families that some of the words, in lower case, belong to; what no family knows is left out."""
    return tuple(name for name, known in _WORDS.items() if any(known.fullmatch(word) for word in words))


def marked(mail: bytes, headers: Sequence[str]) -> tuple[bytes, bytes]:
    """Return the head of a mail with the given headers before its own, and the rest from the blank line on.

    What a sender put there under the names of these headers is removed; every other byte stays as it is, whatever
    ends its lines. An mbox's first line, `From …`, stays the first.
    """
    lines, rest = _head(mail)
    newline = b"\r\n" if (lines[0] if lines else rest[:2]).endswith(b"\r\n") else b"\n"
    first = [lines.pop(0)] if lines and lines[0].startswith(b"From ") else []
    kept, drops = [], False
    for line in lines:
        drops = drops if line[:1] in {b" ", b"\t"} else bool(_OURS.match(line))
        if not drops:
            kept.append(line)
    ours = [header.encode("ascii", "replace") + newline for header in headers]
    return b"".join([*first, *ours, *kept]), rest or newline


def _head(mail: bytes) -> tuple[list[bytes], bytes]:
    """Return the lines of a mail's headers with their ends, and the rest; what is no header ends them, too."""
    lines: list[bytes] = []
    start = 0
    while start < len(mail):
        end = mail.find(b"\n", start) + 1 or len(mail)
        line = mail[start:end]
        is_first = not lines and line.startswith(b"From ")
        goes_on = bool(lines) and line[:1] in {b" ", b"\t"} and bool(line.strip())
        if not (is_first or goes_on or _NAME.match(line)):
            break
        lines.append(line if line.endswith(b"\n") else line + b"\n")
        start = end
    return lines, mail[start:]


def _meaning(rule: str) -> str:
    if rule in _MEANINGS:
        return _MEANINGS[rule]
    low = int(rule.rpartition("_")[2])
    return f"probability of spam {low} % or more" if low else f"probability of spam under {_BANDS[-2]} %"


def _log_odds(probability: float) -> float:
    """Return ln(p / (1 - p)); exact 0 and 1 are held just inside, so that it is finite."""
    inside = min(max(probability, 1e-300), 1 - 2**-53)
    return math.log(inside) - math.log1p(-inside)
