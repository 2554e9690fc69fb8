"""Decide whether a text in HTML can be seen: displayed, of some size, in another colour than its background.

Rules of a style sheet are applied where they name one element, class or id; those for some windows only (`@media`) are
not. Where a rule that is not understood sets a background, colours are not compared: they would hide what is seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

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
