"""A head with a hidden layer learns what a linear one cannot, the same way each time."""

import numpy as np
import pytest
import torch

from spamctl.training import model
from spamctl.training.model import SpamClassifier, Trunk, pool
from tests import tiny_models


@pytest.fixture(scope="module")
def rows():
    """Return features of which the size of one decides, on either side of its mean: no linear head can learn that."""
    chance = np.random.default_rng(0)
    features = chance.normal(size=(1200, 4)).astype(np.float32) * 3 + 5
    return features, np.abs(features[:, 0] - 5) > 2


def test_it_learns_what_no_linear_head_can(rows):
    features, labels = rows
    found = model.fit_head(features[:1000], labels[:1000], 64, seed=0)
    right = ((model.logits_of(found, features[1000:]) > 0) == labels[1000:]).mean()
    assert right > 0.85


def test_it_is_never_quite_sure_of_what_it_learnt_from():
    chance = np.random.default_rng(0)
    features = chance.normal(size=(400, 4)).astype(np.float32)
    labels = features[:, 0] > 0
    logits = model.logits_of(model.fit_head(features, labels, 64, seed=0), features)
    assert ((logits > 0) == labels).mean() > 0.95
    assert np.median(np.abs(logits)) < 1.5 * np.log(1 / model.SMOOTHING - 1)


def test_a_seed_decides_every_weight(rows):
    features, labels = rows
    first, again, other = (model.fit_head(features[:200], labels[:200], 8, seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["hidden.weight"], other["hidden.weight"])


def test_weights_count(rows):
    features, labels = rows
    flipped = np.concatenate([labels[:300], ~labels[:300]])
    twice = np.concatenate([features[:300], features[:300]])
    found = model.fit_head(twice, flipped, 64, seed=0, weights=[1.0] * 300 + [0.01] * 300)
    assert ((model.logits_of(found, features[:300]) > 0) == labels[:300]).mean() > 0.8


def test_logits_out_of_fold_never_saw_the_group(rows):
    """Labels that follow from the group alone cannot be told of a group that is held out."""
    features = rows[0][:400].copy()
    groups = [str(n // 10) for n in range(400)]
    labels = np.array([int(group) % 2 == 0 for group in groups])
    features[:, 2] = [int(group) for group in groups]  # which names the group
    logits = model.out_of_fold(features, labels, groups, 32, seed=0)
    assert 0.3 < ((logits > 0) == labels).mean() < 0.7


def test_a_classifier_starts_from_it():
    classifier = SpamClassifier(Trunk(tiny_models.causal_model(tiny_models.llama_config()).base_model), 16).eval()
    width = 2 * classifier.trunk.width
    chance = np.random.default_rng(0)
    features = chance.normal(size=(60, width)).astype(np.float32)
    found = model.fit_head(features, features[:, 0] > 0, 16, seed=0)
    classifier.start_hidden(found)
    ids, lengths = torch.tensor([[5, 6, 7], [8, 9, 0]]), torch.tensor([3, 2])
    with torch.inference_mode():
        pooled = pool(classifier.trunk(ids), lengths)
        assert np.allclose(classifier(ids, lengths).numpy(), model.logits_of(found, pooled.numpy()), atol=1e-5)
