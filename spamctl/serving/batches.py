"""Split traffic into batches, and join what was known of each message with its answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from spamctl.message import Label
from spamctl.schema.prediction import Prediction
from spamctl.schema.traffic import Staged
from spamctl.serving.client import Batch
from spamctl.serving.tally import Known
from spamctl.store.truth import TrueRow

REPLAY = "replay"
NO_DRIFT = "none"


def replayed(rows: Iterable[tuple[str, Label | None]]) -> list[Staged]:
    """Return a user's own messages as samples."""
    return [Staged(text, label, REPLAY, REPLAY, NO_DRIFT, 0.0) for text, label in rows]


def batches(samples: Sequence[Staged], size: int, traffic_run: str) -> Iterator[Batch]:
    """Yield the samples in batches of `size`, the last one shorter; a run gives the same batches the same ids again."""
    for number, first in enumerate(range(0, len(samples), size)):
        texts = tuple(sample.text for sample in samples[first : first + size])
        yield Batch(f"traffic-{traffic_run}-{number}", texts)


def known(samples: Iterable[Staged]) -> list[Known]:
    """Return what is known of each sample, grouped by where its text is from and by what it was subject to."""
    return [Known(sample.label, _group(sample)) for sample in samples]


def true_rows(
    samples: Sequence[Staged], answered: Iterable[tuple[int, Prediction]], seed: int, traffic_run: str
) -> list[TrueRow]:
    """Return the truth of answered samples, by the uuid of the answer; a sample without a label has none."""
    rows = []
    for place, answer in answered:
        sample = samples[place]
        if sample.label is not None:
            told = (sample.label, sample.origin, sample.family, sample.drift_type, sample.dose)
            rows.append(TrueRow(answer.uuid, *told, seed, traffic_run))
    return rows


def _group(sample: Staged) -> str:
    return sample.origin if sample.drift_type == NO_DRIFT else f"{sample.origin}, {sample.drift_type}"
