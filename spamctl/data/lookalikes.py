"""Replace look-alike letters by the Latin ones they imitate, inside words that mix alphabets.

The pairs are those of Unicode Technical Standard 39 (confusables.txt), from the library confusable-homoglyphs. Words of
one alphabet stay as they are, so that Greek, Cyrillic, Armenian and all other text is read as it is written.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files

from spamctl.data.cleaning import UNSEEN

_WORD = re.compile(rf"(?:[^\W\d_]|{UNSEEN.pattern})+")  # what is drawn as nothing parts no word
_LATIN = re.compile(r"[A-Za-z]")
# Latin letters that no alphabet uses, but phonetic notation: script g, Latin alpha, small capitals.
_PALOCHKA = "\N{CYRILLIC SMALL LETTER PALOCHKA}"  # Unicode pairs it with i, nearly every font draws it as l
_PHONETIC = ((0x0250, 0x02AF), (0x1D00, 0x1D7F))


@cache
def table() -> Mapping[str, str]:
    """Return the Latin letter, A to Z or a to z, that each look-alike stands for."""
    known = json.loads((files("confusable_homoglyphs") / "confusables.json").read_text(encoding="utf-8"))
    found: dict[str, str] = {}
    for letter in map(chr, (*range(ord("A"), ord("Z") + 1), *range(ord("a"), ord("z") + 1))):
        for twin in _twins(known.get(letter, ())):
            found.setdefault(twin, _in_case_of(twin, letter))
    return found


def fold(text: str, twins: Mapping[str, str]) -> str:
    """Return the text with the look-alikes of `twins` written in Latin letters, in words that mix them with such.

    Where there is such a word, those made of nothing but look-alikes are folded too, unless the text also holds a word
    that is really in their alphabet. The length of the text stays.
    """
    if text.isascii() or not twins:
        return text
    words = {match[0] for match in _WORD.finditer(text) if not match[0].isascii()}
    disguised = {
        word
        for word in words
        if _LATIN.search(unicodedata.normalize("NFKC", word)) and not twins.keys().isdisjoint(word)
    }
    if not disguised:
        return text
    spoken = {_alphabet(letter) for word in words - disguised for letter in word if letter not in twins}
    disguised |= {
        word for word in words if twins.keys() >= set(UNSEEN.sub("", word)) and spoken.isdisjoint(map(_alphabet, word))
    }
    swap = str.maketrans(dict(twins))
    return _WORD.sub(lambda match: match[0].translate(swap) if match[0] in disguised else match[0], text)


def _alphabet(letter: str) -> str:
    """Return the alphabet of a letter, the first word of its name in Unicode."""
    return unicodedata.name(letter, "").partition(" ")[0]


def _twins(entries: list[Mapping[str, str]]) -> Iterator[str]:
    """Yield the single letters of other alphabets, and of phonetic notation, among the look-alikes of a letter."""
    for entry in entries:
        twin = entry["c"]
        if len(twin) != 1 or unicodedata.category(twin)[0] != "L" or unicodedata.normalize("NFKC", twin).isascii():
            continue  # what compatibility makes Latin, as fullwidth letters, the tokenizer reads so by itself
        phonetic = any(first <= ord(twin) <= last for first, last in _PHONETIC)
        if phonetic or not unicodedata.name(twin, "").startswith("LATIN"):
            yield twin


def _in_case_of(twin: str, letter: str) -> str:
    """Return the letter that a look-alike stands for: Unicode takes a capital I and a small l for one."""
    if twin == _PALOCHKA:
        return "l"
    return "I" if letter == "l" and twin.isupper() else letter
