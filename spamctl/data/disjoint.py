"""Join names that belong together, step by step, into sets that share no name (union-find)."""

from __future__ import annotations

from collections.abc import Iterable


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
