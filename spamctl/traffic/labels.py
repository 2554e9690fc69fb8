"""Simulate labels: from a verdict with a given quality, or from the truth with noise and gaps.

Every draw follows from a row's uuid, the seed and what is drawn for, and from nothing else. So a labelling that was
cut short and begun again gives what it would have given, and so do two that run at once; one seed with a higher
quality, or a wider coverage, keeps every label that was right, or revealed, before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from spamctl.progress import ProgressGenerator, ProgressUpdate
from spamctl.schema.message import NOT_SPAM, ORACLE, SIMULATED, SPAM, Label
from spamctl.store import labels, queries, truth
from spamctl.store.database import Store
from spamctl.store.queries import Window

_LOTS = 2**64
_UNIT = "rows"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Imitation:
    """Simulation of labels from verdicts: `quality` is the probability that they are equal."""

    quality: float
    seed: int

    def label(self, uuid: str, verdict: Label) -> Label:
        """Return the label of a row."""
        return verdict if happens(self.quality, "quality", uuid, self.seed) else other(verdict)


@dataclass(frozen=True, slots=True)
class Revelation:
    """Simulation of labels from truth: `coverage` is the probability of a label, `noise` that of a wrong one."""

    noise: float
    coverage: float
    seed: int

    def label(self, uuid: str, true_label: Label) -> Label | None:
        """Return the label of a row, or None where its truth stays hidden."""
        if not happens(self.coverage, "coverage", uuid, self.seed):
            return None
        return other(true_label) if happens(self.noise, "noise", uuid, self.seed) else true_label


def happens(probability: float, what: str, uuid: str, seed: int) -> bool:
    """Draw whether something happens to a row; the probability is met to within 2**-64."""
    digest = hashlib.blake2b(f"{what}\0{seed}\0{uuid}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) < probability * _LOTS


def other(label: Label) -> Label:
    """Return the label that this one is not."""
    return NOT_SPAM if label == SPAM else SPAM


def label_by_verdict(store: Store, window: Window, rule: Imitation, most: int) -> ProgressGenerator[int]:
    """Label the window's rows that have no label from their verdicts, at most `most`; return how many were labelled."""
    done = written = 0
    for page in _capped(queries.unlabelled(store, window), most):
        drawn = {uuid: rule.label(uuid, verdict) for uuid, verdict in page}
        written += labels.set_labels(store, drawn, SIMULATED)
        done += len(page)
        yield ProgressUpdate("labelling", done, most, _UNIT)
    return written


def label_by_truth(
    store: Store, window: Window, rule: Revelation, most: int, *, overwrite: bool
) -> ProgressGenerator[int]:
    """Label the window's rows whose truth was kept, at most `most`; return how many were labelled.

    Those without a label are labelled, and with `overwrite` also those whose label is another, or from elsewhere.
    """
    written = 0
    for page in truth.revealable(store, window, ORACLE, labelled_too=overwrite):
        drawn = ((uuid, rule.label(uuid, true_label)) for uuid, true_label in page)
        revealed = {uuid: label for uuid, label in drawn if label is not None}
        written += labels.set_labels(store, _first(revealed, most - written), ORACLE, overwrite=overwrite)
        yield ProgressUpdate("labelling", min(written, most), most, _UNIT)
        if written >= most:
            break
    return written


def _capped(pages: Iterable[list[T]], most: int) -> Iterator[list[T]]:
    """Yield pages until they hold `most` items."""
    left = most
    for page in pages:
        if left < 1:
            return
        yield page[:left]
        left -= len(page)


def _first(given: Mapping[str, Label], most: int) -> dict[str, Label]:
    """Return the first labels, at most `most`."""
    return dict(list(given.items())[:most])
