"""Hold the probabilities to their meaning: fitted, ordered, bounded, and measured against known answers."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from spamctl.engine import calibration
from spamctl.engine.calibration import Calibration, ReliabilityBin
from spamctl.errors import ArtefactError, DataError, NothingLearntError
from tests.each import each

SLOPES = st.floats(1e-3, 1e3)
NUMBERS = st.floats(-1e6, 1e6)


def rows(count, slope, intercept, seed=0):
    """Return truth drawn from sigmoid(slope * logit + intercept), and the logits."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, count)
    return rng.random(count) < calibration.sigmoid(slope * logits + intercept), logits


def test_fit_finds_the_map_that_made_the_truth():
    fitted = calibration.fit(*rows(100_000, slope=0.6, intercept=-1.2))
    assert fitted.slope == pytest.approx(0.6, rel=0.03)
    assert fitted.intercept == pytest.approx(-1.2, rel=0.03)


def test_fit_agrees_with_logistic_regression_on_smoothed_targets():
    truth, logits = rows(300, slope=1.0, intercept=-1.0)
    spam, rest = truth.sum(), (~truth).sum()
    target = np.where(truth, (spam + 1) / (spam + 2), 1 / (rest + 2))
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    model.fit(np.tile(logits, 2)[:, None], np.repeat([1, 0], 300), np.concatenate([target, 1 - target]))
    fitted = calibration.fit(truth, logits)
    assert fitted.slope == pytest.approx(model.coef_[0, 0], rel=1e-4)
    assert fitted.intercept == pytest.approx(model.intercept_[0], rel=1e-4)


def test_rows_that_a_threshold_parts_keep_a_finite_slope():
    truth = np.arange(200) >= 180
    fitted = calibration.fit(truth, np.where(truth, 4.0, -4.0))
    assert fitted.apply([4.0, -4.0]) == pytest.approx([21 / 22, 1 / 182], rel=1e-4)  # Platt's smoothed targets


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_scale_of_the_logits_does_not_matter(scale):
    truth, logits = rows(200, slope=1.0, intercept=0.0)
    plain, scaled = calibration.fit(truth, logits), calibration.fit(truth, scale * logits + scale)
    assert scaled.apply(scale * logits + scale) == pytest.approx(plain.apply(logits), abs=1e-5)


@each(
    ("truth", "logits", "words"),
    [
        ([True, True], [1.0, 2.0], "2 spam and 0 not spam"),
        ([False, False], [1.0, 2.0], "0 spam and 2 not spam"),
        ([], [], "0 spam and 0 not spam"),
        ([True, False], [1.0], "do not match"),
        ([True, False], [np.nan, 1.0], "1 of 2 values are not finite"),
    ],
)
def test_fit_refuses_what_cannot_be_calibrated(truth, logits, words):
    with pytest.raises(DataError, match=words):
        calibration.fit(truth, logits)


@pytest.mark.parametrize(
    ("truth", "logits", "words"),
    [
        ([True, False, True], [5.0, 5.0, 5.0], "same logit"),
        ([False, False, True, True], [2.0, 3.0, -2.0, -3.0], "does not score higher"),
    ],
)
def test_a_model_that_has_learnt_nothing_is_the_answer_no_and_no_fault_of_the_input(truth, logits, words):
    with pytest.raises(NothingLearntError, match=words) as refusal:
        calibration.fit(truth, logits)
    assert refusal.value.exit_code == 3


@given(SLOPES, NUMBERS, st.lists(NUMBERS, min_size=1))
def test_probabilities_rise_with_logits_and_stay_in_bounds(slope, intercept, logits):
    found = Calibration(slope, intercept).apply(sorted(logits))
    assert np.all((found >= 0) & (found <= 1))
    assert np.all(np.diff(found) >= 0)


@given(st.lists(NUMBERS, min_size=2, max_size=40))
def test_a_row_does_not_depend_on_its_neighbours(logits):
    found = Calibration(0.37, -1.1)
    assert found.apply(logits).tolist() == [found.apply([each])[0] for each in logits]


@given(st.floats(-700, 700))
def test_sigmoid_is_symmetric(number):
    assert calibration.sigmoid(number) + calibration.sigmoid(-number) == pytest.approx(1, abs=1e-15)


@given(st.floats(-30, 30))
def test_logit_undoes_sigmoid(number):
    assert calibration.logit(calibration.sigmoid(number)) == pytest.approx(number, abs=2e-3)


def test_sigmoid_and_logit_are_finite_at_the_ends():
    assert calibration.sigmoid([-1e4, 0, 1e4]).tolist() == [0, 0.5, 1]
    assert np.isfinite(calibration.logit([0.0, 1.0])).all()


@given(SLOPES, NUMBERS)
def test_a_calibration_survives_json(slope, intercept):
    kept = Calibration(slope, intercept)
    assert Calibration.from_dict(json.loads(json.dumps(kept.as_dict()))) == kept


@each(
    "fields",
    [
        {},
        {"slope": 1.0},
        {"slope": "1", "intercept": 0.0},
        {"slope": 0.0, "intercept": 0.0},
        {"slope": -1.0, "intercept": 0.0},
        {"slope": float("inf"), "intercept": 0.0},
        {"slope": 1.0, "intercept": float("nan")},
    ],
)
def test_a_damaged_calibration_is_refused(fields):
    with pytest.raises(ArtefactError, match="train again"):
        Calibration.from_dict(fields)


def test_applying_needs_only_numpy():
    program = """if True:
        import sys
        from spamctl.engine.calibration import Calibration
        Calibration(1.0, 0.0).apply([0.5])
        print(sorted({"scipy", "sklearn", "torch", "pandas"} & {name.split(".")[0] for name in sys.modules}))
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_reliability_counts_a_case_done_by_hand():
    truth, p = [False, True, False, True, True, True], [0.1, 0.1, 0.2, 0.2, 0.9, 0.9]
    assert calibration.reliability(truth, p, bins=3) == (
        ReliabilityBin(rows=2, mean_probability=0.1, spam_share=0.5),
        ReliabilityBin(rows=2, mean_probability=0.2, spam_share=0.5),
        ReliabilityBin(rows=2, mean_probability=0.9, spam_share=1.0),
    )


def test_bins_hold_equal_mass():
    p = np.linspace(0, 1, 1000)
    assert [found.rows for found in calibration.reliability(p > 0.5, p)] == [100] * 10


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.2, 0.5, 1.0])), min_size=2, max_size=60))
def test_bins_lose_no_row_and_part_no_tie(pairs):
    truth, p = zip(*((False, 0.0), (True, 1.0), *pairs), strict=True)
    found = calibration.reliability(truth, p)
    assert sum(each.rows for each in found) == len(p)
    assert sum(each.rows * each.spam_share for each in found) == pytest.approx(sum(truth))
    assert len(found) <= len(set(p))


def test_brier_agrees_with_scikit_learn():
    truth, logits = rows(500, slope=1.0, intercept=-1.0)
    p = calibration.sigmoid(logits)
    assert calibration.brier(truth, p) == pytest.approx(brier_score_loss(truth, p))


def test_calibration_error_of_a_case_done_by_hand():
    truth, p = [False, True, False, True, True, True], [0.1, 0.1, 0.2, 0.2, 0.9, 0.9]
    found = calibration.expected_calibration_error(truth, p, [0.15, 0.5])
    assert found == pytest.approx((2 * 0.4 + 2 * 0.3 + 2 * 0.1) / 6)


def test_calibration_error_weighs_each_row_of_a_batch_alone():
    rng = np.random.default_rng(0)
    truth, p = rng.random((4, 5, 60)) < 0.3, rng.random((4, 5, 60))
    edges = calibration.bin_edges(p)
    found = calibration.expected_calibration_error(truth, p, edges)
    alone = [[calibration.expected_calibration_error(truth[i, j], p[i, j], edges) for j in range(5)] for i in range(4)]
    assert found == pytest.approx(np.array(alone))
    assert found.shape == calibration.brier(truth, p).shape == (4, 5)


def test_calibrating_lowers_the_calibration_error_on_new_rows():
    truth, logits = rows(4000, slope=0.3, intercept=-2.0)  # logits that boast
    fitted = calibration.fit(truth[:2000], logits[:2000])
    raw, mended = calibration.sigmoid(logits[2000:]), fitted.apply(logits[2000:])
    before, after = (
        calibration.expected_calibration_error(truth[2000:], p, calibration.bin_edges(p)) for p in (raw, mended)
    )
    assert before > 0.1
    assert after < 0.03
