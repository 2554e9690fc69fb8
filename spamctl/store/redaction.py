"""Find forgotten messages in the bytes of a file, in any encoding, and overwrite them."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from spamctl.data.cleaning import clean

FILLER = b"(forgotten)"
LEAST = 24  # bytes from which on a message is recognised inside a longer string too; "ok" is part of everything
_LEAST_LOOSE = 12  # bytes from which on a value of somebody else's file is taken for a message

_TEXT = re.compile(rb'<span class="text" dir="auto">([^<]+)<')  # how our pages show what is hostile, and nothing else
_WORDS_PICTURE = re.compile(rb'<img alt="words"[^>]*>')
# Looking ahead, each of these also begins in the middle of what another has found: quotes may be out of step.
_QUOTED = re.compile(rb'"(?=([^"\\]*+(?:\\.[^"\\]*+)*+)")', re.DOTALL)
_FIELD = re.compile(rb"(?:^|[\t\r\n,;])(?=([^\t\r\n,;\"]+))")
_SHORT, _LONG = re.compile(rb"\x8c(?=(.))", re.DOTALL), re.compile(rb"X(?=(.{4}))", re.DOTALL)  # strings of a pickle
_KEY = 8  # bytes by which a string is looked up
_CHUNK = 2**22

Span = tuple[int, int]


class Inside:
    """Search for byte strings of 8 bytes and more inside longer ones, at a cost nearly independent of their number."""

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
    """Forgotten messages, and words that occur in no other message, as files spell them.

    `html` spells a text as our pages do. A message counts as a whole value where messages stand, and from 24 bytes on
    inside anything; `words` count where monitoring names words, and nowhere else.
    """

    texts: frozenset[str]
    words: frozenset[str] = frozenset()
    html: Callable[[str], str] = html.escape
    values: frozenset[str] = field(init=False)
    _forms: frozenset[bytes] = field(init=False)
    _word_forms: frozenset[bytes] = field(init=False)
    _inside: Inside = field(init=False)

    def __post_init__(self) -> None:
        values = {value for text in self.texts for value in (text, clean(text), _whole(text)) if value.strip()}
        forms = {form for value in values for form in self._spelt(value)}
        words = {form for word in self.words for form in self._spelt(word)}
        object.__setattr__(self, "values", frozenset(values))
        object.__setattr__(self, "_forms", frozenset(forms))
        object.__setattr__(self, "_word_forms", frozenset(words))
        object.__setattr__(self, "_inside", Inside(form for form in forms if len(form) >= LEAST))

    def in_value(self, content: bytes, *, named: bool) -> bool:
        """Return whether a pickled value, which may be a page, contains a message, or a word if it names words."""
        kinds = (self._pickled(content, named=named), self._spans(content, named=named))
        return any(True for kind in kinds for _ in kind)

    def in_foreign(self, content: bytes) -> bool:
        """Return whether a third-party file contains a message: as a value, or from 24 bytes on inside another."""
        loose = (match[1] for pattern in (_QUOTED, _FIELD) for match in pattern.finditer(content))
        return any(len(value) >= _LEAST_LOOSE and value in self._forms for value in loose) or any(
            True for _ in self._inside.find(content)
        )

    def redacted(self, content: bytes, *, named: bool) -> tuple[bytes, bool]:
        """Return a text of the same length without the messages, and whether words were blanked, too.

        `named` says that it names words. What was there reads "(forgotten)", or the beginning of that.
        """
        blank, words = bytearray(content), False
        for start, end in self._spans(content, named=named):
            words |= named and content[start:end] not in self._forms
            blank[start:end] = FILLER.ljust(end - start)[: end - start]
        for match in _WORDS_PICTURE.finditer(content) if words else ():
            blank[match.start() : match.end()] = b" " * (match.end() - match.start())
        return bytes(blank), words

    def without_rows(self, content: bytes) -> bytes:
        """Return a test part without the rows that say one; raise ValueError, TypeError or KeyError if it is none."""
        rows = json.loads(content)
        kept = [row for row in rows if row["text"] not in self.values]
        return content if len(kept) == len(rows) else json.dumps(kept, indent=1).encode()

    def without_causes(self, content: bytes, uuids: frozenset[str]) -> bytes:
        """Return the finding of a monitoring without the words, and the examples of the rows; raise as above."""
        finding = json.loads(content)
        causes = dict(finding["causes"])
        for side, found in causes.items():
            if side == "examples":
                causes[side] = {
                    name: [each for each in rows if not self._names(each, uuids)] for name, rows in found.items()
                }
            elif side != "carriers":
                told = ({**each, "beside": self._other_words(each.get("beside", ()))} for each in found)
                causes[side] = [each for each in told if each["term"] not in self.words]
        same = causes == finding["causes"]
        return content if same else json.dumps({**finding, "causes": causes}, indent=1, allow_nan=False).encode()

    def without_words(self, content: bytes) -> bytes:
        """Return a table of words that moved without the rows that name one."""
        shown = {html.unescape(self.html(word)) for word in self.words}
        rows = list(csv.reader(io.StringIO(content.decode("utf-8", "replace"), newline="")))
        kept = [
            row
            for row in rows
            if not any({cell, cell.removeprefix("'"), *cell.split(", ")} & shown for cell in row[1:])
        ]
        if len(kept) == len(rows):
            return content
        paper = io.StringIO()
        csv.writer(paper, lineterminator="\n").writerows(kept)
        return paper.getvalue().encode()

    def _names(self, example: Mapping[str, object], uuids: frozenset[str]) -> bool:
        return example.get("uuid") in uuids or example.get("text") in self.values

    def _other_words(self, words: Iterable[str]) -> list[str]:
        return [word for word in words if word not in self.words]

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
        """Yield where our pages show messages, or words, and where messages stand inside anything."""
        words = self._word_forms if named else frozenset()
        for match in _TEXT.finditer(content):
            if match[1] in self._forms or not words.isdisjoint({match[1], *match[1].split(b", ")}):
                yield match.span(1)
        yield from self._inside.find(content)

    def _pickled(self, content: bytes, *, named: bool) -> Iterator[Span]:
        """Yield where a pickle holds a string that is a message or a word."""
        forms = self._forms | self._word_forms if named else self._forms
        lengths = {len(form) for form in forms}
        for pattern, size in ((_SHORT, 1), (_LONG, 4)):
            for match in pattern.finditer(content):
                length, start = int.from_bytes(match[1], "little"), match.end() + size
                if length in lengths and content[start : start + length] in forms:
                    yield start, start + length


def _whole(text: str) -> str:
    """Return a text as a file of UTF-8 holds it: halves of characters are replaced."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
