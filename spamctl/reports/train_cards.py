"""Compose the cards of a training run, and draw the loss while it goes on."""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from spamctl.reports import scores as kinds
from spamctl.reports import train
from spamctl.reports.html import Column, Markup, document, element, pictures, strong, table
from spamctl.reports.scores import MEASURES, UNDEFINED, baseline_wins, comparison, interval, number, winner
from spamctl.reports.train import facts, fallback, verdict
from spamctl.schema.evaluation import GroupScores, Mistake, Slice
from spamctl.schema.rates import Rates
from spamctl.schema.train import BlockScore, LearntAnswers, TrainResult

_KINDS = {"champion": "verdict good", "challenger": "verdict fair", "refused": "verdict bad"}

_SCORE_COLUMNS = (
    Column("test score"),
    Column("this model", "number"),
    Column("95 % interval", "faint"),
    Column("linear baseline", "number"),
    Column("95 % interval", "faint"),
)
_SLICE_COLUMNS = (
    Column("messages"),
    Column("n", "number"),
    Column("spam", "number"),
    Column("recall", "number"),
    Column("95 % interval", "faint"),
    Column("false-positive rate", "number"),
    Column("95 % interval", "faint"),
)
_VIEWS = ("dataset", "medium", "language")
_MISTAKE_COLUMNS = (Column("truth", "faint"), Column("probability of spam", "number"), Column("message", "text"))


def evaluation_page(
    result: TrainResult, *, plots: Mapping[str, bytes], slices: Sequence[Slice], mistakes: Sequence[Mistake]
) -> str:
    """Return the card of a whole run: verdict, scores beside the baseline, pictures, slices, worst errors, facts.

    Takes the train result, PNGs by name, and the slices and mistakes of the evaluation.
    """
    return document(verdict(result)[1], _evaluation(result, plots, slices, mistakes))


def depth_page(plot: bytes, *, scores: Sequence[BlockScore], chosen: int, floor: int, of: int, base_model: str) -> str:
    """Return the card of the choice of depth: the picture, and what every block scored."""
    title = f"{base_model}: {chosen} of {of} blocks are kept"
    rule = "The shallowest block whose log loss is within one standard error of the best, and no lower than the floor"
    rows = [_block_row(each, kept=each.block == chosen) for each in scores]
    heads = ("block", "accuracy", "log loss", "standard error")
    columns = [Column(head, "number") for head in heads]
    return document(
        title,
        [
            element("h1", title),
            element("p", f"{rule}, block {floor}. Cross-validated on training messages only.", "quiet"),
            pictures({"accuracy_by_depth": plot}),
            element("h2", "Each block that could be kept"),
            table(columns, rows),
        ],
    )


def fixed_depth_page(depth: int, blocks: int, *, base_model: str) -> str:
    """Return the card of a depth that was asked for, not chosen."""
    title = f"{base_model}: {depth} of {blocks} blocks are kept"
    return document(title, [element("h1", title), element("p", "Set by --depth; no block was scored.", "quiet")])


def _evaluation(
    result: TrainResult,
    plots: Mapping[str, bytes],
    slices: Sequence[Slice],
    mistakes: Sequence[Mistake],
) -> Iterator[Markup]:
    """Yield the parts of the evaluation card, from top to bottom."""
    outcome, sentence = verdict(result)
    yield element("h1", sentence, _KINDS[outcome])
    if loud := fallback(result):
        yield element("p", loud, "loud")
    if result.scores and result.baseline:
        yield from _scores(result.scores, result.baseline, result.data.test)
    yield from _beside(result)
    yield element("h2", "Pictures")
    yield pictures(plots)
    for title, heads, rows in (
        ("Good messages kept, spam caught", kinds.HEADS, kinds.kind_rows(result.kinds, _VIEWS)),
        (
            "Held-out kinds of message",
            kinds.HEADS,
            kinds.kind_rows(GroupScores(result.held_out_kinds), ("held out", *_VIEWS)),
        ),
        ("Unseen kinds: area under the ROC curve", kinds.UNSEEN_HEADS, kinds.unseen_rows(result.unseen)),
        ("Suites", kinds.SUITE_HEADS, kinds.suite_rows(result.suites)),
        ("Harmless changes", kinds.INVARIANCE_HEADS, kinds.invariance_rows(result.suites)),
    ):
        if listed := list(rows):
            yield element("h2", title)
            yield table([Column(head, "number" if place else "") for place, head in enumerate(heads)], listed)
    yield element("h2", "Kinds of message")
    yield table(_SLICE_COLUMNS, [_slice_row(row) for row in slices])
    yield element("h2", "Worst errors")
    yield from _worst(mistakes)
    yield element("h2", "Facts")
    yield table((Column("fact"), Column("value")), facts(result))


def _scores(scores: Rates, baseline: Rates, rows: int) -> Iterator[Markup]:
    """Yield the scores on the test part, of `rows` messages, beside the baseline's."""
    if baseline_wins(scores, baseline):
        yield element("p", "The linear baseline is more accurate than this model.", "loud")
    yield element("h2", f"Scores on {rows:,} held-out test messages")
    yield table(_SCORE_COLUMNS, _score_rows(scores, baseline))
    yield element("p", f"Bold marks the better score. {comparison(scores, baseline)}", "quiet")


def _beside(result: TrainResult) -> Iterator[Markup]:
    """Yield the new version beside the champion after feedback, and the rows that were set aside."""
    if result.comparison.parts:
        yield element("h2", f"Comparison with the champion, version {result.comparison.champion}")
        rows = [
            [
                *cells[:3],
                strong(cells[3]) if better == "new" else cells[3],
                cells[4],
                strong(cells[5]) if better == "old" else cells[5],
                cells[6],
            ]
            for *cells, better in train.comparison_rows(result.comparison.parts)
        ]
        yield table([Column(name) for name in train.COMPARISON_COLUMNS], rows)
    told = result.feedback
    if isinstance(told, LearntAnswers) and told.set_aside:
        yield element("h2", f"{told.doubtful:,} doubtful labels, excluded")
        listed = [(row.uuid, row.label, row.source, number(row.probability)) for row in told.set_aside]
        yield table([Column(name) for name in ("uuid", "label", "from", "probability of spam when answered")], listed)


def _score_rows(scores: Rates, baseline: Rates) -> Iterator[Sequence[object]]:
    """Yield a row for each measure; the better score is bold."""
    for measure in MEASURES:
        ours, theirs = measure.of(scores), measure.of(baseline)
        better = winner(measure, ours, theirs)
        mine = strong(number(ours.value)) if better == "model" else number(ours.value)
        other = strong(number(theirs.value)) if better == "baseline" else number(theirs.value)
        yield measure.name, mine, interval(ours), other, interval(theirs)


def _block_row(score: BlockScore, *, kept: bool) -> Sequence[object]:
    """Return what one block scored; the chosen one is bold."""
    block = strong(f"{score.block} (chosen)") if kept else score.block
    return [block, number(score.accuracy), number(score.log_loss), number(score.standard_error)]


def _slice_row(row: Slice) -> Sequence[object]:
    """Return one kind of message and what the filter does to it; a rate without messages is undefined."""
    cells = [row.name, f"{row.rows:,}", f"{row.spam:,}"]
    for score in (row.recall, row.false_positive_rate):
        cells += [number(score.value), interval(score)] if score else [UNDEFINED, ""]
    return cells


def _worst(mistakes: Sequence[Mistake]) -> Iterator[Markup]:
    """Yield the worst errors with their texts, which are hostile and shown as they are, harmlessly."""
    if not mistakes:
        yield element("p", "Every test message got the right verdict.")
        return
    yield element(
        "p", "Misclassified messages, the most confident first. Hidden characters are shown as escapes.", "quiet"
    )
    yield table(_MISTAKE_COLUMNS, [(row.label, number(row.probability), row.text) for row in mistakes])


# Draw the loss in a `blank` Metaflow card while training goes on, without slowing it.

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
