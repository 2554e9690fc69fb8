"""Plot a monitoring: trends over runs, test statistics against thresholds, the scores, the words that changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from spamctl import display
from spamctl.reports import figures
from spamctl.reports.figures import BLUE, GREY, INK, ORANGE
from spamctl.reports.monitor import SIDES, plain
from spamctl.reports.scores import number, percent
from spamctl.schema.monitor import Causes, MonitorResult, Outcome, Past
from spamctl.schema.rates import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FEWEST_RUNS = 2
_MOST_RUNS = 30
_MOST_DATES = 5
_MOST_WORDS = 10
_WIDEST_WORD = 26
_FAR = 10  # thresholds, beyond which an axis is logarithmic
_ROW_INCHES, _FRAME_INCHES = 0.27, 1.4


def monitoring_plots(result: MonitorResult, reference: Sequence[float], current: Sequence[float]) -> dict[str, bytes]:
    """Draw every picture of a monitoring that has something to draw, by name.

    `reference` and `current` are the probabilities of spam, shape (N,) each; the trend is the result's `history`.
    """
    runs = result.history[-_MOST_RUNS:]
    drawn: dict[str, bytes] = {}
    if len(runs) >= _FEWEST_RUNS:
        drawn |= {"drift_trend": drift_trend(runs), "quality_trend": quality_trend(runs)}
    if result.tests:
        drawn |= {"tests": bars(result.tests)}
    if len(reference) and len(current):
        drawn |= {"probabilities": probabilities(reference, current)}
    return drawn | picture_of_words(result)


def picture_of_words(result: MonitorResult) -> dict[str, bytes]:
    """Draw the words that moved, if any did: no other picture shows a part of a message."""
    causes = result.causes
    return {"words": words(causes)} if causes.spam or causes.not_spam else {}


def drift_trend(runs: Sequence[Past]) -> bytes:
    """Draw the share of spam and the drift score of each run, with the line above which a test raises an alarm."""
    scores = _known([run.drift_score for run in runs])
    figure, (left, right) = figures.canvas(_drift_title(scores, len(runs)), _span(runs), panels=2)
    if scores:
        left.plot(*zip(*scores, strict=True), color=BLUE, marker="o", markersize=3.5, linewidth=1.6)
    if over := [(place, score) for place, score in scores if score >= 1]:
        left.plot(*zip(*over, strict=True), color=ORANGE, marker="o", markersize=6, linestyle="", label="alarm")
    left.axhline(1, color=GREY, linestyle="--", linewidth=1, label="threshold")
    left.set_ylim(bottom=0)
    figures.name_axes(left, x="run", y="drift score (thresholds)")
    figures.legend(left)
    shares = [(place, 100 * share) for place, share in _known([run.spam_share for run in runs])]
    if shares:
        right.plot(*zip(*shares, strict=True), color=BLUE, marker="o", markersize=3.5, linewidth=1.6)
    right.set_ylim(bottom=0)
    figures.name_axes(right, x="run", y="share called spam (%)")
    for axes in (left, right):
        _dates(axes, runs)
    return figures.png(figure)


def quality_trend(runs: Sequence[Past]) -> bytes:
    """Draw accuracy with its interval beside the estimate without labels, and the false-positive rate, by run."""
    measured = [(place, run.accuracy) for place, run in enumerate(runs) if run.accuracy]
    guessed = _known([run.estimated_accuracy for run in runs])
    figure, (left, right) = figures.canvas(_quality_title(measured, guessed), "bars: 95 % intervals", panels=2)
    if measured:
        values = [score.value for _, score in measured]
        arms = [
            [max(score.value - score.low, 0) for _, score in measured],
            [max(score.high - score.value, 0) for _, score in measured],
        ]
        left.errorbar(
            [place for place, _ in measured], values, yerr=arms,
            color=BLUE, fmt="o-", markersize=3.5, linewidth=1.2, capsize=2, label="on trusted labels",
        )  # fmt: skip
    if guessed:
        left.plot(*zip(*guessed, strict=True), color=ORANGE, linestyle="--", linewidth=1.4, label="without labels")
    figures.name_axes(left, x="run", y="accuracy")
    if measured or guessed:
        figures.legend(left)
    rates = [(place, 100 * rate) for place, rate in _known([run.false_positive_rate for run in runs])]
    if rates:
        right.plot(*zip(*rates, strict=True), color=BLUE, marker="o", markersize=3.5, linewidth=1.6)
    right.set_ylim(bottom=0, top=None if any(rate for _, rate in rates) else 1)
    figures.name_axes(right, x="run", y="false-positive rate (%)")
    for axes in (left, right):
        _dates(axes, runs)
    return figures.png(figure)


def bars(tests: Sequence[Outcome]) -> bytes:
    """Draw how many times its threshold each statistic is, the highest at the top."""
    rows = sorted(tests, key=lambda test: test.exceeds)
    rings = sum(test.alarm for test in tests)
    title = f"{rings or 'None'} of {len(tests)} tests {'raises' if rings < 2 else 'raise'} an alarm"  # noqa: PLR2004, the plural
    figure, (axes,) = figures.canvas(title, "each statistic in units of its threshold", height=_height(rows))
    axes.barh(
        range(len(rows)),
        [test.exceeds for test in rows],
        color=[ORANGE if test.alarm else BLUE for test in rows],
        height=0.66,
    )
    axes.axvline(1, color=INK, linestyle="--", linewidth=1.2)
    if (most := rows[-1].exceeds) > _FAR:
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xticks([0, 1, 10, 100], ["0", "1", "10", "100"])
    axes.set_xlim(left=0, right=max(1.15, 1.08 * most))
    _name_rows(axes, [plain(test.name) for test in rows], range(len(rows)))
    figures.name_axes(axes, x="times the threshold", y="")
    return figures.png(figure)


def probabilities(reference: Sequence[float], current: Sequence[float]) -> bytes:
    """Draw which share of messages has which probability of spam, in the reference and now."""
    means = [sum(values) / len(values) for values in (reference, current)]
    moved = "rose" if means[1] > means[0] else "fell"
    title = f"The mean probability of spam {moved} from {number(means[0])} to {number(means[1])}"
    figure, (axes,) = figures.canvas(title, f"n = {len(reference):,} reference and {len(current):,} current messages")
    for values, colour, name in ((reference, GREY, "reference"), (current, BLUE, "current")):
        share = [100 / len(values)] * len(values)
        axes.hist(values, bins=25, range=(0, 1), weights=share, color=colour, alpha=0.55, label=name)
    axes.set_yscale("log")
    axes.set_xlim(-0.01, 1.01)
    axes.set_yticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
    axes.set_ylim(bottom=0.05, top=130)
    figures.name_axes(axes, x="predicted probability of spam", y="share of messages (%, log scale)")
    figures.legend_above(axes)
    return figures.png(figure)


def words(causes: Causes) -> bytes:
    """Draw the words and phrases that moved most, those of spam and those of the rest apart."""
    sides = {name: causes.terms(side)[:_MOST_WORDS][::-1] for side, name in SIDES.items()}
    first = max((term for rows in sides.values() for term in rows), key=lambda term: abs(term.z))
    seen = f"from {percent(first.reference_rate)} to {percent(first.current_rate)}"
    title = f"The largest change of a word: {seen} of the messages"
    most = max(sides.values(), key=len)
    figure, panels = figures.canvas(title, next(iter(sides)), panels=2, height=_height(most))
    for axes, (name, rows) in zip(panels, sides.items(), strict=True):
        axes.set_title(name, loc="left", fontsize=8.5, color=GREY, pad=9)
        colours = [BLUE if term.z > 0 else GREY for term in rows]
        places = range(len(most) - len(rows), len(most))  # the most moved at the top of both panels
        axes.barh(places, [term.z for term in rows], color=colours, height=0.66)
        _name_rows(axes, [term.term for term in rows], places)
        figures.name_axes(axes, x="change of the log-odds (standard errors)", y="")
    return figures.png(figure)


def _drift_title(scores: Sequence[tuple[int, float]], runs: int) -> str:
    """Give the latest drift score, and the number of runs in which a test raised an alarm."""
    above = sum(score >= 1 for _, score in scores)
    rang = f"alarms in {above} of the last {runs} runs"
    if not scores or scores[-1][0] < runs - 1:
        return f"The newest run was too small to test; {rang}"
    return f"Drift is {scores[-1][1]:.2f} times its threshold; {rang}"


def _quality_title(measured: Sequence[tuple[int, Interval]], guessed: Sequence[tuple[int, float]]) -> str:
    """Give the latest accuracy, measured and estimated."""
    said = [
        f"{number(measured[-1][1].value)} on trusted labels" if measured else "not measured: no trusted label",
        *([f"{number(guessed[-1][1])} estimated without"] if guessed else ()),
    ]
    return f"Accuracy is {', '.join(said)}"


def _known(found: Sequence[float | None]) -> list[tuple[int, float]]:
    """Return (place, value) of the runs in which a value was found."""
    return [(place, value) for place, value in enumerate(found) if value is not None]


def _span(runs: Sequence[Past]) -> str:
    """Describe how many messages the runs examined."""
    rows = [run.rows for run in runs]
    few, many = min(rows), max(rows)
    return f"{few:,} messages a run" if few == many else f"{few:,} to {many:,} messages a run"


def _dates(axes: Axes, runs: Sequence[Past]) -> None:
    """Name a few runs along the bottom by their day and minute."""
    every = max(-(-len(runs) // _MOST_DATES), 1)
    shown = range(len(runs) - 1, -1, -every)
    names = [runs[place].date[5:16].replace("T", "\n") for place in shown]
    axes.set_xticks(list(shown), _drawable(names), parse_math=False)
    axes.set_xlim(-0.4, len(runs) - 0.6)


def _name_rows(axes: Axes, names: Sequence[str], places: range) -> None:
    """Name the rows of a bar chart with words that may be hostile: no formula is read in them."""
    shown = [name if len(name) <= _WIDEST_WORD else f"{name[: _WIDEST_WORD - 3]}..." for name in _drawable(names)]
    axes.set_yticks(places, shown, color=INK, parse_math=False)
    axes.grid(visible=False, axis="y")
    axes.set_ylim(-0.6, places.stop - 0.4)


def _drawable(names: Iterable[str]) -> list[str]:
    """Return names in characters that the font can draw, others as escapes; line breaks of ours stay."""
    from matplotlib.font_manager import findfont, get_font

    glyphs = get_font(findfont("DejaVu Sans")).get_charmap()
    can_draw: Callable[[str], bool] = lambda char: char == "\n" or ord(char) in glyphs  # noqa: E731
    visible = ("\n".join(map(display.visible, name.split("\n"))) for name in names)
    return ["".join(char if can_draw(char) else display.ascii_only(char) for char in name) for name in visible]


def _height(rows: Sequence[Any]) -> float:
    """Return the inches that so many rows need."""
    return max(_FRAME_INCHES + _ROW_INCHES * len(rows), 2.6)
