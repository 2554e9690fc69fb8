"""Scores read the same everywhere, and the better one is named honestly."""

import math

from spamctl.metrics.scores import METRICS
from spamctl.reports.scores import MEASURES, baseline_wins, comparison, from_keys, interval, number, percent, winner
from spamctl.schema.rates import Interval, Rates
from tests.each import each


def score(value):
    return Interval(value, value, value)


def rates(value, **others):
    """Return rates that are all alike, but for some."""
    return Rates(**{name: score(others.get(name, value)) for name in METRICS})


def test_every_metric_that_is_measured_has_a_name():
    assert tuple(measure.key for measure in MEASURES) == METRICS


def test_numbers_have_four_decimals_and_say_when_they_are_undefined():
    assert number(0.98765) == "0.9877"
    assert percent(0.00127) == "0.13 %"
    assert interval(Interval(0.5, 0.4, 0.61)) == "0.4000–0.6100"
    assert [number(None), number(math.nan), percent(None)] == ["n/a"] * 3
    assert interval(from_keys({"value": 0.5, "low": None, "high": 0.6})) == ""


@each(
    ("key", "ours", "theirs", "better"),
    [
        ("accuracy", 0.99, 0.98, "model"),
        ("accuracy", 0.98, 0.99, "baseline"),
        ("accuracy", 0.98001, 0.98002, "neither"),
        ("false_positive_rate", 0.001, 0.002, "model"),
        ("brier", 0.002, 0.001, "baseline"),
        ("mcc", math.nan, 0.9, "neither"),
        ("mcc", 0.9, math.nan, "neither"),
    ],
)
def test_the_better_score_depends_on_the_measure_and_on_what_is_shown(key, ours, theirs, better):
    measure = next(measure for measure in MEASURES if measure.key == key)
    assert winner(measure, score(ours), score(theirs)) == better


def test_the_comparison_names_what_the_baseline_does_better():
    ours = rates(0.9)
    assert comparison(ours, ours) == "The linear baseline is better on none of the 10 scores."
    assert comparison(ours, rates(0.9, f1=0.91)) == "The linear baseline is better on F1."
    others = rates(0.9, f1=0.91, mcc=0.91, brier=0.01)
    assert comparison(ours, others) == "The linear baseline is better on F1, MCC and Brier score."
    errors = {measure.key: 0.1 for measure in MEASURES if measure.lower_is_better}
    assert comparison(rates(0.1, **dict.fromkeys(errors, 0.2)), rates(0.2, **errors)) == (
        "The linear baseline is better on every score."
    )
    assert comparison(ours, None) == ""


def test_the_baseline_wins_by_accuracy_alone():
    ours = rates(0.9)
    assert baseline_wins(ours, rates(0.1, accuracy=0.95))
    assert not baseline_wins(ours, rates(0.95, accuracy=0.9))
    assert not baseline_wins(ours, None)
