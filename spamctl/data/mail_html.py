"""Turn a mail's HTML into the text that a reader sees, without what is hidden from the eye.

Spammers hide words that a filter takes for honest ones: in elements that are not displayed, of no size, or in the
colour of their background (see `styles`). They are left out and counted.

No tree is built: trees of nested or mangled elements take quadratic time, by the rules of HTML itself (lexbor needs
14 s for 256 kB of `<div>`). The text is read once, tag by tag, with a bounded stack of open elements; every pattern
here is possessive or cannot overlap itself, so that time is linear in the length of any input.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from spamctl.data.cleaning import unescape
from spamctl.data.styles import Look, Sheet

MOST_TAGS: Final = 20_000  # newsletters have 500 to 4,000; behind these, tags are only taken out
_DEEPEST = 256
_MOST_CLOSED = 32  # open elements that one closing tag is compared with
_MOST_HOSTS = 200

_TAG = re.compile(
    r"<(?:(!--)|[!?][^>]*+>?|(/?)([a-zA-Z][a-zA-Z0-9:-]*+)((?:[^<>=]++|=\s*+\"[^\"<]*+\"|=\s*+'[^'<]*+'|=)*+)>?)"
)
_ATTRIBUTE = re.compile(r"([^\s\"'>/=]++)(?:\s*+=\s*+(\"[^\"]*+\"|'[^']*+'|[^\s\"'>]++))?+")
_ANY_TAG = re.compile(r"<[a-zA-Z/!?][^<>]*+>")
_MARK = re.compile(r"<(style|script|title)\b|</(style|script|title)\s*+>|(<!--)|(-->)", re.IGNORECASE)
_SPACES = re.compile(r"[ \t\r\f\v\xa0]++")
_WHITE = re.compile(r"[ \t\r\f\v\xa0\n]++")
_AROUND_LINE_END = re.compile(r" ?\n ?")
_BLANK_LINES = re.compile(r"\n{3,}+")
_HOST = re.compile(r"\s*+(?:https?:)?//(?:[^\s/?#@]{0,200}+@)?([^\s/?#@:<>\"'\\]{1,253}+)", re.IGNORECASE)

_VOID = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr")
)
_RAW = {name: re.compile(f"</{name}", re.IGNORECASE) for name in ("style", "script", "title", "textarea", "xmp")}
_UNSHOWN = frozenset(("head", "object", "svg", "math", "select", "template"))
_CELLS = frozenset(("td", "th"))
_PARAGRAPHS = frozenset(("blockquote", "dl", "h1", "h2", "h3", "h4", "h5", "h6", "ol", "p", "pre", "table", "ul"))
_BLOCKS = (
    _PARAGRAPHS
    | {"address", "article", "aside", "center", "dd", "div", "dt", "fieldset", "figure", "footer", "form", "header"}
    | {"hr", "li", "main", "nav", "section", "tbody", "tfoot", "thead", "tr"}
)
_BARRIERS = _CELLS | {"table"}
_LISTS = frozenset(("ul", "ol", "dl"))
# What an opening tag closes before it, and the elements that it cannot reach beyond.
_IMPLIED: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    **dict.fromkeys(_BLOCKS, (frozenset("p"), _BARRIERS)),
    **dict.fromkeys(_CELLS, (_CELLS, frozenset(("table", "tr")))),
    "tr": (frozenset(("tr",)), frozenset(("table",))),
    "li": (frozenset(("li",)), _LISTS),
    **dict.fromkeys(("dd", "dt"), (frozenset(("dd", "dt")), _LISTS)),
    "a": (frozenset("a"), _BARRIERS),
    "body": (frozenset(("head",)), frozenset()),
}


@dataclass(frozen=True, slots=True)
class HtmlText:
    """What is seen of an HTML text, the hosts of its links, and how many characters are hidden."""

    text: str
    hosts: tuple[str, ...]
    hidden: int


def html_text(source: str) -> HtmlText:
    """Return what a reader sees of an HTML text; a link is its text and its host in angle brackets.

    Any string is accepted, in linear time.
    """
    reader = _Reader(source)
    reader.read()
    return HtmlText(_tidy("".join(reader.pieces)), tuple(reader.hosts), reader.hidden)


def without_tags(source: str) -> str:
    """Return an HTML text without its tags, comments and style sheets, whatever is hidden."""
    pieces, closing, at = [], "", 0
    for mark in _MARK.finditer(source):
        opened = (mark[1] or mark[3] or "").lower()
        if opened and not closing:
            pieces.append(source[at : mark.start()])
            closing = opened
        elif closing and closing == ("<!--" if mark[4] else (mark[2] or "").lower()):
            closing, at = "", mark.end()
    if not closing:
        pieces.append(source[at:])
    return unescape(_ANY_TAG.sub(" ", " ".join(pieces)))


def host_of(link: str) -> str:
    """Return the host of a web address in lower case; nothing if it is none."""
    found = _HOST.match(link)
    return found[1].lower().strip(".") if found else ""


def _tidy(text: str) -> str:
    """Bring white space into the form of a plain mail: single spaces, and one blank line between paragraphs."""
    return _BLANK_LINES.sub("\n\n", _AROUND_LINE_END.sub("\n", _SPACES.sub(" ", text))).strip()


@dataclass(frozen=True, slots=True)
class _Open:
    """An open element: its name, how its surroundings look, what ends it, and for a link its host and text."""

    name: str
    around: Look
    end: str = ""
    host: str = ""
    begins: int = 0


@dataclass(slots=True)
class _Reader:
    """State of reading an HTML text: pieces of text that are seen, open elements, and the look of what comes next."""

    source: str
    pieces: list[str] = field(default_factory=list)
    hosts: dict[str, None] = field(default_factory=dict)
    hidden: int = 0
    stack: list[_Open] = field(default_factory=list)
    look: Look = field(default_factory=Look)
    sheet: Sheet = field(default_factory=Sheet)

    def read(self) -> None:
        """Read the text from its beginning to its end."""
        at = count = 0
        while (tag := _TAG.search(self.source, at)) and count < MOST_TAGS:
            self._add(self.source[at : tag.start()])
            at, count = tag.end(), count + 1
            if tag[1]:
                end = self.source.find("-->", at)
                at = len(self.source) if end < 0 else end + len("-->")
            elif name := (tag[3] or "").lower():
                if tag[2]:
                    self._close(frozenset((name,)), frozenset() if name in _BLOCKS | _CELLS else _BARRIERS)
                elif name in _RAW:
                    at = self._skip(name, at)
                else:
                    self._open(name, tag[4])
        if tag:
            self.pieces.append("\n" + without_tags(self.source[at:]))
        else:
            self._add(self.source[at:])
        while self.stack:
            self._pop()

    def _skip(self, name: str, at: int) -> int:
        """Return where the content of an element ends that holds no tags; a style sheet is read."""
        end = _RAW[name].search(self.source, at)
        after = end.start() if end else len(self.source)
        if name == "style":
            self.sheet.add(self.source[at:after])
        return after

    def _add(self, raw: str) -> None:
        """Keep a text that is seen, and count one that is not."""
        if not raw:
            return
        text = unescape(raw)
        if self.look.is_seen:
            self.pieces.append(_WHITE.sub(" ", text))
        else:
            self.hidden += len("".join(text.split()))
            self.pieces.append(" " if text[:1].isspace() or text[-1:].isspace() else "")

    def _open(self, name: str, written: str) -> None:
        """Begin an element."""
        if name in _IMPLIED and self.stack:
            closed, barriers = _IMPLIED[name]
            self._close(closed, barriers)
        if name == "br":
            self.pieces.append("\n")
            return
        attributes = _attributes(written) if "=" in written or "hidden" in written else {}
        look = self.sheet.look(name, attributes, self.look)
        before, end = _around(name)
        self.pieces.append(before)
        if name in _VOID:
            if name == "img" and look.is_seen and (alt := attributes.get("alt", "").strip()):
                self.pieces.append(f" {_WHITE.sub(' ', alt)} ")
            return
        if len(self.stack) < _DEEPEST:
            host = host_of(attributes.get("href", "")) if name == "a" and look.is_seen else ""
            if host and len(self.hosts) < _MOST_HOSTS:
                self.hosts[host] = None
            self.stack.append(_Open(name, self.look, end, host, len(self.pieces)))
            self.look = Look(hidden=True) if name in _UNSHOWN else look

    def _close(self, names: frozenset[str], barriers: frozenset[str]) -> None:
        """End the nearest open element of some names, and those within it, unless a barrier stands between."""
        for depth, opened in enumerate(reversed(self.stack[-_MOST_CLOSED:]), start=1):
            if opened.name in names:
                for _ in range(depth):
                    self._pop()
                return
            if opened.name in barriers:
                return

    def _pop(self) -> None:
        """End the innermost element."""
        opened = self.stack.pop()
        self.look = opened.around
        if opened.host:
            text = "".join(self.pieces[opened.begins :])
            blank = len(text) - len(text.rstrip())
            self.pieces[opened.begins :] = [text[: len(text) - blank]]
            if opened.host not in text.lower():
                self.pieces.append(f" <{opened.host}>")
            self.pieces.append(text[len(text) - blank :])
        self.pieces.append(opened.end)


def _attributes(written: str) -> dict[str, str]:
    """Return the attributes of a tag by their lower-case names; the first of one name counts."""
    found: dict[str, str] = {}
    for name, value in _ATTRIBUTE.findall(written):
        plain = value[1:-1] if value[:1] in {'"', "'"} and value[:1] else value
        found.setdefault(name.lower(), unescape(plain))
    return found


def _around(name: str) -> tuple[str, str]:
    """Return what stands before and behind the text of an element."""
    if name in _CELLS:
        return " ", " "
    if name == "li":
        return "\n- ", ""
    end = "\n\n" if name in _PARAGRAPHS else "\n" if name in _BLOCKS else ""
    return end, end
