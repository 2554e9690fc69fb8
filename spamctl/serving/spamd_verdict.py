"""Express a verdict as SpamAssassin's clients read it: a score with 5.0 as its threshold, rules, headers, a report.

The score is the threshold of these clients, 5.0, plus the distance of two log-odds (natural logarithm): those of the
message's probability of spam, less those of the model's threshold,

    score = 5.0 + ln(p / (1 - p)) - ln(t / (1 - t)),

rounded down to one decimal and kept within ±99.9. It rises with the probability; one point more means that spam is 2.7
times as probable against the rest. Clients compare the score with 5.0 themselves, so it always agrees with the verdict:
a message out of reach that is delivered scores 4.9 at most, whatever its probability.

The rules tell how the verdict came about. None of them, nor anything else here, repeats a word of the message: of the
words that count most for spam, only the families are told.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from spamctl import __version__
from spamctl.schema.message import SPAM, Label

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
