"""Draw every picture in one style: light, quiet, safe for colour-blind readers, with the finding as its title."""

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
GREEN = "#009e73"
INK = "#1f2328"
GREY = "#6e7781"
LINE = "#d0d7de"
SHADE = "#e8ebef"

_DOTS_PER_INCH = 160
_TITLE_WIDTH = 74


def canvas(title: str, note: str, *, panels: int = 1, height: float = 3.9) -> tuple[Figure, list[Axes]]:
    """Return an empty figure of one or two panels that says the finding in bold and the facts below it in grey."""
    from matplotlib.figure import Figure  # the object-oriented door: no pyplot, no global state

    figure = Figure(figsize=(6.8, height), dpi=_DOTS_PER_INCH, layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
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


def legend(axes: Axes, place: str) -> None:
    """Explain the marks of a panel inside it, without a frame."""
    axes.legend(loc=place, fontsize=8, frameon=False, labelcolor=INK)


def legend_above(axes: Axes) -> None:
    """Explain the marks of a panel in one line above its right end, where no data can be."""
    axes.legend(
        loc="lower right", bbox_to_anchor=(1.01, 0.99), ncols=3, fontsize=8, frameon=False, labelcolor=INK,
        columnspacing=1.2, handletextpad=0.5,
    )  # fmt: skip


def png(figure: Figure) -> bytes:
    """Return the figure as PNG bytes, the same for the same values, with its title in the file's `Title`."""
    buffer = io.BytesIO()
    title = figure.get_suptitle().replace("\n", " ")
    figure.savefig(buffer, format="png", metadata={"Title": title, "Software": None})
    return buffer.getvalue()


def _quieten(axes: Axes) -> None:
    """Take the ink out of frame, ticks and grid."""
    axes.patch.set_visible(False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(LINE)
    axes.tick_params(colors=GREY, labelsize=8, length=3, color=LINE)
    axes.grid(visible=True, color=LINE, linewidth=0.6, alpha=0.7)
    axes.set_axisbelow(True)
