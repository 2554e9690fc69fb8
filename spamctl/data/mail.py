"""Read a mail as one message: the text that the model reads, and what else is known of it.

The text has the form of the mails in the corpus `everyday`: a line with the sender, a line with the subject, a blank
line, the body. More is known of a mail than that (see `Mail`), but lines that the corpus does not have move honest
mails towards spam. Measured with a filter trained on it, a line `Reply-To:`, or lines of links or attachments behind
the body, did so by up to 1.0 in log-odds; the sender's line did by 0.2, and moved none over the threshold.

Fields that a filter adds on the way (X-Spam-Status, Authentication-Results, a tag in the subject) never enter the text:
a model would learn the other filter's verdict instead of spam.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import pairwise, takewhile
from typing import Final

from spamctl.data.cleaning import clean
from spamctl.data.mail_html import HtmlText, host_of, html_text, without_tags
from spamctl.data.mailboxes import StoredMail, read_mails
from spamctl.data.mime import MOST_BYTES, MOST_PARTS, Part, content, decoded, decoded_words, parts

# Leave out of a mail's text what earlier mails said: quoted history and long signatures.
#
# The rule, which the corpus `everyday` follows too:
#
# * Of lines that begin with `>`, the first six of the mail stay; they show what is answered.
# * In a reply, of what follows a line such as `-----Original Message-----`, the first six lines stay. A forwarded mail
#   stays whole, for it is what the sender says.
# * Of a signature, which follows the line `--`, the first four lines stay, as netiquette has it. What is longer than
#   the text above it is no signature, and stays: spam would hide there.
# * A mail that says nothing itself stays as it is.

MOST_QUOTED: Final = 6
MOST_SIGNED: Final = 4
_LEAST_OWN = 3  # characters that are no white space, for an answer
_ORIGINAL = re.compile(r"-{3,20}+ ?[^\W\d_][^\n-]{4,40}+-{3,20}+\s*|_{20,80}+\s*")
_FIELD = re.compile(r"\*?[^\W\d_]{2,12}\*?:")  # From:, Von:, De: below a line of underscores


def without_history(text: str, *, is_reply: bool) -> str:
    """Return a text without long quotations and signatures; `is_reply` says that it answers an earlier mail."""
    lines = text.split("\n")
    if is_reply:
        lines = _without_original(lines)
    lines = _without_signature(_without_quotes(lines))
    return "\n".join(lines)


def unflowed(text: str, *, delete_space: bool) -> str:
    """Join the lines of a text that its sender's program has broken (RFC 3676, format=flowed)."""
    lines: list[str] = []
    is_open = False
    for raw in text.split("\n"):
        line = raw.rstrip("\r").removeprefix(" ")
        ends_open = line.endswith(" ") and line != "-- "
        piece = line[:-1] if ends_open and delete_space else line
        if is_open and not line.startswith(">") and line != "-- ":
            lines[-1] += piece
        else:
            lines.append(piece)
        is_open = ends_open and not line.startswith(">")
    return "\n".join(lines)


def _without_original(lines: list[str]) -> list[str]:
    """Cut the mail that a reply carries below its own text."""
    for place, line in enumerate(lines):
        if _ORIGINAL.fullmatch(line) and _says_something(lines[:place]):
            if line.startswith("_") and not any(_FIELD.match(below) for below in lines[place + 1 : place + 3]):
                continue
            below = [one for one in lines[place + 1 :] if one.strip()]
            return [*lines[: place + 1], *below[:MOST_QUOTED]]
    return lines


def _without_quotes(lines: list[str]) -> list[str]:
    """Keep the first quoted lines, and all that are not quoted."""
    if not _says_something(lines):
        return lines
    kept, quoted = [], 0
    for line in lines:
        is_quoted = line.startswith(">")
        quoted += is_quoted
        if not is_quoted or quoted <= MOST_QUOTED:
            kept.append(line)
    return kept


def _without_signature(lines: list[str]) -> list[str]:
    """Keep the first lines of a signature."""
    marks = [place for place, line in enumerate(lines) if line.rstrip() == "--"]
    if not marks:
        return lines
    above, below = lines[: marks[-1]], lines[marks[-1] + 1 :]
    if not _says_something(above) or sum(map(len, below)) > sum(map(len, above)):
        return lines
    return lines[: marks[-1] + 1 + MOST_SIGNED]


def _says_something(lines: list[str]) -> bool:
    """Return whether lines hold text that is not quoted."""
    return sum(len(line.strip()) for line in lines if not line.startswith(">")) >= _LEAST_OWN


__all__ = ["MOST_TEXT", "Mail", "StoredMail", "parse_mail", "read_mails"]

MOST_TEXT: Final = 2**17  # characters: more than the longest window of a model reads
_TAIL = 2**15  # of them from the end: models read the end of a long message too
_MOST_SOURCE = 2**19  # characters of all parts of one kind together
_MOST_NAMES = 20
_LONGEST_SUBJECT = 1_000
_LONGEST_NAME = 100
_MOST_REFERENCES = 50
_MOST_HOSTS = 100

_SAMPLES = 40  # of a plain text, looked for in the HTML beside it
_SAMPLE_LENGTH = 8
_LEAST_SHARED = 0.5
_STUB = 4  # times longer than the plain text is an HTML text that it does not stand for

# What filters put before a subject: ***SPAM***, [SPAM], {Spam?}, [Suspected Spam 7.3], SPAM:
_WORD = (
    r"(?:spam|junk|bulk|phishing|virus|ucebrief|spamverdacht)(?:[\s_-]{1,2}(?:mail|message|score|warning|detected))?+"
)
_SURE = r"(?:(?:possible|probable|suspected|potential|likely|maybe|verdacht)[\s_-]{1,2})?+"
_TAG = re.compile(
    rf"\s*+(?:[*#!]{{1,9}}+|[\[({{<]{{1,3}}+)\s*+{_SURE}{_WORD}[\s\d.,:/?%+-]{{0,16}}+(?:[\])}}>]{{1,3}}+|[*#!]{{1,9}}+):?\s*+"
    r"|\s*+spam\?*+\s*+:\s*+",
    re.IGNORECASE,
)
_REPLY = re.compile(r"\s*(?:re|aw|sv|vs|antw|odp|rif|res|回复|答复|返信)\s*(?:\[\d+\])?\s*[:\uff1a]", re.IGNORECASE)
_URL = re.compile(r"https?://[^\s<>\"']{1,2000}+", re.IGNORECASE)
_IDENTIFIER = re.compile(r"<([^<>\s]{1,250})>")
_DOMAIN = re.compile(r"[^\s@<>]@([^\s@<>()\[\]\",;]{1,253})")
_AT_LINE_END = re.compile(r"(?<![ \t\r])[ \t\r]++\n")
_LINE_ENDS = re.compile(r"[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]+")
_BLANK_LINES = re.compile(r"\n{3,}+")
_NOT_LETTERS = re.compile(r"[\W\d_]++")
_EARLIEST = datetime(1980, 1, 1, tzinfo=UTC)
_LATEST = datetime(2100, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Mail:
    """What is known of a mail; every string of it is hostile until it is escaped.

    `text` is what the model reads, cleaned. `hidden` counts the characters of HTML that nobody sees, which are not in
    it. `references` are identifiers of earlier mails of the thread. `notes` say what is unusual, in our own words.
    """

    text: str
    subject: str = ""
    from_name: str = ""
    from_domain: str = ""
    reply_domain: str = ""  # only where answers go to another domain
    unsubscribe: str = ""  # the host or domain that a list is left at
    list_id: str = ""
    message_id: str = ""
    references: tuple[str, ...] = ()
    date: datetime | None = None
    hidden: int = 0
    attachments: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Body:
    """Text of a mail, of which form it was, and what was found beside it."""

    text: str
    hosts: tuple[str, ...] = ()
    hidden: int = 0
    attachments: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def parse_mail(raw: bytes) -> Mail:
    """Read the bytes of a mail; any bytes are accepted, in bounded time, and yield a text (empty if nothing is in it).

    A mail without subject and body has no text, whoever sent it. Of a mail larger than 25 MiB the rest is not read, of
    more than 100 parts only the first ones.
    """
    if b"\n" not in raw[:MOST_BYTES] and b"\r" in raw:
        raw = raw[:MOST_BYTES].replace(b"\r", b"\n")
    found = list(parts(raw))
    notes = ["larger than 25 MiB: the rest was not read"] if len(raw) > MOST_BYTES else []
    notes += [f"more than {MOST_PARTS} parts: the others were not read"] if len(found) == MOST_PARTS else []
    head = _reported(found) or found[0]
    found = [head, *takewhile(lambda part: part.depth > head.depth, found[found.index(head) + 1 :])]
    subject = _subject(head)
    body = _body(raw, found, is_reply=bool(_REPLY.match(subject) or head.field("in-reply-to")))
    from_name, from_domain = _sender(head.field("from"))
    _, reply_domain = _sender(head.field("reply-to"))
    return Mail(
        text=_within_bounds(clean(_lines(from_name, from_domain, subject) + body.text if subject or body.text else "")),
        subject=subject,
        from_name=from_name,
        from_domain=from_domain,
        reply_domain=reply_domain if reply_domain != from_domain else "",
        unsubscribe=_unsubscribe(head.field("list-unsubscribe")),
        list_id=_list_id(head),
        message_id=next(iter(_identifiers(head, "message-id")), ""),
        references=_identifiers(head, "references", "in-reply-to"),
        date=_date(head),
        hidden=body.hidden,
        attachments=body.attachments,
        hosts=body.hosts,
        notes=(*notes, *body.notes),
    )


def _reported(found: list[Part]) -> Part | None:
    """Return the mail that a filter has enclosed in a report of its own, as SpamAssassin does; None if none has."""
    if not any(name.startswith("x-spam") for name in found[0].fields):
        return None
    for outer, inner in pairwise(found):
        if outer.kind == "message/rfc822" and "spamassassin" in outer.field("content-description").lower():
            return inner
    return None


def _body(raw: bytes, found: list[Part], *, is_reply: bool) -> _Body:
    """Read what a mail says: its plain text if there is one that stands for the HTML beside it."""
    plain, pages, names = _inline(found)
    notes: list[str] = []
    text = "\n\n".join(text for text in _texts(raw, plain, notes) if not text.isspace())
    source = "\n".join(_texts(raw, pages, notes))
    page = _page(text, source)
    hosts: dict[str, None] = dict.fromkeys(page.hosts if page else ())
    if page and text and not _is_stub(text, source):
        notes.append("plain text and HTML differ: both are read")
        text = f"{page.text}\n\n{text}"
    elif page:
        text = page.text or text
    if page and page.hidden:
        notes.append(f"{page.hidden} hidden characters were left out")
    for url in _URL.findall(text):
        if len(hosts) < _MOST_HOSTS and (host := host_of(url)):
            hosts[host] = None
    text = _BLANK_LINES.sub("\n\n", _AT_LINE_END.sub("\n", without_history(text, is_reply=is_reply)))
    text = text.strip("\n").rstrip()
    return _Body(text, tuple(hosts), page.hidden if page else 0, names, tuple(dict.fromkeys(notes)))


def _inline(found: list[Part]) -> tuple[list[Part], list[Part], tuple[str, ...]]:
    """Sort parts into plain texts and pages that are shown, and names of what is attached."""
    plain: list[Part] = []
    pages: list[Part] = []
    names: list[str] = []
    enclosed = 0  # depth of a mail that is attached: its parts are not this mail's
    for part in found:
        if enclosed and part.depth > enclosed:
            continue
        enclosed = 0
        if part.kind == "message/rfc822" and part.depth > found[0].depth:
            enclosed = part.depth
            names.append(part.name[:_LONGEST_NAME] or part.kind)
        elif part.kind == "text/html" and not part.is_attached:
            pages.append(part)
        elif part.kind == "text/plain" and not part.is_attached:
            plain.append(part)
        elif not part.kind.startswith("multipart/") and (part.name or not part.kind.startswith("text/")):
            names.append(part.name[:_LONGEST_NAME] or part.kind[:_LONGEST_NAME])
        elif part.kind.startswith("multipart/") and not part.parameter("content-type", "boundary"):
            plain.append(part)
    return plain, pages, tuple(dict.fromkeys(names))[:_MOST_NAMES]


def _texts(raw: bytes, chosen: list[Part], notes: list[str]) -> Iterator[str]:
    """Yield the texts of parts, each in its charset, as far as the first of them are not too long together."""
    length = 0
    for part in chosen:
        whole, is_cut = content(raw, part)
        text, as_named = decoded(whole, part.parameter("content-type", "charset"))
        if is_cut or length > _MOST_SOURCE:
            notes.append("a very long text: its rest was not read")
        if length > _MOST_SOURCE:
            return
        if not as_named:
            notes.append("a charset that is unknown or wrong: it was guessed")
        length += len(text)
        text = text.replace("\r\n", "\n")
        if part.parameter("content-type", "format").lower() == "flowed":
            text = unflowed(text, delete_space=part.parameter("content-type", "delsp").lower() == "yes")
        yield text


def _page(text: str, source: str) -> HtmlText | None:
    """Read the HTML of a mail, or nothing where the plain text stands for it."""
    if not source.strip():
        return None
    if text and not _is_stub(text, source) and _is_shared(text, source):
        return None
    return html_text(source)


def _is_stub(text: str, source: str) -> bool:
    """Return whether a plain text only says that there is HTML."""
    return _STUB * len(_letters(text)) < len(_letters(without_tags(source)))


def _is_shared(text: str, source: str) -> bool:
    """Return whether the HTML beside a plain text says the same, by samples of it."""
    letters, whole = _letters(text), _letters(without_tags(source))
    step = max(1, len(letters) // _SAMPLES)
    samples = [letters[at : at + _SAMPLE_LENGTH] for at in range(0, max(1, len(letters) - _SAMPLE_LENGTH), step)]
    return sum(sample in whole for sample in samples) >= _LEAST_SHARED * len(samples)


def _letters(text: str) -> str:
    """Return the letters of the beginning of a text, without what is between them."""
    return _NOT_LETTERS.sub("", text[:MOST_TEXT]).casefold()


def _subject(head: Part) -> str:
    """Return the subject without the tags that filters put before it."""
    subject = _LINE_ENDS.sub(" ", decoded_words(head.field("subject"))[:_LONGEST_SUBJECT]).strip()
    while (tag := _TAG.match(subject)) and tag.end():
        subject = subject[tag.end() :]
    return subject


def _lines(name: str, domain: str, subject: str) -> str:
    """Return the lines above the body: who sends, without the name of the mailbox, and the subject."""
    sender = f"{name} <{domain}>" if name and domain else name or domain
    lines = [f"{field}: {value}\n" for field, value in (("From", sender), ("Subject", subject)) if value]
    return "".join((*lines, "\n")) if lines else ""


def _sender(field: str) -> tuple[str, str]:
    """Return the display name and the domain of the first address of a field.

    The parser of the standard library recurses into comments within comments.
    """
    before, bracket, after = field[:_LONGEST_SUBJECT].partition("<")
    domain = _DOMAIN.search(after if bracket else before) or _DOMAIN.search(field)
    name = _LINE_ENDS.sub(" ", decoded_words(before)).strip(" \"'") if bracket else ""
    return name[:_LONGEST_NAME], domain[1].lower().rstrip(".") if domain else ""


def _unsubscribe(field: str) -> str:
    """Return where a list is left: the host of an address, or the domain of a mailbox."""
    hosts = (host_of(one) for one in _IDENTIFIER.findall(field))
    domain = _DOMAIN.search(field)
    return next(filter(None, hosts), "") or (domain[1].lower().partition("?")[0] if domain else "")


def _list_id(head: Part) -> str:
    """Return the identifier of the list that a mail came through; nothing if it came through none."""
    found = next(iter(_identifiers(head, "list-id")), "")
    return found or head.field("list-id")[:_LONGEST_NAME].strip().lower()


def _identifiers(head: Part, *names: str) -> tuple[str, ...]:
    """Return the identifiers in angle brackets of some fields, in lower case, each once."""
    found = (one.lower() for name in names for one in _IDENTIFIER.findall(head.field(name)))
    return tuple(dict.fromkeys(found))[:_MOST_REFERENCES]


def _date(head: Part) -> datetime | None:
    """Return when a mail arrived, as the last server says, or else when its sender says that it was sent, in UTC."""
    arrived = (field.rpartition(";")[2] for field in head.fields.get("received", ())[:1])
    for text in (*arrived, head.field("date")):
        try:
            found = parsedate_to_datetime(text.strip()[:_LONGEST_NAME])
            found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
        if _EARLIEST <= found < _LATEST:
            return found
    return None


def _within_bounds(text: str) -> str:
    """Return a text that is not longer than any model reads: its beginning and its end."""
    return text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - _TAIL - 1]}\n{text[-_TAIL:]}"
