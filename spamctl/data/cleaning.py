"""Clean messages the same way everywhere: look-alike letters, duplicates and near duplicates."""

from __future__ import annotations

import hashlib
import html
import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from spamctl.schema.message import Message, Split
from spamctl.schema.train import Leakage

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
    past what is drawn as nothing (`engine/tokens.py`). Lone surrogates become U+FFFD. Any string is accepted, in time
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


# Replace look-alike letters by the Latin ones they imitate, inside words that mix alphabets.
#
# The pairs are those of Unicode Technical Standard 39 (confusables.txt), from the library confusable-homoglyphs. Words
# of one alphabet stay as they are, so that Greek, Cyrillic, Armenian and all other text is read as it is written.

_WORD = re.compile(rf"(?:[^\W\d_]|{UNSEEN.pattern})+")  # what is drawn as nothing parts no word
_LATIN = re.compile(r"[A-Za-z]")
# Latin letters that no alphabet uses, but phonetic notation: script g, Latin alpha, small capitals.
_PALOCHKA = "\N{CYRILLIC SMALL LETTER PALOCHKA}"  # Unicode pairs it with i, nearly every font draws it as l
_PHONETIC = ((0x0250, 0x02AF), (0x1D00, 0x1D7F))


@cache
def lookalike_table() -> Mapping[str, str]:
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


# Join names that belong together, step by step, into sets that share no name (union-find).


class DisjointSets:
    """Sets of names, each led by its least name, so that the order in which they were joined does not matter."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}

    def leader(self, name: str) -> str:
        """Return the least name of the set that a name is in; a new name is a set of its own."""
        parents = self._parents
        while (parent := parents.setdefault(name, name)) != name:
            parents[name] = name = parents[parent]  # halves the way for whoever asks next
        return name

    def join(self, names: Iterable[str]) -> None:
        """Make one set of those that some names are in."""
        leaders = sorted({self.leader(name) for name in names})
        for other in leaders[1:]:
            self._parents[other] = leaders[0]


# Find duplicates and near duplicates, and verify that none crosses the split.

_DIGIT = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Distinct:
    """Each text once, with counts of what was left out."""

    messages: tuple[Message, ...]
    repeated: int  # further copies of a text that was kept
    disputed: int  # messages set aside, since twins of theirs carry the other label
    disputes: int  # groups of twins that those belong to


def twin_key(text: str) -> str:
    """Fold case and white space and mask digits, so that near duplicates of a cleaned text share a key.

    Spam is sent from templates whose numbers change. Each digit is masked on its own, not each run of them: how long a
    number is belongs to the template, while "I am 9" and "I am 2026" are no twins.
    """
    return _DIGIT.sub("0", " ".join(text.casefold().split()))


def seen_key(text: str) -> str:
    """Fold a twin key further, to what a person sees, which is also all that the model reads (`engine/tokens.py`).

    Spellings that differ in characters of no width, in letters that compatibility makes equal, or in look-alikes inside
    a Latin word are one message to both: their keys are equal. Texts of one twin key have one such key.
    """
    key = twin_key(text)
    if key.isascii():
        return key
    seen = unicodedata.normalize("NFKC", UNSEEN.sub("", unicodedata.normalize("NFKC", key)))
    return twin_key(fold(seen, lookalike_table()))


def key_hash(key: str) -> bytes:
    """Return the sha256 of a key; unlike `hash`, it is the same on every machine."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def group_twins(messages: Iterable[Message]) -> dict[str, list[Message]]:
    """Group messages that are seen as the same, each group under the first of its twin keys."""
    groups: defaultdict[str, list[Message]] = defaultdict(list)
    for message in messages:
        groups[seen_key(message.text)].append(message)
    return {min(twin_key(message.text) for message in group): group for group in groups.values()}


def group_related(messages: Iterable[Message]) -> dict[str, list[Message]]:
    """Group messages that are seen as the same or belong to one thread, each group under the least of its keys."""
    groups = group_twins(messages)
    first: dict[str, str] = {}  # the key of the first group of each thread
    joined = DisjointSets()
    for key, twins in groups.items():
        joined.join((key, *(first.setdefault(one.traits.thread, key) for one in twins if one.traits.thread)))
    related: defaultdict[str, list[Message]] = defaultdict(list)
    for key, twins in groups.items():
        related[joined.leader(key)] += twins
    return dict(related)


def keep_distinct(messages: Sequence[Message]) -> Distinct:
    """Keep each text once, and set aside groups of twins that carry both labels: nobody knows their truth."""
    groups = group_twins(messages)
    disputes = {key: group for key, group in groups.items() if len({message.label for message in group}) > 1}
    kept = tuple(dict.fromkeys(message for key, group in groups.items() if key not in disputes for message in group))
    disputed = sum(map(len, disputes.values()))
    return Distinct(kept, len(messages) - disputed - len(kept), disputed, len(disputes))


def leakage(split: Split) -> Leakage:
    """Count messages of a later part whose text ("exact") or seen key ("masked") an earlier part holds too."""
    exact, masked = 0, 0
    texts: set[str] = set()
    keys: set[str] = set()
    for part in (split.train, split.validation, split.test):
        part_keys = [seen_key(message.text) for message in part]
        exact += sum(message.text in texts for message in part)
        masked += sum(key in keys for key in part_keys)
        texts.update(message.text for message in part)
        keys.update(part_keys)
    return Leakage(exact, masked)


# Select each message for review once: an exact copy gets the same label, and a near duplicate is skipped.


@dataclass(slots=True)
class Question:
    """A question for the reviewer: rows of one text, and how many near duplicates of it are not asked."""

    text: str
    uuids: list[str] = field(default_factory=list)
    twins: int = 0


def cluster(text: str) -> bytes:
    """Return what near duplicates of a message share."""
    return key_hash(twin_key(clean(text)))


def questions(rows: Iterable[tuple[str, str]], settled: Collection[bytes] = ()) -> list[Question]:
    """Return what to ask of (uuid, text) rows, in their order: the first of each cluster that is not settled."""
    asked: dict[bytes, Question] = {}
    for uuid, text in rows:
        key = cluster(text)
        if key in settled:
            continue
        question = asked.setdefault(key, Question(text))
        if question.text == text:
            question.uuids.append(uuid)
        else:
            question.twins += 1
    return list(asked.values())
