"""Hold the choice of depth to its rule, and the probe to scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.preprocessing import StandardScaler

from spamctl.errors import DataError
from spamctl.schema.train import BlockScore
from spamctl.training.probe import FOLDS, STRENGTH, choose_depth, fit_probe, score_blocks
from tests.each import each

LOSSES = st.lists(st.tuples(st.floats(0, 5), st.floats(0, 1)), min_size=1, max_size=40)


def scores(*losses, error=0.02):
    """Return a score for each block, from the first on."""
    return [BlockScore(block, loss, error, 0.9) for block, loss in enumerate(losses, start=1)]


def features(rows=120, columns=6, seed=0):
    """Return features of very different scales, and labels that some of them tell."""
    rng = np.random.default_rng(seed)
    standard = rng.normal(size=(rows, columns)).astype(np.float32)
    labels = standard[:, 0] + 0.5 * standard[:, 1] + rng.normal(scale=0.5, size=rows) > 0.8
    return standard * np.logspace(-2, 2, columns, dtype=np.float32) + 3, labels


@each(
    ("losses", "depth"),
    [
        ((0.50, 0.40, 0.31, 0.30, 0.31, 0.30, 0.33, 0.40), 3),  # block 3 is within .02 of block 4
        ((0.50, 0.40, 0.33, 0.30, 0.31, 0.30, 0.33, 0.40), 4),  # block 3 no longer is
        ((0.10, 0.40, 0.33, 0.30, 0.31, 0.30, 0.33, 0.40), 4),  # block 1 lies beneath the floor and sets no bar
        ((0.30, 0.30, 0.30, 0.30, 0.30, 0.30, 0.30, 0.30), 2),  # the floor
        ((0.90, 0.80, 0.70, 0.60, 0.50, 0.40, 0.30, 0.20), 8),
    ],
)
def test_the_shallowest_block_within_one_standard_error_is_chosen(losses, depth):
    choice = choose_depth(scores(*losses), rows=500)
    assert (choice.depth, choice.floor, choice.rows) == (depth, 2, 500)
    assert choice.scores == tuple(scores(*losses))


@each(("blocks", "floor"), [(1, 1), (2, 1), (3, 1), (4, 1), (12, 3), (30, 7), (48, 12)])
def test_a_quarter_of_the_blocks_is_always_kept(blocks, floor):
    choice = choose_depth(scores(*[0.3] * blocks), rows=10)
    assert choice.floor == choice.depth == floor


def test_the_floor_is_a_share_of_all_blocks_where_some_were_not_scored():
    assert choose_depth(scores(*[0.3] * 12), rows=10, blocks=30).floor == 7


@given(LOSSES)
def test_a_depth_is_always_found(losses):
    choice = choose_depth([BlockScore(b, *loss, accuracy=0.5) for b, loss in enumerate(losses, start=1)], rows=10)
    assert choice.floor <= choice.depth <= len(losses)
    shallower = [s for s in choice.scores if choice.floor <= s.block < choice.depth]
    chosen = choice.scores[choice.depth - 1]
    assert all(score.log_loss > chosen.log_loss for score in shallower)


def test_a_block_is_scored_as_scikit_learn_would():
    pooled, labels = features()
    noise = np.random.default_rng(1).normal(size=pooled.shape).astype(np.float32)
    found = list(score_blocks(np.stack([noise, pooled]), labels, seed=3))

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=3)
    probe = LogisticRegression(C=STRENGTH, max_iter=1000)
    spam = cross_val_predict(probe, StandardScaler().fit_transform(pooled), labels, cv=folds, method="predict_proba")
    losses = -np.log(np.where(labels, spam[:, 1], spam[:, 0]))
    assert [score.block for score in found] == [1, 2]
    assert found[1].log_loss == pytest.approx(losses.mean(), abs=1e-4)
    assert found[1].standard_error == pytest.approx(losses.std(ddof=1) / np.sqrt(len(labels)), abs=1e-4)
    assert found[1].accuracy == pytest.approx(((spam[:, 1] >= 0.5) == labels).mean())
    assert found[0].log_loss > found[1].log_loss + found[1].standard_error


def test_more_features_than_rows_are_scored_too():
    pooled, labels = features(rows=30, columns=200)
    assert np.isfinite([score.log_loss for score in score_blocks(pooled[None], labels, seed=0)]).all()


def test_too_few_of_a_class_are_refused():
    pooled, _ = features()
    labels = np.arange(120) < FOLDS - 1
    with pytest.raises(DataError, match="needs 5 training rows of each class, found 4; give --depth a number"):
        next(score_blocks(pooled[None], labels, seed=0))


def test_the_probe_is_folded_into_unscaled_features():
    pooled, labels = features()
    weights, bias = fit_probe(pooled, labels)
    scaler = StandardScaler().fit(pooled)
    probe = LogisticRegression(C=STRENGTH, max_iter=1000).fit(scaler.transform(pooled), labels)
    assert weights.dtype == np.float32
    assert pooled @ weights + bias == pytest.approx(probe.decision_function(scaler.transform(pooled)), abs=2e-3)
    assert ((pooled @ weights + bias > 0) == labels).mean() > 0.8


def test_a_feature_that_never_changes_has_no_say():
    pooled, labels = features()
    pooled[:, 2] = 7.0
    weights, bias = fit_probe(pooled, labels)
    assert np.isfinite([*weights, bias]).all()
    assert abs(weights[2]) < 1e-3


def test_a_row_of_weight_three_counts_as_three_rows():
    pooled, labels = features()
    weights = np.where(np.arange(len(labels)) < 20, 3.0, 1.0)
    found, bias = fit_probe(pooled, labels, weights.tolist())
    scaler = StandardScaler().fit(pooled)
    rows = np.repeat(np.arange(len(labels)), weights.astype(int))
    probe = LogisticRegression(C=STRENGTH, max_iter=1000).fit(scaler.transform(pooled[rows]), labels[rows])
    assert pooled @ found + bias == pytest.approx(probe.decision_function(scaler.transform(pooled)), abs=2e-3)
    assert not np.allclose(found, fit_probe(pooled, labels)[0], atol=1e-3)
