"""Represent messages for monitoring: text, verdict, probability, and the label where it is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spamctl.data.duplicates import twin_key
from spamctl.errors import DataError
from spamctl.schema.label import SIMULATED

# N rows, D features

COLUMNS = (
    "texts",
    "probabilities",
    "called_spam",
    "truth",
    "label_sources",
    "versions",
    "sources",
    "families",
    "features",
)


@dataclass(frozen=True, slots=True)
class Sample:
    """N messages; unknown words are empty.

    `probabilities` are of spam, from the version that answered, and `called_spam` is the verdict as it was served.
    `truth` is `spam`, `not spam` or empty. `features` (N, D) are the model's own, (N, 0) where they were not computed.
    """

    texts: Sequence[str]
    probabilities: NDArray[np.float64]
    called_spam: NDArray[np.bool_]
    truth: Sequence[str]
    label_sources: Sequence[str]
    versions: Sequence[str]
    sources: Sequence[str]
    families: Sequence[str]
    features: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Refuse columns of different lengths, and invalid probabilities."""
        sizes = {name: len(getattr(self, name)) for name in COLUMNS}
        if len(set(sizes.values())) > 1 or self.features.ndim != 2:  # noqa: PLR2004 rows and features
            raise DataError(f"monitoring: the columns of a sample have different lengths: {sizes}")
        if not ((self.probabilities >= 0) & (self.probabilities <= 1)).all():
            raise DataError("monitoring: a probability is not within 0 to 1; look at the column `probability`")
        if not np.isfinite(self.features).all():
            raise DataError("monitoring: a feature of the model is not finite; train again")

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Return which rows (N,) have a label, from whatever source."""
        return np.array([bool(label) for label in self.truth], dtype=bool)

    @property
    def trusted(self) -> NDArray[np.bool_]:
        """Return which rows (N,) have a label that was not simulated from the verdict."""
        invented = np.array([source == SIMULATED for source in self.label_sources], dtype=bool)
        return np.asarray(self.labelled & ~invented)

    @property
    def is_spam(self) -> NDArray[np.bool_]:
        """Return which rows (N,) are labelled spam."""
        return np.array([label == "spam" for label in self.truth], dtype=bool)

    def take(self, index: ArrayLike) -> Sample:
        """Return the rows that an index, or a mask (N,), names."""
        wanted = np.asarray(index)
        rows = np.flatnonzero(wanted) if wanted.dtype == bool else wanted.astype(np.intp)
        words = (self.texts, self.truth, self.label_sources, self.versions, self.sources, self.families)
        texts, truth, label_sources, versions, sources, families = ([column[row] for row in rows] for column in words)
        return Sample(
            texts=texts,
            probabilities=self.probabilities[rows],
            called_spam=self.called_spam[rows],
            truth=truth,
            label_sources=label_sources,
            versions=versions,
            sources=sources,
            families=families,
            features=self.features[rows],
        )

    def distinct(self) -> Sample:
        """Drop near duplicates, keeping the first row, by the same rule as the split of the data."""
        first: dict[str, int] = {}
        for row, text in enumerate(self.texts):
            first.setdefault(twin_key(text), row)
        return self.take(np.fromiter(first.values(), dtype=np.intp, count=len(first)))
