"""Plot the accuracy of a server by kind of message, which shows where drift hurts."""

from __future__ import annotations

from collections.abc import Sequence

from spamctl.reports.scores import percent
from spamctl.reports.style import BLUE, GREY, canvas, name_axes, png
from spamctl.schema.rates import Interval
from spamctl.schema.traffic import GroupResult, TrafficResult

_ROW_INCHES, _FRAME_INCHES = 0.32, 1.5
_FEWEST_GROUPS = 2


def traffic_plots(result: TrafficResult) -> dict[str, bytes]:
    """Draw every picture of a traffic run, by name; with one kind of message there is nothing to compare."""
    judged = [(group, group.scores.accuracy) for group in result.groups if group.scores.accuracy]
    if len(judged) < _FEWEST_GROUPS or not result.scores.accuracy:
        return {}
    return {"accuracy_by_group": accuracy_by_group(judged, result.scores.accuracy.value)}


def accuracy_by_group(groups: Sequence[tuple[GroupResult, Interval]], whole: float) -> bytes:
    """Return a PNG: the accuracy of each group with its 95 % interval, the lowest at the top, beside that of all.

    The title names the group whose interval ends lowest, so that no group of three messages makes the headline.
    """
    ordered = sorted(groups, key=lambda pair: pair[1].value, reverse=True)
    worst, lowest = min(groups, key=lambda pair: pair[1].high)
    accuracies = [accuracy for _, accuracy in ordered]
    values = [accuracy.value for accuracy in accuracies]
    reach = [
        [accuracy.value - accuracy.low for accuracy in accuracies],
        [accuracy.high - accuracy.value for accuracy in accuracies],
    ]
    title = f"Lowest accuracy: {worst.name}, {percent(lowest.value)} of {worst.rows:,} messages"
    height = _FRAME_INCHES + _ROW_INCHES * len(ordered)
    figure, (axes,) = canvas(title, "Bars are 95 % intervals; the dashed line is all messages together.", height=height)
    axes.errorbar(values, range(len(ordered)), xerr=reach, fmt="o", color=BLUE, capsize=3, markersize=5)
    axes.axvline(whole, color=GREY, linestyle="--", linewidth=1)
    axes.set_yticks(range(len(ordered)), [f"{group.name} ({group.rows:,})" for group, _ in ordered], fontsize=8.5)
    axes.set_ylim(-0.6, len(ordered) - 0.4)
    axes.set_xlim(right=1.01)
    name_axes(axes, x="accuracy", y="")
    return png(figure)
