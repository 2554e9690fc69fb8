"""Find forgotten messages in the bytes of a file, in whatever spelling it has them, and blank them out."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from spamctl.data.cleaning import clean

FILLER = b"(forgotten)"
LEAST = 24  # bytes from which on a message is recognised inside a longer string too; "ok" is part of everything

# Looking ahead, each of these also begins in the middle of what another has found: quotes may be out of step.
_QUOTED = re.compile(rb'"(?=([^"\\]*+(?:\\.[^"\\]*+)*+)"(?!\s*:))', re.DOTALL)
_CELL = re.compile(rb">(?=([^<]+)<)")
_FIELD = re.compile(rb"(?:^|[\t\n,])(?=([^\t\r\n,\"]+)(?:$|[\t\r\n,]))")
_SHORT, _LONG = re.compile(rb"\x8c(?=(.))", re.DOTALL), re.compile(rb"X(?=(.{4}))", re.DOTALL)  # strings of a pickle
_WORDS_PICTURE = re.compile(rb'<img alt="words"[^>]*>')
_KEY = 8  # bytes by which a string is looked up
_CHUNK = 2**22

Span = tuple[int, int]


class Inside:
    """Find byte strings of 8 bytes and more inside longer ones, at a cost that hardly grows with their number."""

    def __init__(self, strings: Iterable[bytes]) -> None:
        self._by_key: defaultdict[int, list[bytes]] = defaultdict(list)
        for string in strings:
            if len(string) >= _KEY:
                self._by_key[int.from_bytes(string[:_KEY], "little")].append(string)
        self._keys = np.fromiter(sorted(self._by_key), np.uint64, len(self._by_key))

    def find(self, content: bytes) -> Iterator[Span]:
        """Yield where one begins and ends."""
        for start in range(0, len(content) if len(self._keys) else 0, _CHUNK):
            part = content[start : start + _CHUNK + _KEY - 1]
            for shift in range(min(_KEY, max(0, len(part) - _KEY + 1))):
                keys = np.frombuffer(part, "<u8", (len(part) - shift) // _KEY, shift)
                for place in np.flatnonzero(np.isin(keys, self._keys)):
                    at = start + shift + _KEY * int(place)
                    for string in self._by_key[int(keys[place])]:
                        if content.startswith(string, at):
                            yield at, at + len(string)


@dataclass(frozen=True)
class Wanted:
    """Hold forgotten messages, and words that no message but they held, as files spell them.

    `html` spells a text as our pages do. Messages count wherever a whole value is one, and from 24 bytes on inside
    others too; `words` only where monitoring names words.
    """

    texts: frozenset[str]
    words: frozenset[str] = frozenset()
    html: Callable[[str], str] = str
    values: frozenset[str] = field(init=False)
    _forms: frozenset[bytes] = field(init=False)
    _word_forms: frozenset[bytes] = field(init=False)
    _inside: Inside = field(init=False)

    def __post_init__(self) -> None:
        values = {value for text in self.texts for value in (text, clean(text), _whole(text)) if value.strip()}
        forms = {form for value in values for form in self._spelt(value)}
        settle = object.__setattr__
        settle(self, "values", frozenset(values))
        settle(self, "_forms", frozenset(forms))
        settle(self, "_word_forms", frozenset(form for word in self.words for form in self._spelt(word)))
        settle(self, "_inside", Inside(form for form in forms if len(form) >= LEAST))

    def found(self, content: bytes) -> bool:
        """Tell whether bytes of any kind, a pickle too, hold one of the messages or, in a pickle, of the words."""
        return any(True for _ in self._pickled(content)) or any(True for _ in self._spans(content, named=False))

    def redacted(self, content: bytes, *, named: bool) -> tuple[bytes, bool]:
        """Return a text file of the same length without the messages, and whether words were blanked, too.

        `named` says that the file names words. What was there reads "(forgotten)", or the beginning of that.
        """
        spans = list(self._spans(content, named=False))
        words = list(self._spans(content, named=True)) if named and self._word_forms else []
        if not spans and not words:
            return content, False
        if words:
            spans += [*words, *(match.span() for match in _WORDS_PICTURE.finditer(content))]
        blank = bytearray(content)
        for start, end in spans:
            picture = content.startswith(b"<img", start)
            blank[start:end] = (b"" if picture else FILLER).ljust(end - start)[: end - start]
        return bytes(blank), bool(words)

    def _spelt(self, value: str) -> Iterator[bytes]:
        """Yield a value as JSON, HTML, CSV and plain text spell it."""
        for spelt in (
            value,
            json.dumps(value)[1:-1],
            json.dumps(value, ensure_ascii=False)[1:-1],
            self.html(value),
            value.replace('"', '""'),
        ):
            yield spelt.encode("utf-8", "surrogatepass")

    def _spans(self, content: bytes, *, named: bool) -> Iterator[Span]:
        """Yield where whole values are messages, or words, and where messages stand inside others."""
        forms = self._word_forms if named else self._forms
        vocabulary = b'"merges"' in content  # a tokenizer's: its entries are no messages
        for pattern in (_CELL, _FIELD) if vocabulary else (_QUOTED, _CELL, _FIELD):
            for match in pattern.finditer(content):
                value = match[1]
                if value in forms or (named and b", " in value and not forms.isdisjoint(value.split(b", "))):
                    yield match.span(1)
        if not named:
            yield from self._inside.find(content)

    def _pickled(self, content: bytes) -> Iterator[Span]:
        """Yield where a pickle holds a string that is a message or a word."""
        forms = self._forms | self._word_forms
        lengths = {len(form) for form in forms}
        for pattern, size in ((_SHORT, 1), (_LONG, 4)):
            for match in pattern.finditer(content):
                length, start = int.from_bytes(match[1], "little"), match.end() + size
                if length in lengths and content[start : start + length] in forms:
                    yield start, start + length


def _whole(text: str) -> str:
    """Return a text as a file of UTF-8 holds it: halves of characters are replaced."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
