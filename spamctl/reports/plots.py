"""Draw what training and evaluation found: each function takes plain values and returns a PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from spamctl.reports.figure import BLUE, GREEN, GREY, INK, LINE, ORANGE, SHADE, canvas, legend, legend_above, name_axes, png
from spamctl.reports.scores import MEASURES, Score, number, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Point = tuple[float, float]


def loss_curve(
    training: Sequence[Point], validation: Sequence[Point], *, steps_per_epoch: float, rows: tuple[int, int]
) -> bytes:
    """Draw (step, loss) of training and validation, with epochs along the top; `rows` counts both parts."""
    best = min(validation, key=lambda point: point[1])
    title = f"Validation loss is lowest, {best[1]:.4f}, after {best[0] / steps_per_epoch:.3g} epochs"
    figure, (axes,) = canvas(title, f"n = {rows[0]:,} training and {rows[1]:,} validation messages")
    axes.plot(*_columns(training), color=GREY, linewidth=1, alpha=0.8, label="training, each step")
    axes.plot(*_columns(validation), color=BLUE, marker="o", markersize=4, linewidth=2, label="validation")
    axes.plot(*best, marker="o", markersize=10, markerfacecolor="none", color=ORANGE, linestyle="", label="kept")
    axes.set_ylim(bottom=0)
    name_axes(axes, x="optimiser step", y="cross-entropy loss (nats per message)")
    top = axes.secondary_xaxis(
        "top", functions=(lambda step: step / steps_per_epoch, lambda epoch: epoch * steps_per_epoch)
    )
    top.set_xlabel("epoch", fontsize=8, color=GREY)
    top.tick_params(colors=GREY, labelsize=8, length=3, color=LINE)
    top.spines["top"].set_visible(False)
    legend(axes, "upper right")
    return png(figure)


def accuracy_by_depth(
    points: Sequence[tuple[int, float, float]], *, chosen: int, floor: int, blocks: int, rows: int
) -> bytes:
    """Draw (block, cross-validated score, standard error) by block, the chosen block and the floor below it."""
    scored, means, errors = (list(column) for column in zip(*points, strict=True))
    best = max(points, key=lambda point: point[1])
    title = f"Block {chosen} of {blocks} is {_depth_reason(points, chosen=chosen, best=best)}"
    figure, (axes,) = canvas(title, f"cross-validated on n = {rows:,} training messages; band: one standard error")
    axes.axvspan(0.5, floor - 0.5, color=SHADE, zorder=0, label=f"below the floor (block {floor})")
    axes.fill_between(scored, _shifted(means, errors, -1), _shifted(means, errors, 1), color=BLUE, alpha=0.18, lw=0)
    axes.plot(scored, means, color=BLUE, marker="o", markersize=3, linewidth=1.6)
    axes.axhline(best[1] - best[2], color=GREY, linestyle="--", linewidth=1, label="best less one standard error")
    height = {block: mean for block, mean, _ in points}[chosen]
    axes.plot(chosen, height, marker="o", markersize=10, color=ORANGE, linestyle="", label=f"chosen: block {chosen}")
    axes.set_xlim(0.5, blocks + 0.5)
    name_axes(axes, x="blocks kept", y="accuracy (share of messages)")
    legend(axes, "lower right")
    return png(figure)


def reliability_diagram(bins: Sequence[Mapping[str, float]], probabilities: Sequence[float], *, ece: Score) -> bytes:
    """Draw observed against predicted spam share in equal-mass bins (predicted, observed, low, high) and the scores."""
    title = f"Predicted and observed spam shares differ by {number(ece['value'])} on average"
    note = f"n = {len(probabilities):,} test messages in {len(bins)} equal-mass bins; bars: 95 % intervals"
    figure, (axes, below) = canvas(title, note, panels=2)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="perfectly calibrated")
    predicted, observed = _column(bins, "predicted"), _column(bins, "observed")
    axes.errorbar(predicted, observed, yerr=_arms(bins, "observed"), fmt="o", color=BLUE, capsize=3, label="the filter")
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    name_axes(axes, x="predicted probability of spam", y="observed share of spam")
    legend(axes, "upper left")
    below.hist(probabilities, bins=20, range=(0, 1), color=BLUE, alpha=0.75)
    below.set_yscale("log")
    below.set_ylim(bottom=0.5)
    name_axes(below, x="predicted probability of spam", y="messages (log scale)")
    return png(figure)


def confusion_matrix(counts: Sequence[Sequence[int]]) -> bytes:
    """Draw [[kept, wrongly flagged], [missed, caught]] (rows: not spam, spam) with counts and row percentages."""
    (kept, flagged), (missed, caught) = counts
    title = f"{_share(caught, missed + caught)} of spam is caught; {_share(flagged, kept + flagged)} of the rest is flagged"
    figure, (axes,) = canvas(title, f"n = {kept + flagged + missed + caught:,} test messages", height=3.6)
    shares = [[cell / max(sum(row), 1) for cell in row] for row in counts]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.25, aspect="auto")
    for row in (0, 1):
        for column in (0, 1):
            ink = "white" if shares[row][column] > 0.6 else INK
            axes.text(column, row - 0.08, f"{counts[row][column]:,}", ha="center", fontsize=18, color=ink)
            share = f"{percent(shares[row][column])} of row"
            axes.text(column, row + 0.24, share, ha="center", fontsize=9, color=ink)
    axes.set_xticks([0, 1], ["not spam", "spam"])
    axes.set_yticks([0, 1], ["not spam", "spam"], rotation=90, va="center")
    axes.grid(visible=False)
    name_axes(axes, x="verdict (messages)", y="truth (messages)")
    return png(figure)


def operating_curve(curve: Sequence[Point], *, chosen: Mapping[str, Score], budget: float, rows: tuple[int, int]) -> bytes:
    """Draw recall against false-positive rate; `chosen` scores the threshold, `rows` counts not spam and spam."""
    rate, recall = chosen["false_positive_rate"], chosen["recall"]
    kept = "within" if _value(rate) <= budget else "over"
    title = f"At {percent(rate['value'])} false positives ({kept} budget) {percent(recall['value'])} of spam is caught"
    note = f"n = {rows[0]:,} not spam, {rows[1]:,} spam in the test part; cross: chosen threshold, 95 % intervals"
    figure, (axes,) = canvas(title, note)
    least = 0.5 / max(rows[0], 1)  # a log axis has no zero: half a message stands for it
    axes.step([max(x, least) for x, _ in curve], [y for _, y in curve], where="post", color=BLUE, linewidth=1.8)
    axes.axvline(budget, color=GREY, linestyle="--", linewidth=1, label=f"budget {percent(budget)}")
    axes.errorbar(
        max(_value(rate), least), _value(recall), xerr=_clipped_arms(rate, least), yerr=_arms([recall], "value"),
        fmt="o", color=ORANGE, capsize=3, markersize=7, label="chosen threshold",
    )  # fmt: skip
    axes.set_xscale("log")
    axes.set(xlim=(least * 0.8, 1.2), ylim=(max(_value(recall, "low") - 0.3, -0.02), 1.02))
    ticks = [least, *(tick for tick in (0.001, 0.01, 0.1, 1.0) if tick > 1.5 * least)]
    axes.set_xticks(ticks, ["0 %", *(f"{100 * tick:g} %" for tick in ticks[1:])])
    axes.set_xticks([], minor=True)
    name_axes(axes, x="false-positive rate (share of good messages flagged, log scale)", y="recall (share of spam caught)")
    legend(axes, "lower right")
    return png(figure)


def score_histogram(probabilities: Sequence[float], is_spam: Sequence[bool], *, threshold: float) -> bytes:
    """Draw how many messages of each label have which probability of spam, and where the threshold cuts."""
    spam = [p for p, label in zip(probabilities, is_spam, strict=True) if label]
    rest = [p for p, label in zip(probabilities, is_spam, strict=True) if not label]
    wrong = sum(p >= threshold for p in rest) + sum(p < threshold for p in spam)
    title = f"The threshold {number(threshold)} puts {wrong:,} of {len(probabilities):,} messages on the wrong side"
    figure, (axes,) = canvas(title, f"n = {len(rest):,} not spam, {len(spam):,} spam in the test part")
    for values, colour, name in ((rest, BLUE, "not spam"), (spam, ORANGE, "spam")):
        axes.hist(values, bins=40, range=(0, 1), color=colour, alpha=0.6, label=name)
    axes.axvline(threshold, color=INK, linestyle="--", linewidth=1.2, label="threshold")
    axes.set_yscale("log")
    axes.set(xlim=(-0.01, 1.01), ylim=(0.5, None))
    name_axes(axes, x="predicted probability of spam", y="messages (log scale)")
    legend_above(axes)
    return png(figure)


def model_and_baseline(scores: Mapping[str, Score], baseline: Mapping[str, Score], *, rows: int) -> bytes:
    """Draw each score of the model beside the linear baseline's, with 95 % intervals, high-is-good and low-is-good."""
    gain = _value(scores["accuracy"]) - _value(baseline["accuracy"])
    title = f"Accuracy is {abs(100 * gain):.2f} points {'above' if gain > 0 else 'below'} the linear baseline's"
    title = title if gain else "Accuracy equals the linear baseline's"
    figure, panels = canvas(title, f"n = {rows:,} test messages; bars: 95 % intervals", panels=2)
    for axes, lower in zip(panels, (False, True), strict=True):
        shown = [m for m in MEASURES if m.lower_is_better == lower and m.key in scores and m.key in baseline]
        _dots(axes, [scores[m.key] for m in shown], shift=-0.13, colour=BLUE, name="this model")
        _dots(axes, [baseline[m.key] for m in shown], shift=0.13, colour=GREY, name="linear baseline")
        axes.set_yticks(range(len(shown)), [m.name for m in shown], color=INK)
        axes.set_ylim(len(shown) - 0.5, -0.5)
        name_axes(axes, x="lower is better" if lower else "higher is better", y="")
    panels[1].set_xlim(left=0)
    legend_above(panels[1])
    return png(figure)


def _dots(axes: Axes, scores: Sequence[Score], *, shift: float, colour: str, name: str) -> None:
    """Draw one dot and interval a score, each on its own line."""
    places = [line + shift for line in range(len(scores))]
    values = [_value(score) for score in scores]
    axes.errorbar(values, places, xerr=_arms(scores, "value"), fmt="o", color=colour, capsize=2, markersize=5, label=name)


def _depth_reason(points: Sequence[tuple[int, float, float]], *, chosen: int, best: tuple[int, float, float]) -> str:
    """Say how the chosen block stands to the best one."""
    score = {block: mean for block, mean, _ in points}[chosen]
    if chosen == best[0]:
        return "the best by cross-validation"
    within = "within" if score >= best[1] - best[2] else "more than"
    return f"{within} one standard error of the best (block {best[0]})"


def _arms(rows: Sequence[Mapping[str, float | None]], middle: str) -> list[list[float]]:
    """Return how far each interval reaches below and above its middle."""
    middles, lows, highs = (_column(rows, key) for key in (middle, "low", "high"))
    below = [max(value - low, 0.0) for value, low in zip(middles, lows, strict=True)]
    above = [max(high - value, 0.0) for value, high in zip(middles, highs, strict=True)]
    return [below, above]


def _clipped_arms(score: Score, least: float) -> list[list[float]]:
    """Return the arms of one interval on an axis that begins at `least`."""
    return _arms([{key: max(_value(score, key), least) for key in ("value", "low", "high")}], "value")


def _column(rows: Sequence[Mapping[str, float | None]], key: str) -> list[float]:
    """Return one column of plain rows; what is undefined is not drawn."""
    return [_value(row, key) for row in rows]


def _columns(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    """Return the first and the second values of points."""
    return [x for x, _ in points], [y for _, y in points]


def _shifted(values: Sequence[float], errors: Sequence[float], sign: int) -> list[float]:
    """Return the values moved by their errors, up or down."""
    return [value + sign * error for value, error in zip(values, errors, strict=True)]


def _share(part: int, whole: int) -> str:
    """Write a part of a whole as a percentage."""
    return percent(part / whole if whole else None)


def _value(score: Mapping[str, float | None], key: str = "value") -> float:
    """Return a number of a score; an undefined one is not a number, which no plot draws."""
    value = score[key]
    return float("nan") if value is None else value
