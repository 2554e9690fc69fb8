"""Clean a message the same way in training and in the server."""

import html
import re
import unicodedata

# Line breaks of every kind become "\n", the unit separator (white space to Python) a space; all other controls go.
_CONTROLS: dict[int, str | None] = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)))
_CONTROLS |= dict.fromkeys(map(ord, "\n\v\f\r\x1c\x1d\x1e\x85"), "\n") | {0x09: "\t", 0x1F: " "}

# Unicode's property Default_Ignorable_Code_Point: what is drawn as nothing.
UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)

# `html.unescape` raises on a number of more than 4,300 digits; no character's number has more than seven.
_ENDLESS_REFERENCE = re.compile(r"&#[0-9]{32,};?")

# Canonical ordering takes quadratic time in a run of combining marks: 80,000 of them take 5 s, 8 MiB of them hours.
# So Unicode's Stream-Safe Text Format (UAX 15, section 13) cuts runs of more than 30 by U+034F, which no one sees.
_LONGEST_RUN = 30
_GRAPHEME_JOINER = "\u034f"


# "&amp;lt;" is an entity within an entity. A bound, since only an attack goes deeper, and each layer costs one pass.
_DEEPEST_ENTITY = 8


def clean(text: str) -> str:
    """Unescape HTML entities, normalise to NFC and drop control characters; keep what spammers use.

    Zero-width characters, homoglyphs and directional marks stay: they tell spam from the rest, though a model reads
    past what is drawn as nothing (`model/tokens.py`). Lone surrogates become U+FFFD. Any string is accepted, in time
    linear in its length. What is clean stays as it is when it is cleaned again, so a message that was cleaned for
    training meets the same model as its raw form does in the server.
    """
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    for _ in range(_DEEPEST_ENTITY):
        before, text = text, _clean_layer(text)
        if "&" not in text or text == before:
            break
    return text


def unescape(text: str) -> str:
    """Replace HTML entities by their characters, one layer of them; any string is accepted."""
    return html.unescape(_ENDLESS_REFERENCE.sub("\ufffd", text)) if "&" in text else text


def _clean_layer(text: str) -> str:
    """Unescape entities once, drop controls and normalise."""
    text = unescape(text).replace("\r\n", "\n").translate(_CONTROLS)
    return text if text.isascii() else unicodedata.normalize("NFC", _cut_runs_of_marks(text))


def _cut_runs_of_marks(text: str) -> str:
    """Bound the runs of combining marks, so that normalising takes linear time."""
    marks = "".join(filter(unicodedata.combining, set(text)))
    if not marks:
        return text
    mark = f"[{re.escape(marks)}]"
    return re.sub(f"{mark}{{{_LONGEST_RUN}}}(?={mark})", rf"\g<0>{_GRAPHEME_JOINER}", text)
