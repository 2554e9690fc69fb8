"""Draw the loss in a `blank` Metaflow card while training goes on, without slowing it."""

from __future__ import annotations

import importlib
import math
import time
from typing import Any

_MOST_POINTS = 600  # more than a chart is wide; beyond it every second training point is dropped


class LossCard:
    """Live chart of training and validation loss on `current.card["loss"]`, of `@card(type="blank", id="loss")`.

    Metaflow renders in a process of its own, which takes most of a second: `seconds` parts two drawings.
    """

    def __init__(self, card: Any, *, steps: int, seconds: float = 10.0) -> None:
        parts: Any = importlib.import_module("metaflow.cards")  # which exports nothing by name, for a type checker
        self._card, self._seconds = card, max(seconds, 2.0)
        self._training: list[dict[str, float | str]] = []
        self._validation: list[dict[str, float | str]] = []
        self._every, self._step = 1, 0
        self._told = time.monotonic()
        self._bar = parts.ProgressBar(max=steps, label="optimiser steps", value=0, unit="steps")
        self._chart = parts.VegaChart(_chart([]))
        card.extend([parts.Markdown("# Fine-tuning"), self._bar, self._chart])

    def add(self, step: int, loss: float = math.nan, validation_loss: float | None = None) -> None:
        """Take one measurement, and draw if the last drawing is long enough ago."""
        self._step = max(self._step, step)  # earlier ones are told again when a training goes on
        if step % self._every == 0 and not math.isnan(loss):
            self._training.append({"step": step, "loss": loss, "part": "training"})
        if validation_loss is not None:
            self._validation.append({"step": step, "loss": validation_loss, "part": "validation"})
        if len(self._training) > _MOST_POINTS:
            self._training, self._every = self._training[1::2], 2 * self._every
        if time.monotonic() - self._told >= self._seconds:
            self.draw()

    def watch(self, tick: Any) -> None:
        """Take a tick of `model.tuning.tune`; those before training have nothing to draw."""
        if progress := getattr(tick, "progress", None):
            self.add(progress.step, progress.loss, progress.validation_loss)

    def draw(self) -> None:
        """Draw now; call it once more when training ends."""
        self._bar.update(self._step)
        self._chart.update(_chart(self._training + self._validation))
        self._card.refresh()
        self._told = time.monotonic()


def _chart(points: list[dict[str, float | str]]) -> dict[str, Any]:
    """Return a Vega-Lite chart of (step, loss) by part; its words are our own."""
    colours = {"domain": ["training", "validation"], "range": ["#6e7781", "#0072b2"]}
    return {
        "data": {"values": points},
        "mark": {"type": "line", "point": {"size": 20}},
        "height": 320,
        "encoding": {
            "x": {"field": "step", "type": "quantitative", "title": "optimiser step"},
            "y": {"field": "loss", "type": "quantitative", "title": "cross-entropy loss (nats per message)"},
            "color": {"field": "part", "type": "nominal", "scale": colours, "title": None},
        },
    }
