"""Each picture of a monitoring says its finding, also of runs that measured nothing and of words that attack."""

import pytest

from spamctl.reports.monitor_plots import bars, monitoring_plots
from spamctl.schema.codec import from_json
from spamctl.schema.monitor import Outcome
from tests.hostile import PAYLOADS
from tests.monitored import CALM, DRIFTED, HISTORY, TOO_FEW, hostile, outcome, past, told
from tests.reports.test_plots import title

REFERENCE, CURRENT = [0.1] * 80 + [0.9] * 20, [0.1] * 20 + [0.9] * 20


def titles(result, reference=REFERENCE, current=CURRENT):
    return {name: title(png) for name, png in monitoring_plots(told(result), reference, current).items()}


@pytest.mark.slow
def test_every_picture_says_its_finding():
    assert titles(DRIFTED) == {
        "drift_trend": "Drift is 2.31 times its threshold; alarms in 2 of the last 12 runs",
        "quality_trend": "Accuracy is 0.9400 on trusted labels, 0.9712 estimated without",
        "tests": "4 of 14 tests raise an alarm",
        "probabilities": "The mean probability of spam rose from 0.2600 to 0.5000",
        "words": "The largest change of a word: from 0.10 % to 4.00 % of the messages",
    }


@pytest.mark.slow
def test_a_first_run_has_no_trend_and_a_small_one_no_tests():
    assert set(titles(CALM | {"history": HISTORY[:1]})) == {"tests", "probabilities", "words"}
    assert titles(TOO_FEW, [], []) == {
        "drift_trend": "The newest run was too small to test; alarms in 0 of the last 2 runs",
        "quality_trend": "Accuracy is 0.9800 on trusted labels, 0.9850 estimated without",
    }


def test_runs_that_measured_nothing_are_drawn_as_such():
    names = ("drift_score", "spam_share", "accuracy", "false_positive_rate", "estimated_accuracy")
    runs = [past(day, 0.0) | dict.fromkeys(names) for day in (1, 2)]
    drawn = titles(TOO_FEW | {"history": runs}, [], [])
    assert drawn["quality_trend"] == "Accuracy is not measured: no trusted label"
    assert drawn["drift_trend"].startswith("The newest run was too small to test")


@pytest.mark.slow
def test_only_the_last_thirty_runs_are_drawn():
    runs = [past(1, 1.5)] * 50 + [past(2, 0.5)] * 30
    assert titles(CALM | {"history": runs})["drift_trend"].endswith("alarms in 0 of the last 30 runs")


@pytest.mark.parametrize(
    ("multiples", "finding"),
    [
        ((0.5, 0.2), "None of 2 tests raises an alarm"),
        ((1.0, 0.2), "1 of 2 tests raises an alarm"),
        ((90.0, 2.0), "2 of 2 tests raise an alarm"),
    ],
)
def test_the_bars_count_what_rings(multiples, finding):
    assert title(bars([from_json(Outcome, outcome(str(each), each)) for each in multiples])) == finding


@pytest.mark.slow
def test_hostile_words_are_drawn_as_they_are(recwarn):
    drawn = titles(hostile(PAYLOADS))
    assert set(drawn) == {"drift_trend", "quality_trend", "tests", "probabilities", "words"}
    words = [
        {"term": word, "z": 3.0, "current_rate": 0.1, "reference_rate": 0.0} for word in ("$x^", "$\\frac{$", "漢")
    ]
    assert "words" in titles(DRIFTED | {"causes": {"spam": words, "not spam": []}})
    assert not recwarn.list
