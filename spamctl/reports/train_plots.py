"""Plot training and evaluation: each function takes plain values and returns a PNG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from spamctl.reports import figures
from spamctl.reports.figures import BLUE, GREY, INK, LINE, ORANGE, SHADE
from spamctl.reports.scores import MEASURES, number, percent
from spamctl.schema.rates import Confusion, Interval, Rates, Score
from spamctl.schema.train import BlockScore

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from spamctl.engine.calibration import ReliabilityBin
    from spamctl.metrics.scores import Curve

Point = tuple[float, float]

_DARK = 0.6  # a cell with a larger share is so dark that its number is white
_DECADES = (0.001, 0.01, 0.1, 1.0)


def evaluation_plots(
    probabilities: Sequence[float],
    is_spam: Sequence[bool],
    *,
    score: Score,
    baseline: Rates,
    budget: float,
) -> dict[str, bytes]:
    """Draw every picture of an evaluation, by name; `score` is that of the same rows."""
    from spamctl.engine.calibration import reliability
    from spamctl.metrics.scores import curve

    metrics = score.metrics
    rows = (len(is_spam) - sum(is_spam), sum(is_spam))
    bins, corners = reliability(is_spam, probabilities), curve(is_spam, probabilities)
    return {
        "model_and_baseline": model_and_baseline(metrics, baseline, rows=len(is_spam)),
        "confusion_matrix": confusion_matrix(score.confusion),
        "operating_curve": operating_curve(corners, scores=metrics, budget=budget, rows=rows),
        "score_histogram": score_histogram(probabilities, is_spam, threshold=score.threshold),
        "reliability_diagram": reliability_diagram(bins, probabilities, ece=metrics.ece),
    }


def loss_curve(
    training: Sequence[Point], validation: Sequence[Point], *, steps_per_epoch: float, rows: tuple[int, int]
) -> bytes:
    """Draw (step, loss) of training and validation, with epochs along the top; `rows` counts both parts."""
    best = min(validation, key=lambda point: point[1])
    title = f"Validation loss is lowest, {number(best[1])}, after {best[0] / steps_per_epoch:.3g} epochs"
    figure, (axes,) = figures.canvas(title, f"n = {rows[0]:,} training and {rows[1]:,} validation messages")
    axes.plot(*_columns(training), color=GREY, linewidth=1, alpha=0.8, label="training, each step")
    axes.plot(*_columns(validation), color=BLUE, marker="o", markersize=4, linewidth=2, label="validation")
    axes.plot(*best, marker="o", markersize=10, markerfacecolor="none", color=ORANGE, linestyle="", label="kept")
    axes.set_ylim(bottom=0)
    figures.name_axes(axes, x="optimiser step", y="cross-entropy loss (nats per message)")
    _epochs_above(axes, steps_per_epoch)
    figures.legend(axes)
    return figures.png(figure)


def accuracy_by_depth(scores: Sequence[BlockScore], *, chosen: int, floor: int, rows: int, of: int) -> bytes:
    """Draw each block's cross-validated accuracy, and the log loss by whose standard error the depth is chosen.

    Blocks under the floor are never chosen. `of` is how many blocks the base model has.
    """
    best = min(scores, key=lambda score: score.log_loss)
    blocks = [score.block for score in scores]
    title = f"Block {chosen} of {of} is {_depth_reason(scores, chosen, best)}"
    note = f"cross-validated on n = {rows:,} training messages; band: one standard error"
    figure, panels = figures.canvas(title, note, panels=2)
    bar = best.log_loss + best.standard_error
    panels[1].axhline(bar, color=GREY, linestyle="--", linewidth=1, label="best + 1 standard error")
    low, high = ([s.log_loss + sign * s.standard_error for s in scores] for sign in (-1, 1))
    panels[1].fill_between(blocks, low, high, color=BLUE, alpha=0.18, linewidth=0)
    drawn = (
        ("accuracy (share of messages)", {score.block: score.accuracy for score in scores}),
        ("log loss (nats per message)", {score.block: score.log_loss for score in scores}),
    )
    for axes, (name, heights) in zip(panels, drawn, strict=True):
        axes.axvspan(0.5, floor - 0.5, color=SHADE, zorder=0, label=f"below the floor, {floor}")
        axes.plot(blocks, list(heights.values()), color=BLUE, marker="o", markersize=3, linewidth=1.6)
        axes.plot(chosen, heights[chosen], marker="o", markersize=9, color=ORANGE, linestyle="", label="chosen")
        axes.set_xlim(0.5, len(blocks) + 0.5)
        figures.name_axes(axes, x="blocks kept", y=name)
        figures.legend(axes)
    return figures.png(figure)


def reliability_diagram(bins: Sequence[ReliabilityBin], probabilities: Sequence[float], *, ece: Interval) -> bytes:
    """Draw the observed against the predicted share of spam in bins of equal mass, and the scores' histogram.

    The interval of a bin is Wilson's.
    """
    from spamctl.metrics.scores import proportion

    title = f"Predicted and observed spam shares differ by {number(ece.value)} on average"
    note = f"n = {len(probabilities):,} test messages, {len(bins)} equal-mass bins; bars: 95 % intervals"
    figure, (axes, below) = figures.canvas(title, note, panels=2)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="perfectly calibrated")
    shares = [proportion(round(b.spam_share * b.rows), b.rows) for b in bins]
    axes.errorbar(
        [b.mean_probability for b in bins], _values(shares), yerr=_arms(shares),
        fmt="o", color=BLUE, capsize=3, label="this model",
    )  # fmt: skip
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    figures.name_axes(axes, x="predicted probability of spam", y="observed share of spam")
    figures.legend(axes)
    below.hist(probabilities, bins=20, range=(0, 1), color=BLUE, alpha=0.75)
    below.set_yscale("log")
    below.set_ylim(bottom=0.5)
    figures.name_axes(below, x="predicted probability of spam", y="messages (log scale)")
    return figures.png(figure)


def confusion_matrix(counts: Confusion) -> bytes:
    """Draw the confusion matrix with row percentages."""
    cells = (counts.true_negatives, counts.false_positives), (counts.false_negatives, counts.true_positives)
    shares = [[cell / max(sum(row), 1) for cell in row] for row in cells]
    title = f"{percent(shares[1][1])} of spam is caught; {percent(shares[0][1])} of the rest is flagged"
    figure, (axes,) = figures.canvas(title, f"n = {sum(map(sum, cells)):,} test messages", height=3.6)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.25, aspect="auto")
    for row in (0, 1):
        for column in (0, 1):
            share = shares[row][column]
            ink = "white" if share > _DARK else INK
            axes.text(column, row - 0.08, f"{cells[row][column]:,}", ha="center", fontsize=18, color=ink)
            axes.text(column, row + 0.24, f"{percent(share)} of row", ha="center", fontsize=9, color=ink)
    axes.set_xticks([0, 1], ["not spam", "spam"])
    axes.set_yticks([0, 1], ["not spam", "spam"], rotation=90, va="center")
    axes.grid(visible=False)
    figures.name_axes(axes, x="verdict (messages)", y="truth (messages)")
    return figures.png(figure)


def operating_curve(curve: Curve, *, scores: Rates, budget: float, rows: tuple[int, int]) -> bytes:
    """Draw recall over the false-positive rate, the budget, and the chosen threshold as `scores` measured it.

    `rows` counts the not spam and the spam messages.
    """
    rate, recall = scores.false_positive_rate, scores.recall
    kept = "within" if rate.value <= budget else "over"
    title = f"At {percent(rate.value)} false positives ({kept} budget) {percent(recall.value)} of spam is caught"
    note = f"n = {rows[0]:,} not spam and {rows[1]:,} spam test messages; bars: 95 % intervals"
    figure, (axes,) = figures.canvas(title, note)
    least = 0.5 / max(rows[0], 1)  # a log axis has no zero: half a message stands for it
    rates = [max(rate, least) for rate in curve.false_positive_rates]
    axes.step(rates, curve.recalls, where="post", color=BLUE, linewidth=1.8)
    axes.axvline(max(budget, least), color=GREY, linestyle="--", linewidth=1, label=f"budget {percent(budget)}")
    drawn = Interval(*(max(end, least) for end in (rate.value, rate.low, rate.high)))
    axes.errorbar(
        drawn.value, recall.value, xerr=_arms([drawn]), yerr=_arms([recall]),
        fmt="o", color=ORANGE, capsize=3, markersize=7, label="chosen threshold",
    )  # fmt: skip
    ticks = [least, *(tick for tick in _DECADES if tick > 1.5 * least)]
    axes.set_xscale("log")
    axes.set_xticks(ticks, ["0 %", *(f"{100 * tick:g} %" for tick in ticks[1:])])
    axes.set_xticks([], minor=True)
    axes.set(xlim=(least * 0.8, 1.2), ylim=(max(recall.low - 0.3, -0.02), 1.02))
    figures.name_axes(axes, x="false-positive rate (share of good messages, log scale)", y="recall (share of spam)")
    figures.legend(axes)
    return figures.png(figure)


def score_histogram(probabilities: Sequence[float], is_spam: Sequence[bool], *, threshold: float) -> bytes:
    """Draw how many messages of each label have which probability of spam, and where the threshold cuts."""
    spam = [p for p, label in zip(probabilities, is_spam, strict=True) if label]
    rest = [p for p, label in zip(probabilities, is_spam, strict=True) if not label]
    wrong = sum(p >= threshold for p in rest) + sum(p < threshold for p in spam)
    title = f"The threshold {number(threshold)} puts {wrong:,} of {len(probabilities):,} messages on the wrong side"
    figure, (axes,) = figures.canvas(title, f"n = {len(rest):,} not spam and {len(spam):,} spam test messages")
    for values, colour, name in ((rest, BLUE, "not spam"), (spam, ORANGE, "spam")):
        axes.hist(values, bins=40, range=(0, 1), color=colour, alpha=0.6, label=name)
    axes.axvline(threshold, color=INK, linestyle="--", linewidth=1.2, label="threshold")
    axes.set_yscale("log")
    axes.set(xlim=(-0.01, 1.01), ylim=(0.5, None))
    figures.name_axes(axes, x="predicted probability of spam", y="messages (log scale)")
    figures.legend_above(axes)
    return figures.png(figure)


def model_and_baseline(scores: Rates, baseline: Rates, *, rows: int) -> bytes:
    """Draw each score of the model beside the linear baseline's, where high is good and where low is good."""
    gain = 100 * (scores.accuracy.value - baseline.accuracy.value)
    stands = f"is {abs(gain):.2f} points {'above' if gain > 0 else 'below'}" if gain else "equals"
    title = f"Accuracy {stands} the linear baseline's"
    figure, panels = figures.canvas(title, f"n = {rows:,} test messages; bars: 95 % intervals", panels=2)
    for axes, lower in zip(panels, (False, True), strict=True):
        shown = [m for m in MEASURES if m.lower_is_better == lower]
        _dots(axes, [m.of(scores) for m in shown], shift=-0.13, colour=BLUE, name="this model")
        _dots(axes, [m.of(baseline) for m in shown], shift=0.13, colour=GREY, name="linear baseline")
        axes.set_yticks(range(len(shown)), [m.name for m in shown], color=INK)
        axes.set_ylim(len(shown) - 0.5, -0.5)
        figures.name_axes(axes, x=f"score ({'lower' if lower else 'higher'} is better)", y="")
    panels[1].set_xlim(left=0)
    figures.legend_above(panels[1])
    return figures.png(figure)


def _dots(axes: Axes, scores: Sequence[Interval], *, shift: float, colour: str, name: str) -> None:
    """Draw one dot and interval a score, each on its own line."""
    lines = [line + shift for line in range(len(scores))]
    arms = _arms(scores)
    axes.errorbar(_values(scores), lines, xerr=arms, fmt="o", color=colour, capsize=2, markersize=5, label=name)


def _epochs_above(axes: Axes, steps_per_epoch: float) -> None:
    """Count the epochs along the top of a panel whose bottom counts steps."""

    def epoch(step: Any) -> Any:
        return step / steps_per_epoch

    def step(epoch: Any) -> Any:
        return epoch * steps_per_epoch

    top = axes.secondary_xaxis("top", functions=(epoch, step))
    top.set_xlabel("epoch", fontsize=8, color=GREY)
    top.tick_params(colors=GREY, labelsize=8, length=3, color=LINE)
    top.spines["top"].set_visible(False)


def _depth_reason(scores: Sequence[BlockScore], chosen: int, best: BlockScore) -> str:
    """Describe how the chosen block compares with the best one."""
    if chosen == best.block:
        return "the best by cross-validation"
    loss = {score.block: score.log_loss for score in scores}[chosen]
    bar = best.log_loss + best.standard_error
    near = "within one standard error of" if loss <= bar else "more than one standard error from"
    return f"{near} the best, block {best.block}"


def _arms(scores: Sequence[Interval]) -> list[list[float]]:
    """Return how far each interval reaches below and above its value."""
    below = [max(score.value - score.low, 0.0) for score in scores]
    above = [max(score.high - score.value, 0.0) for score in scores]
    return [below, above]


def _values(scores: Sequence[Interval]) -> list[float]:
    """Return the values of scores; one that is no number is not drawn."""
    return [score.value for score in scores]


def _columns(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    """Return the first and the second values of points."""
    return [x for x, _ in points], [y for _, y in points]
