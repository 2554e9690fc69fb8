"""Split traffic into batches, and join what was known of each message with its answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from spamctl.message import Label
from spamctl.serving.answers import Answer
from spamctl.serving.client import Batch
from spamctl.serving.tally import Known
from spamctl.store.truth import TrueRow

# A message as it passes from step to step: {"text", "label" (None: unknown), "origin", "family", "drift_type", "dose"}.
Sample = Mapping[str, Any]

REPLAY = "replay"
NO_DRIFT = "none"


def replayed(rows: Iterable[tuple[str, Label | None]]) -> list[dict[str, Any]]:
    """Return a user's own messages as samples."""
    same = {"origin": REPLAY, "family": REPLAY, "drift_type": NO_DRIFT, "dose": 0.0}
    return [{"text": text, "label": label} | same for text, label in rows]


def batches(samples: Sequence[Sample], size: int, traffic_run: str) -> Iterator[Batch]:
    """Yield the samples in batches of `size`, the last one shorter; a run gives the same batches the same ids again."""
    for number, first in enumerate(range(0, len(samples), size)):
        texts = tuple(sample["text"] for sample in samples[first : first + size])
        yield Batch(f"traffic-{traffic_run}-{number}", texts)


def known(samples: Iterable[Sample]) -> list[Known]:
    """Return what is known of each sample, grouped by where its text is from and by what it was subject to."""
    return [Known(sample["label"], _group(sample)) for sample in samples]


def true_rows(
    samples: Sequence[Sample], answered: Iterable[tuple[int, Answer]], seed: int, traffic_run: str
) -> list[TrueRow]:
    """Return the truth of answered samples, by the uuid of the answer; a sample without a label has none."""
    return [
        TrueRow(
            uuid=answer.uuid,
            seed=seed,
            traffic_run=traffic_run,
            **{name: value for name, value in samples[place].items() if name != "text"},
        )
        for place, answer in answered
        if samples[place]["label"] is not None
    ]


def _group(sample: Sample) -> str:
    origin, drift_type = sample["origin"], sample["drift_type"]
    return str(origin) if drift_type == NO_DRIFT else f"{origin}, {drift_type}"
