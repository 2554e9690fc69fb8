"""Assign the labels of a file to rows, and report where the two disagree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from spamctl.message import Label
from spamctl.model.tick import Tick, Ticking
from spamctl.schema.label import FILE, Conflict
from spamctl.store import labels, queries
from spamctl.store.database import Store
from spamctl.store.queries import Standing, Window

_MOST_NAMED = 5
_TASK, _UNIT = "labelling", "rows"


@dataclass(slots=True)
class Assignment:
    """Counts of the labels of a file by outcome, and the first conflicts."""

    most: int
    overwrite: bool
    labelled: int = 0  # rows that had no label
    replaced: int = 0  # rows that had another, or the same from elsewhere
    standing: int = 0  # rows that have this very label already
    conflicts: int = 0  # rows that have another, and keep it
    unknown: int = 0  # labels for rows that are not in the store, or not in the window
    first_conflicts: list[Conflict] = field(default_factory=list)
    first_unknown: list[str] = field(default_factory=list)

    @property
    def written(self) -> int:
        """Count the rows that were written."""
        return self.labelled + self.replaced

    def give(self, store: Store, pairs: Iterable[tuple[Standing, Label]]) -> None:
        """Label the rows of one chunk, those that have no label first."""
        new: dict[str, Label] = {}
        other: dict[str, Label] = {}
        for row, label in pairs:
            if row.ground_truth is None:
                new[row.uuid] = label
            elif self.overwrite and (row.ground_truth, row.label_source) != (label, FILE):
                other[row.uuid] = label
            elif row.ground_truth == label:
                self.standing += 1
            else:
                self._note(Conflict(row.uuid, row.ground_truth, str(row.label_source), label))
        self.labelled += labels.set_labels(store, self._allowed(new), FILE)
        self.replaced += labels.set_labels(store, self._allowed(other), FILE, overwrite=True)

    def miss(self, unknown: Sequence[str]) -> None:
        """Count labels that match no row of the window, each by its name in the file."""
        self.unknown += len(unknown)
        self.first_unknown += unknown[: _MOST_NAMED - len(self.first_unknown)]

    def _note(self, conflict: Conflict) -> None:
        self.conflicts += 1
        if len(self.first_conflicts) < _MOST_NAMED:
            self.first_conflicts.append(conflict)

    def _allowed(self, given: dict[str, Label]) -> dict[str, Label]:
        return dict(list(given.items())[: max(0, self.most - self.written)])


def by_uuid(
    store: Store, window: Window, chunks: Iterable[dict[str, Label]], assignment: Assignment, total: int
) -> Ticking[Assignment]:
    """Label the rows of a window whose uuids a file names, in chunks of at most a few thousand; `total` in the file."""
    done = 0
    for chunk in chunks:
        rows = queries.standing(store, list(chunk), window)
        assignment.miss(list(chunk.keys() - {row.uuid for row in rows}) if len(rows) < len(chunk) else [])
        assignment.give(store, [(row, chunk[row.uuid]) for row in rows])
        done += len(chunk)
        yield Tick(_TASK, done, total, _UNIT)
    return assignment


def by_text(
    store: Store, window: Window, labels_of: Callable[[Sequence[str]], list[Label | None]], assignment: Assignment
) -> Ticking[Assignment]:
    """Label every row of a window whose text a file names; the store is read once, in pages."""
    done, total = 0, queries.count(store, window)
    for page in queries.standing_texts(store, window):
        found = zip(page, labels_of([text for _, text in page]), strict=True)
        assignment.give(store, [(row, label) for (row, _), label in found if label is not None])
        done += len(page)
        yield Tick(_TASK, min(done, total), total, _UNIT)
    return assignment
