"""Represent messages for monitoring: by statistics of their texts, and as samples of reference and stored rows."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spamctl.data.cleaning import twin_key
from spamctl.errors import DataError
from spamctl.registry.versions import ReferenceRow
from spamctl.schema.message import SIMULATED, SPAM
from spamctl.store.sampling import WindowRow

# Represent messages for monitoring, and build samples of reference rows and stored rows.

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


# Build samples of reference rows and stored rows, and pass them between steps as plain values.


@dataclass(frozen=True, slots=True)
class PackedSample:
    """A sample of N rows as lists of plain values, and its features (N, `width`) as bytes of little-endian floats.

    Its texts stay where they are kept, in the store or in the test part: what passes from step to step is kept, too.
    """

    uuids: list[str]
    probabilities: list[float]
    called_spam: list[bool]
    truth: list[str]
    label_sources: list[str]
    versions: list[str]
    sources: list[str]
    families: list[str]
    features: bytes
    width: int


def reference_sample(
    rows: Sequence[ReferenceRow], threshold: float, version: str, features: NDArray[np.float32]
) -> Sample:
    """Return the test part of a version as a sample; its verdicts are made with the threshold that is served.

    All of it is judged, also the few messages that are out of reach, which a server may deliver.
    """
    probabilities = np.array([row.probability for row in rows], np.float64)
    return Sample(
        texts=[row.text for row in rows],
        probabilities=probabilities,
        called_spam=probabilities >= threshold,
        truth=[row.label for row in rows],
        label_sources=["test part"] * len(rows),
        versions=[version] * len(rows),
        sources=["test part"] * len(rows),
        families=[""] * len(rows),
        features=features,
    )


def current_sample(rows: Sequence[WindowRow], families: Mapping[str, str], features: NDArray[np.float32]) -> Sample:
    """Return stored rows as a sample, with their verdicts as they were served."""
    return Sample(
        texts=[row.text for row in rows],
        probabilities=np.array([row.probability for row in rows], np.float64),
        called_spam=np.array([row.classification == SPAM for row in rows], np.bool_),
        truth=[row.ground_truth or "" for row in rows],
        label_sources=[row.label_source or "" for row in rows],
        versions=[row.model_version for row in rows],
        sources=[row.source for row in rows],
        families=[families.get(row.uuid, "") for row in rows],
        features=features,
    )


def pack_sample(sample: Sample, uuids: Sequence[str] = ()) -> PackedSample:
    """Return a sample without its texts, as plain values that may pass from step to step."""
    return PackedSample(
        uuids=list(uuids),
        probabilities=sample.probabilities.tolist(),
        called_spam=sample.called_spam.tolist(),
        truth=list(sample.truth),
        label_sources=list(sample.label_sources),
        versions=list(sample.versions),
        sources=list(sample.sources),
        families=list(sample.families),
        features=sample.features.astype("<f4").tobytes(),
        width=sample.features.shape[1],
    )


def unpack_sample(packed: PackedSample, texts: Sequence[str | None]) -> Sample:
    """Return the sample that was packed, with its texts; a row whose text was removed meanwhile (None) is left out."""
    return Sample(
        texts=[text or "" for text in texts],
        probabilities=np.array(packed.probabilities, np.float64),
        called_spam=np.array(packed.called_spam, np.bool_),
        truth=packed.truth,
        label_sources=packed.label_sources,
        versions=packed.versions,
        sources=packed.sources,
        families=packed.families,
        features=np.frombuffer(packed.features, "<f4").reshape(len(packed.probabilities), packed.width),
    ).take([row for row, text in enumerate(texts) if text is not None])


# Describe texts by simple statistics: length, words, digits, links, capitals, odd Unicode.

_LINK = re.compile(
    r"(?:https?://|www\.)\S*|\b[a-z0-9-]{2,63}\.(?:com|net|org|info|biz|tv|mobi|io|ly|co|uk|me|app)\b\S*", re.IGNORECASE
)
_INVISIBLE = frozenset({"Cc", "Cf", "Cn", "Co", "Cs"})
_SPACE = frozenset("\t\n\r")


def describe(texts: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Return each of DESCRIPTORS over N texts, as columns (N,); whatever a text holds, the numbers are finite.

    `length` counts characters, `words` and `links` count, `word_length` is a mean. The others are shares: `capitals` of
    the letters, the rest of the characters.
    """
    return {
        name: np.fromiter(map(measure, texts), dtype=np.float64, count=len(texts))
        for name, measure in DESCRIPTORS.items()
    }


def odd_characters(text: str) -> int:
    """Count unusual characters: invisible ones, and letters that imitate others.

    A letter poses if compatibility makes another of it (full width, mathematical), or if it is in a word of letters of
    different scripts. A text in another script alone is not odd.
    """
    if text.isascii():
        return sum(char < " " and char not in _SPACE for char in text)
    hidden = sum(unicodedata.category(char) in _INVISIBLE and char not in _SPACE for char in text)
    return hidden + sum(map(_posing, re.findall(r"[^\W\d_]+", text)))


def _posing(word: str) -> int:
    """Count the letters of a word in another script than its most frequent one, or in a styled form."""
    if word.isascii():
        return 0
    scripts = [script(char) for char in word]
    main = max(sorted(set(scripts)), key=scripts.count)
    return sum(one != main or _dressed(char) for char, one in zip(word, scripts, strict=True))


@lru_cache(maxsize=4096)
def script(char: str) -> str:
    """Return the script of a letter, such as Latin, by the first word of its Unicode name."""
    return unicodedata.name(char, "Unknown").partition(" ")[0].title()


@lru_cache(maxsize=4096)
def _dressed(char: str) -> bool:
    plain = unicodedata.normalize("NFKC", char)
    return plain != unicodedata.normalize("NFC", char) and plain.isascii()


def _share(counted: Callable[[str], bool], among: Callable[[str], bool] = lambda _: True) -> Callable[[str], float]:
    def measure(text: str) -> float:
        looked_at = [char for char in text if among(char)]
        return sum(map(counted, looked_at)) / len(looked_at) if looked_at else 0.0

    return measure


def _word_length(text: str) -> float:
    words = text.split()
    return sum(map(len, words)) / len(words) if words else 0.0


DESCRIPTORS: Final[Mapping[str, Callable[[str], float]]] = MappingProxyType(
    {
        "length": lambda text: float(len(text)),
        "words": lambda text: float(len(text.split())),
        "digits": _share(str.isdigit),
        "links": lambda text: float(len(_LINK.findall(text))),
        "currency": _share(lambda char: unicodedata.category(char) == "Sc"),
        "capitals": _share(str.isupper, str.isalpha),
        "non_letters": _share(lambda char: not char.isalpha() and not char.isspace()),
        "odd_unicode": lambda text: odd_characters(text) / max(1, len(text)),
        "word_length": _word_length,
    }
)
