"""Every picture has one style, and leaves nothing behind in matplotlib."""

import subprocess
import sys

from spamctl.reports import figures

WHITE = (1.0, 1.0, 1.0)


def brightness(colour):
    """Return the relative luminance of WCAG 2, from 0 (black) to 1 (white)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    light, dark = sorted((brightness(one), brightness(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_words_and_marks_stand_out_on_white():
    from matplotlib.colors import to_rgb

    assert contrast(to_rgb(figures.INK), WHITE) > 7
    assert contrast(to_rgb(figures.GREY), WHITE) > 4.5
    assert min(contrast(to_rgb(colour), WHITE) for colour in (figures.BLUE, figures.ORANGE)) > 3


def test_a_long_title_is_wrapped_and_kept_whole_in_the_file():
    title = "A finding that takes more than one line to tell, and is told to its very end all the same"
    figure, panels = figures.canvas(title, "n = 3", panels=2)
    assert len(panels) == 2
    assert figure.get_suptitle().count("\n") == 1
    assert title.encode() in figures.png(figure)


def test_drawing_touches_no_global_state():
    code = (
        "import matplotlib, sys; before = dict(matplotlib.rcParams)\n"
        "from spamctl.reports import figures\n"
        "figures.png(figures.canvas('t', 'n')[0])\n"
        "print('matplotlib.pyplot' in sys.modules, dict(matplotlib.rcParams) == before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False True\n"


def test_importing_the_plots_does_not_import_matplotlib():
    code = "import sys, spamctl.reports.train_plots; print('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
