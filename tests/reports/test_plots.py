"""Each picture says its finding in its title, and what it draws follows the values."""

import io
import math
import random
from dataclasses import replace

import pytest
from PIL import Image

from spamctl.engine.calibration import ReliabilityBin
from spamctl.metrics.scores import METRICS, Curve, score
from spamctl.reports import train_plots
from spamctl.schema.rates import Confusion, Interval, Rates
from spamctl.schema.train import BlockScore

BLOCKS = [
    BlockScore(block, loss, 0.01, 1 - loss) for block, loss in enumerate((0.3, 0.2, 0.105, 0.11, 0.1, 0.12), start=1)
]
COUNTS = Confusion(true_negatives=785, false_positives=1, false_negatives=3, true_positives=119)
CURVE = Curve((1.0, 0.9, 0.5, 0.1), (0, 0, 0.01, 1), (0, 0.9, 0.95, 1))


def title(png):
    """Return what a picture says, after checking that it is one and that something is drawn."""
    picture = Image.open(io.BytesIO(png))
    assert picture.format == "PNG"
    assert len(picture.convert("RGB").getcolors(1 << 24)) > 50
    return picture.info["Title"]


def marks(values, **changes):
    every = dict.fromkeys(METRICS, 0.5) | values | changes
    return Rates(**{key: Interval(v, v - 0.001, v + 0.001) for key, v in every.items()})


@pytest.fixture
def rows():
    """Return the probabilities and the truth of 200 rows of a good filter."""
    chance = random.Random(0)
    is_spam = [index % 5 == 0 for index in range(200)]
    return [min(max(chance.gauss(0.9 if spam else 0.1, 0.2), 0.0), 1.0) for spam in is_spam], is_spam


def test_loss_curve_names_the_epoch_that_is_kept():
    training = [(step, 1 / step) for step in range(1, 31)]
    png = train_plots.loss_curve(training, [(10, 0.4), (20, 0.3), (30, 0.35)], steps_per_epoch=10, rows=(320, 50))
    assert title(png) == "Validation loss is lowest, 0.3000, after 2 epochs"


def test_a_resumed_training_without_steps_of_its_own_is_drawn():
    assert "0.4000, after 1 epochs" in title(
        train_plots.loss_curve([], [(10, 0.4)], steps_per_epoch=10, rows=(320, 50))
    )


@pytest.mark.parametrize(
    ("chosen", "finding"),
    [
        (3, "Block 3 of 6 is within one standard error of the best, block 5"),
        (5, "Block 5 of 6 is the best by cross-validation"),
        (6, "Block 6 of 6 is more than one standard error from the best, block 5"),
    ],
)
def test_depth_says_how_the_chosen_block_stands_to_the_best(chosen, finding):
    assert title(train_plots.accuracy_by_depth(BLOCKS, chosen=chosen, floor=2, rows=100, of=6)) == finding


def test_reliability_names_the_mean_gap():
    bins = [ReliabilityBin(10, 0.1, 0.0), ReliabilityBin(10, 0.9, 1.0)]
    png = train_plots.reliability_diagram(bins, [0.1, 0.9] * 10, ece=Interval(0.1, 0.05, 0.2))
    assert title(png) == "Predicted and observed spam shares differ by 0.1000 on average"


def test_confusion_matrix_says_what_is_caught_and_what_is_flagged():
    assert title(train_plots.confusion_matrix(COUNTS)) == "97.54 % of spam is caught; 0.13 % of the rest is flagged"
    nothing = Confusion(0, 0, 0, 0)
    assert title(train_plots.confusion_matrix(nothing)) == "0.00 % of spam is caught; 0.00 % of the rest is flagged"


@pytest.mark.parametrize(("budget", "kept"), [(0.02, "within"), (0.001, "over"), (0.0, "over")])
def test_operating_curve_says_whether_the_budget_is_kept(budget, kept):
    scores = marks({"false_positive_rate": 0.01, "recall": 0.95})
    png = train_plots.operating_curve(CURVE, scores=scores, budget=budget, rows=(100, 20))
    assert title(png) == f"At 1.00 % false positives ({kept} budget) 95.00 % of spam is caught"


def test_no_false_positive_has_a_place_on_a_log_axis():
    none = Interval(0.0, 0.0, 0.03)
    scores = replace(marks({}), false_positive_rate=none, recall=none)
    assert title(train_plots.operating_curve(CURVE, scores=scores, budget=0.005, rows=(100, 20))).startswith(
        "At 0.00 %"
    )


def test_histogram_counts_the_wrong_side_as_the_verdict_does():
    png = train_plots.score_histogram([0.1, 0.5, 0.4, 0.9], [False, False, True, True], threshold=0.5)
    assert title(png) == "The threshold 0.5000 puts 2 of 4 messages on the wrong side"


@pytest.mark.parametrize(
    ("accuracy", "finding"),
    [
        (0.97, "Accuracy is 2.00 points above the linear baseline's"),
        (0.94, "Accuracy is 1.00 points below the linear baseline's"),
        (0.95, "Accuracy equals the linear baseline's"),
    ],
)
def test_model_and_baseline_says_who_is_more_accurate(accuracy, finding):
    baseline = {"accuracy": 0.95, "recall": 0.9, "false_positive_rate": 0.01, "ece": 0.02}
    png = train_plots.model_and_baseline(marks(baseline, accuracy=accuracy), marks(baseline), rows=100)
    assert title(png) == finding


def test_an_undefined_score_is_left_out_of_the_picture():
    ours = marks({"accuracy": 0.9, "mcc": math.nan, "brier": 0.1})
    assert title(train_plots.model_and_baseline(ours, marks({"accuracy": 0.9, "mcc": 0.7, "brier": 0.1}), rows=9))


def test_every_picture_of_an_evaluation_is_drawn(rows):
    probabilities, is_spam = rows
    measured = score(is_spam, probabilities, 0.6, resamples=50)
    drawn = train_plots.evaluation_plots(
        probabilities, is_spam, score=measured, baseline=measured.metrics, budget=0.005
    )
    wrong = sum((p >= 0.6) != spam for p, spam in zip(probabilities, is_spam, strict=True))
    assert {name: title(png).partition(" ")[0] for name, png in drawn.items()} == {
        "model_and_baseline": "Accuracy",
        "confusion_matrix": f"{100 * measured.metrics.recall.value:.2f}",
        "operating_curve": "At",
        "score_histogram": "The",
        "reliability_diagram": "Predicted",
    }
    assert title(drawn["score_histogram"]) == f"The threshold 0.6000 puts {wrong} of 200 messages on the wrong side"


def test_the_same_values_make_the_same_bytes():
    assert train_plots.confusion_matrix(COUNTS) == train_plots.confusion_matrix(COUNTS)
