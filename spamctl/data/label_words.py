"""Interpret the words of a label column, and count how many of the rejected rows meant spam."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from spamctl.data.rows import Row, label_word, shown
from spamctl.errors import DataError
from spamctl.message import NOT_SPAM, SPAM, Label

NOT_SPAM_WORDS = frozenset({"not spam", "not-spam", "not_spam", "notspam", "ham", "legit", "0", "false", "no"})
_MOST_NAMED = 5
_MOST_LEFT_OUT = 0.05  # of a label; what is left would be another mixture than the file's


def spam_words(spam_label: str) -> frozenset[str]:
    """Return the words that mean spam, which commas separate; a word may hold a comma itself."""
    words = [label_word(word) for word in (spam_label, *spam_label.split(","))]
    return frozenset(word.casefold() for word in words if word)


def named(fault: str, places: Sequence[int | str]) -> str:
    """Describe how many rows have a fault, and which come first."""
    first = ", ".join(map(str, places[:_MOST_NAMED])) + (", …" if len(places) > _MOST_NAMED else "")
    return f"{len(places):,} {'row' if len(places) == 1 else 'rows'} with {fault} ({first})"


def listed(words: Sequence[str]) -> str:
    """Quote the first of some words for a terminal."""
    return ", ".join(map(shown, words[:_MOST_NAMED])) + (", …" if len(words) > _MOST_NAMED else "")


@dataclass(slots=True)
class LeftOut:
    """Places of unusable rows by their fault, and their labels."""

    faults: dict[str, list[int | str]] = field(default_factory=dict)
    words: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row, fault: str) -> None:
        """Set a row aside."""
        self.faults.setdefault(fault, []).append(row.place)
        self.words[(row.label or "").casefold()] += 1

    @property
    def _named(self) -> list[str]:
        return [named(fault, places) for fault, places in self.faults.items()]

    def refuse(self, where: str, usable: int) -> None:
        """Raise DataError if any row is set aside; to leave all of them out would help nobody."""
        if self.faults:
            advice = ", or leave them out with --bad-rows skip" if usable else ""
            raise DataError(f"{where}: {'; '.join(self._named)}: mend these rows{advice}")

    def settle(self, where: str, kept: Counter[Label], meaning: Callable[[str], Label | None]) -> list[str]:
        """Describe what was left out, and how much of each label; raise DataError where that is too much of one.

        `meaning` tells what a word means, None if that is not known.
        """
        lost: Counter[Label] = Counter()
        for word, count in self.words.items():
            if label := meaning(word):
                lost[label] += count
        labels: tuple[Label, ...] = (SPAM, NOT_SPAM)
        shares = {label: _share(label, lost, kept) for label in labels if lost[label]}
        too_many = [
            share for label, share in shares.items() if lost[label] > _MOST_LEFT_OUT * (lost[label] + kept[label])
        ]
        if too_many:
            raise DataError(
                f"{where}: {'; '.join(self._named)}: --bad-rows skip would leave out {' and '.join(too_many)}, more "
                f"than {_MOST_LEFT_OUT:.0%} of a label, and what is left would be another mixture: mend these rows"
            )
        told = [f"left out: {fault}" for fault in self._named]
        return told + ([f"left out by label: {', '.join(shares.values())}"] if shares else [])


def _share(label: Label, lost: Counter[Label], kept: Counter[Label]) -> str:
    """Describe what share of a label is left out."""
    every = lost[label] + kept[label]
    return f"{lost[label]:,} of {every:,} rows that are {label} ({lost[label] / every:.1%})"
