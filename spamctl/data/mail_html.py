"""Read the visible text of HTML mail, and note what its styles hide.

Spammers hide words that a filter takes for honest ones: in elements that are not displayed, of no size, or in the
colour of their background (see `styles`). They are left out and counted.

No tree is built: trees of nested or mangled elements take quadratic time, by the rules of HTML itself (lexbor needs
14 s for 256 kB of `<div>`). The text is read once, tag by tag, with a bounded stack of open elements; every pattern
here is possessive or cannot overlap itself, so that time is linear in the length of any input.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from spamctl.data.cleaning import unescape

# Decide whether a text in HTML can be seen: displayed, of some size, in another colour than its background.
#
# Rules of a style sheet are applied where they name one element, class or id; those for some windows only (`@media`)
# are not. Where a rule that is not understood sets a background, colours are not compared: they would hide what is
# seen.

Colour = tuple[int, int, int]

_MOST_STYLE = 2**16
_MOST_RULES = 500
_MOST_CLASSES = 20
_LONGEST_STYLE = 2**12
_TINY = 1.0  # pixels or points of a font: a dot
_FAR = -500.0  # pixels beyond the edge
_CLOSE = 12  # of 255, in each channel: nobody sees the difference

_BRACES = re.compile(r"[^{}]++|[{}]")
_SELECTOR = re.compile(r"[a-z][a-z0-9]*|(?:[a-z][a-z0-9]*)?[.#][a-z0-9_-]+")
_LENGTH = re.compile(r"(-?\d{0,5}(?:\.\d{1,9})?)\s{0,9}(px|pt|em|rem|%|)")
_HEX = re.compile(r"#?([0-9a-f]{6}|[0-9a-f]{3})(?![0-9a-z])")
_RGB = re.compile(r"rgba?\(\s{0,9}(\d{1,3})\s{0,9}[, ]\s{0,9}(\d{1,3})\s{0,9}[, ]\s{0,9}(\d{1,3})")
_NAMES: Final[dict[str, Colour]] = {
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "red": (255, 0, 0),
    "green": (0, 128, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "gray": (128, 128, 128),
    "grey": (128, 128, 128),
    "silver": (192, 192, 192),
    "navy": (0, 0, 128),
    "snow": (255, 250, 250),
    "ivory": (255, 255, 240),
    "whitesmoke": (245, 245, 245),
    "ghostwhite": (248, 248, 255),
}


@dataclass(frozen=True, slots=True)
class Look:
    """How text looks at some place: its colours as far as they are known, and what hides it.

    What is not displayed stays so; visibility, size and colours are those of the innermost element that sets them.
    """

    hidden: bool = False
    invisible: bool = False
    tiny: bool = False
    ink: Colour | None = None
    paper: Colour | None = (255, 255, 255)

    @property
    def is_seen(self) -> bool:
        """Return whether a reader sees the text."""
        if self.hidden or self.invisible or self.tiny:
            return False
        if self.ink is None or self.paper is None:
            return True
        return any(abs(one - other) > _CLOSE for one, other in zip(self.ink, self.paper, strict=True))


@dataclass(slots=True)
class Sheet:
    """Declarations of a mail's style sheets that name one element, class or id."""

    rules: dict[str, dict[str, str]] = field(default_factory=dict)
    is_partly_read: bool = False

    def add(self, sheet: str) -> None:
        """Read a style sheet as far as it is simple."""
        for selectors, block in _rules(sheet[:_MOST_STYLE]):
            declared = _declared(block)
            for selector in selectors.lower().split(",")[:_MOST_RULES]:
                name = selector.strip()
                if _SELECTOR.fullmatch(name) and len(self.rules) < _MOST_RULES:
                    self.rules.setdefault(name, {}).update(declared)
                else:
                    self.is_partly_read |= any(key.startswith("background") for key in declared)

    def look(self, name: str, attributes: Mapping[str, str], around: Look) -> Look:
        """Return how an element looks within what is around it."""
        if around.hidden or not (attributes or name in self.rules):
            return around
        style = {**self._applied(name, attributes), **_declared(attributes.get("style", ""))}
        if "hidden" in attributes or _is_gone(style) or _is_dot(name, attributes):
            return Look(hidden=True)
        if visibility := style.get("visibility"):
            around = replace(around, invisible=visibility in {"hidden", "collapse"})
        if (tiny := _is_tiny(style.get("font-size", ""))) is not None:
            around = replace(around, tiny=tiny)
        return self._coloured(name, attributes, style, around)

    def _coloured(self, name: str, attributes: Mapping[str, str], style: Mapping[str, str], around: Look) -> Look:
        """Return a look with the colours that an element sets."""
        ink = style.get("color") or (attributes.get("color") if name == "font" else None)
        paper = style.get("background-color") or style.get("background") or attributes.get("bgcolor")
        if "background" in attributes or "background-image" in style or self.is_partly_read:
            return replace(around, ink=None, paper=None)
        if ink and ink.startswith("transparent"):
            return replace(around, invisible=True)
        if ink and ink != "inherit":
            around = replace(around, ink=_colour(ink))
        if paper and not paper.startswith(("transparent", "none", "inherit")):
            around = replace(around, paper=_colour(paper))
        return around

    def _applied(self, name: str, attributes: Mapping[str, str]) -> dict[str, str]:
        """Return the declarations that the sheet has for an element."""
        found: dict[str, str] = {}
        if self.rules:
            classes = attributes.get("class", "").lower().split()[:_MOST_CLASSES]
            names = (name, *(f".{one}" for one in classes), *(f"{name}.{one}" for one in classes))
            for one in (*names, f"#{attributes.get('id', '').lower()}"):
                found |= self.rules.get(one, {})
        return found


def _rules(sheet: str) -> Iterator[tuple[str, str]]:
    """Yield each rule's selectors and declarations, but for those within an at-rule."""
    commented = sheet.replace("<!--", "").replace("-->", "").split("*/")
    plain = "".join(piece.partition("/*")[0] for piece in commented)
    depth, before, selectors = 0, "", ""
    for piece in _BRACES.findall(plain):
        if piece == "{":
            selectors = before if depth == 0 else selectors
            depth += 1
        elif piece == "}":
            if depth == 1 and "@" not in selectors:
                yield selectors.strip(), before
            depth = max(0, depth - 1)
        before = "" if piece in {"{", "}"} else piece


def _declared(block: str) -> dict[str, str]:
    """Return the declarations of a style, names and values in lower case."""
    if ":" not in block:
        return {}
    pairs = (one.partition(":") for one in block[:_LONGEST_STYLE].lower().split(";"))
    return {name.strip(): value.replace("!important", "").strip() for name, _, value in pairs if value}


def _is_gone(style: Mapping[str, str]) -> bool:
    """Return whether a style hides an element and all within it: not displayed, of no extent, or beyond the edge."""
    if not style:
        return False
    if style.get("display") == "none" or _length(style, "opacity") == 0 or "rect(0" in style.get("clip", ""):
        return True
    beyond = ("text-indent", *(("left", "top") if style.get("position") in {"absolute", "fixed"} else ()))
    if any((_length(style, side) or 0) <= _FAR for side in beyond):
        return True
    sides = ("height", "width", "max-height", "max-width")
    return "hidden" in style.get("overflow", "") and any(_length(style, side) == 0 for side in sides)


def _is_tiny(size: str) -> bool | None:
    """Return whether a font is too small to be seen, None where its size is not set, or relative to what is around."""
    found = _LENGTH.fullmatch(size)
    if not found or found[1] in {"", "-"}:
        return False if size else None
    number = float(found[1])
    if found[2] in {"em", "%"} and number > 0:
        return None
    return number <= (_TINY if found[2] in {"px", "pt"} else 0)


def _is_dot(name: str, attributes: Mapping[str, str]) -> bool:
    """Return whether an element is an image of at most one pixel, whose text nobody sees."""
    if name != "img":
        return False
    sizes = [_length(attributes, side) for side in ("width", "height")]
    return any(size is not None and size <= 1 for size in sizes)


def _length(values: Mapping[str, str], name: str) -> float | None:
    """Return the number of a length, None if it is none."""
    found = _LENGTH.fullmatch(values.get(name, "").strip())
    return float(found[1]) if found and found[1] not in {"", "-"} else None


def _colour(value: str) -> Colour | None:
    """Return the colour that a value begins with, None where that is not a plain one, such as an image."""
    value = value.strip().lower()
    if "url(" in value or "gradient" in value:
        return None
    if found := _RGB.match(value):
        red, green, blue = (min(255, int(one)) for one in found.groups())
        return red, green, blue
    if found := _HEX.match(value):
        digits = found[1] if len(found[1]) > len("rgb") else "".join(2 * digit for digit in found[1])
        return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)
    return _NAMES.get(value.split(" ")[0])


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
