"""Plot the accuracy of a server by kind of message, which shows where drift hurts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spamctl.reports.scores import percent
from spamctl.reports.style import BLUE, GREY, canvas, name_axes, png

_ROW_INCHES, _FRAME_INCHES = 0.32, 1.5
_FEWEST_GROUPS = 2


def traffic_plots(result: Mapping[str, Any]) -> dict[str, bytes]:
    """Draw every picture of a traffic run, by name; with one kind of message there is nothing to compare."""
    groups = result["groups"]
    if len(groups) < _FEWEST_GROUPS:
        return {}
    return {"accuracy_by_group": accuracy_by_group(groups, result["scores"]["accuracy"]["value"])}


def accuracy_by_group(groups: Sequence[Mapping[str, Any]], whole: float) -> bytes:
    """Return a PNG: the accuracy of each group with its 95 % interval, the lowest at the top, beside that of all.

    The title names the group whose interval ends lowest, so that no group of three messages makes the headline.
    """
    ordered = sorted(groups, key=lambda group: group["scores"]["accuracy"]["value"], reverse=True)
    worst = min(groups, key=lambda group: group["scores"]["accuracy"]["high"])
    accuracies = [group["scores"]["accuracy"] for group in ordered]
    values = [accuracy["value"] for accuracy in accuracies]
    reach = [
        [accuracy["value"] - accuracy["low"] for accuracy in accuracies],
        [accuracy["high"] - accuracy["value"] for accuracy in accuracies],
    ]
    share = percent(worst["scores"]["accuracy"]["value"])
    title = f"Lowest accuracy: {worst['name']}, {share} of {worst['rows']:,} messages"
    height = _FRAME_INCHES + _ROW_INCHES * len(ordered)
    figure, (axes,) = canvas(title, "Bars are 95 % intervals; the dashed line is all messages together.", height=height)
    axes.errorbar(values, range(len(ordered)), xerr=reach, fmt="o", color=BLUE, capsize=3, markersize=5)
    axes.axvline(whole, color=GREY, linestyle="--", linewidth=1)
    axes.set_yticks(range(len(ordered)), [f"{group['name']} ({group['rows']:,})" for group in ordered], fontsize=8.5)
    axes.set_ylim(-0.6, len(ordered) - 0.4)
    axes.set_xlim(right=1.01)
    name_axes(axes, x="accuracy", y="")
    return png(figure)
