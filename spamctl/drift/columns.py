"""Build samples of reference rows and stored rows, and pass them between steps as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spamctl.drift.sample import Sample
from spamctl.message import SPAM
from spamctl.model.reference import ReferenceRow
from spamctl.store.window import WindowRow


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


def pack(sample: Sample, uuids: Sequence[str] = ()) -> PackedSample:
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


def unpack(packed: PackedSample, texts: Sequence[str | None]) -> Sample:
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
