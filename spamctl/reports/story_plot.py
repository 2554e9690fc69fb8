"""Plot accuracy and drift by round of the demonstration."""

from __future__ import annotations

from collections.abc import Sequence

from spamctl.reports.style import BLUE, GREY, ORANGE, canvas, name_axes, png
from spamctl.schema.rates import Interval


def story_plot(names: Sequence[str], accuracies: Sequence[Interval], drift: Sequence[float]) -> bytes:
    """Return a PNG of two panels: accuracy with its 95 % interval, and the drift score beside its alarm line."""
    places = range(len(names))
    values = [accuracy.value for accuracy in accuracies]
    lows = [max(0.0, accuracy.value - accuracy.low) for accuracy in accuracies]
    highs = [max(0.0, accuracy.high - accuracy.value) for accuracy in accuracies]
    figure, (left, right) = canvas(
        "Accuracy of the filter, and drift of its messages",
        "Bars are 95 % intervals; the dashed line is the alarm.",
        panels=2,
    )
    left.errorbar(places, values, yerr=[lows, highs], fmt="o-", color=BLUE, capsize=4, markersize=6)
    right.bar(places, drift, color=[ORANGE if score >= 1 else BLUE for score in drift], width=0.5)
    right.axhline(1.0, color=GREY, linestyle="--", linewidth=1)
    for axes, what in ((left, "accuracy"), (right, "drift score")):
        axes.set_xticks(places, [name.replace(" ", "\n", 1) for name in names], fontsize=8)
        axes.set_xlim(-0.5, len(names) - 0.5)
        name_axes(axes, x="", y=what)
    return png(figure)
