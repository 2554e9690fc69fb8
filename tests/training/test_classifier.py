"""Hold the classifier to the laws: padding changes nothing, and only what was named learns."""

import copy

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.testing import assert_close

from spamctl.training.base_model import load_trunk
from spamctl.training.features import HiddenStates, frozen_pass, pad_ids
from spamctl.training.model import SpamClassifier, labels_tensor

ROWS = [[5, 6, 7], [9], [1, 2, 3, 4, 5, 6, 7, 8], [8, 8]]
LABELS = [True, False, False, True]


@pytest.fixture(params=["tiny_gpt2", "tiny_llama"])
def classifier(request):
    torch.manual_seed(0)
    return SpamClassifier(load_trunk(request.getfixturevalue(request.param)))


def gradients(classifier, inputs, lengths):
    """Return the gradient of the loss by the name of each weight that learns."""
    loss = binary_cross_entropy_with_logits(classifier(inputs, lengths), labels_tensor(LABELS, range(4), "cpu"))
    loss.backward()
    return {name: weight.grad for name, weight in classifier.learnt().items()}


@torch.no_grad()
def test_neither_padding_nor_neighbours_change_a_logit(classifier):
    ids, lengths = pad_ids(ROWS)
    together = classifier(ids, lengths)
    alone = torch.cat([classifier(*pad_ids([row])) for row in ROWS])
    to_the_window = classifier(torch.nn.functional.pad(ids, (0, 512 - ids.shape[1])), lengths)
    backwards = classifier(ids.flip(0), lengths.flip(0)).flip(0)
    for logits in (alone, to_the_window, backwards):
        assert_close(logits, together, atol=1e-5, rtol=0)
    assert together.std() > 0.01


@pytest.mark.parametrize("tune", ["head", "last-block"])
def test_cached_training_has_the_gradients_of_uncached(classifier, tune):
    classifier.trunk.cut(3)
    uncached = copy.deepcopy(classifier)
    blocks = classifier.prepare(tune)
    kept = HiddenStates([len(row) for row in ROWS], classifier.trunk.width, torch.float32)
    list(frozen_pass(classifier.trunk, ROWS, kept, blocks=blocks, dtype=torch.float32))
    classifier.trunk.window(blocks, 3)
    found = gradients(classifier, *kept.batch(range(4)))

    uncached.prepare(tune)
    uncached.trunk.window(0, 3)
    expected = gradients(uncached, *pad_ids(ROWS))
    assert len(found) == len(expected)
    for gradient, same in zip(found.values(), expected.values(), strict=True):
        assert_close(gradient, same, atol=1e-6, rtol=1e-4)
        assert gradient.any()


@pytest.mark.parametrize("tune", ["head", "last-block", "lora", "full"])
def test_only_what_was_named_learns(classifier, tune):
    trunk = classifier.trunk
    head, norm = {id(w) for w in classifier.head.parameters()}, {id(w) for w in trunk.final_norm.parameters()}
    last = {id(weight) for weight in trunk.blocks[-1].parameters()}
    everything = {id(weight) for weight in classifier.parameters()}
    blocks = classifier.prepare(tune)
    trunk.window(0, trunk.depth)
    learns = {id(weight) for weight in classifier.learnt().values()}
    assert blocks == {"head": trunk.depth, "last-block": trunk.depth - 1}.get(tune, 0)
    if tune == "lora":
        assert learns & everything == head | norm
        adapters = [name for name in classifier.learnt() if "lora_" in name]
        assert {name.rpartition(".lora_")[0] for name in adapters} == {name for name, _ in adapted(classifier)}
    else:
        assert learns == {"head": head, "last-block": head | norm | last, "full": everything}[tune]


def adapted(classifier):
    """Return every layer of the blocks that multiplies by a matrix."""
    return [(name, m) for name, m in classifier.named_modules() if hasattr(m, "lora_A")]


def test_gradients_reach_everything_that_learns(classifier):
    classifier.prepare("lora", lora_rank=2)
    assert all(gradient is not None for gradient in gradients(classifier, *pad_ids(ROWS)).values())
    frozen = [w for name, w in classifier.named_parameters() if name not in classifier.learnt()]
    assert frozen
    assert all(weight.grad is None for weight in frozen)


def test_folded_adapters_give_the_same_verdicts(classifier):
    with torch.no_grad():
        before = classifier(*pad_ids(ROWS))
    classifier.prepare("lora", lora_rank=2)
    blocks = classifier.trunk.depth
    assert len(adapted(classifier)) == {3: 3 * 4, 4: 4 * 7}[blocks]  # GPT-2 has 4 matrices a block, Llama 7
    with torch.no_grad():
        assert_close(classifier(*pad_ids(ROWS)), before)  # an adapter starts as nothing
        for name, weight in classifier.learnt().items():
            if "lora_" in name:
                weight.normal_(std=0.3)
        adapted_logits = classifier(*pad_ids(ROWS))
        classifier.merge_lora()
        merged = classifier(*pad_ids(ROWS))
    assert not adapted(classifier)
    assert not [name for name, _ in classifier.named_parameters() if "lora_" in name]
    assert (adapted_logits - before).abs().max() > 0.01
    assert_close(merged, adapted_logits, atol=1e-4, rtol=1e-4)


def test_learnt_weights_are_put_back_by_name(classifier):
    classifier.prepare("last-block")
    learnt = {name: weight.detach().clone() for name, weight in classifier.learnt().items()}
    with torch.no_grad():
        for weight in classifier.learnt().values():
            weight.zero_()
    classifier.restore(learnt)
    assert all(torch.equal(weight, learnt[name]) for name, weight in classifier.learnt().items())
    with pytest.raises(KeyError):
        classifier.restore({"trunk.nothing": torch.zeros(1)})


@torch.no_grad()
def test_the_head_starts_from_a_probe(classifier):
    weights = np.arange(64, dtype=np.float32)
    classifier.start_head(weights, -3.0)
    assert classifier.head(torch.ones(1, 64)).item() == weights.sum() - 3
