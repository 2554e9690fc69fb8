"""Define one style for all plots: light, safe for colour-blind readers, with the finding as the title."""

from __future__ import annotations

import io
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette (https://jfly.uni-koeln.de/color/): told apart in every common kind of colour blindness.
BLUE = "#0072b2"
ORANGE = "#d55e00"
INK = "#1f2328"
GREY = "#6e7781"
LINE = "#d0d7de"
SHADE = "#e8ebef"

_DOTS_PER_INCH = 160
_INCHES_WIDE = 6.8
_TITLE_WIDTH = 74  # characters of the bold title that fit in one line


def canvas(title: str, note: str, *, panels: int = 1, height: float = 3.9) -> tuple[Figure, list[Axes]]:
    """Return a figure with empty panels side by side, the finding above them in bold and the facts in grey."""
    from matplotlib.figure import Figure  # the object-oriented door: no pyplot, no global state
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    figure = Figure(figsize=(_INCHES_WIDE, height), dpi=_DOTS_PER_INCH, layout=layout, facecolor="white")
    lines = textwrap.wrap(title, _TITLE_WIDTH)
    figure.suptitle("\n".join(lines), x=0.018, ha="left", fontsize=11, fontweight="bold", color=INK)
    axes = [figure.add_subplot(1, panels, index + 1) for index in range(panels)]
    axes[0].set_title(note, loc="left", fontsize=8.5, color=GREY, pad=9)
    for panel in axes:
        _quieten(panel)
    return figure, axes


def name_axes(axes: Axes, *, x: str, y: str) -> None:
    """Label both axes of a panel, with their units."""
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(y, fontsize=9, color=INK)


def legend(axes: Axes) -> None:
    """Explain the marks of a panel where they leave room."""
    axes.legend(fontsize=8, frameon=False, labelcolor=INK)


def legend_above(axes: Axes) -> None:
    """Explain the marks of a panel in one line above its right end, where no data can be."""
    axes.legend(loc="lower right", bbox_to_anchor=(1.01, 0.99), ncols=3, fontsize=8, frameon=False, labelcolor=INK)


def png(figure: Figure) -> bytes:
    """Return the figure as PNG bytes, the same for the same values, with its title in the file's `Title`."""
    buffer = io.BytesIO()
    title = figure.get_suptitle().replace("\n", " ")
    figure.savefig(buffer, format="png", metadata={"Title": title, "Software": None})
    return buffer.getvalue()


def _quieten(axes: Axes) -> None:
    """Take the ink out of ground, frame, ticks and grid."""
    axes.patch.set_visible(False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(LINE)
    axes.tick_params(colors=GREY, labelsize=8, length=3, color=LINE)
    axes.grid(visible=True, color=LINE, linewidth=0.6, alpha=0.7)
    axes.set_axisbelow(True)
