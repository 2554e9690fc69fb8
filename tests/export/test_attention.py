"""The attention of exports is the attention of the models, whatever they share, cap or leave out of sight."""

import math

import pytest

from spamctl.export import openvino as export
from spamctl.export.openvino import EAGER, FOLDED, folded, register
from spamctl.training.model import SpamClassifier, Trunk
from tests import tiny_models
from tests.each import each


def by_hand(query, key, value, *, scaling, window, softcap):
    """Return causal attention (B, T, H, S), one number after the other."""
    import torch

    (rows, heads, tokens, width), shared = query.shape, key.shape[1]
    out = torch.zeros(rows, tokens, heads, width)
    for row in range(rows):
        for head in range(heads):
            own = head // (heads // shared)
            for place in range(tokens):
                seen = [other for other in range(place + 1) if window is None or place - other < window]
                scores = [float(query[row, head, place] @ key[row, own, other]) * scaling for other in seen]
                if softcap:
                    scores = [softcap * math.tanh(score / softcap) for score in scores]
                total = sum(map(math.exp, scores))
                for score, other in zip(scores, seen, strict=True):
                    out[row, place, head] += math.exp(score) / total * value[row, own, other]
    return out


@each("shared", [1, 2, 4])
@each(("window", "softcap", "scaling"), [(None, None, None), (3, None, 0.3), (None, 2.0, 1.0)])
def test_it_is_what_arithmetic_says(shared, window, softcap, scaling):
    import torch

    random = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, heads, 7, 8, generator=random) for heads in (4, shared, shared))
    means = {"scaling": scaling, "sliding_window": window, "softcap": softcap, "dropout": 0.0}
    found, weights = folded(torch.nn.Identity(), query, key, value, None, **means)
    expected = by_hand(query, key, value, scaling=scaling or 8**-0.5, window=window, softcap=softcap)
    assert weights is None
    assert torch.allclose(found, expected, atol=1e-5)


def mistral():
    """Return the configuration of a model each of whose tokens sees the last five."""
    from transformers import MistralConfig

    return MistralConfig(**tiny_models.llama_config().to_diff_dict() | {"sliding_window": 5, "head_dim": 8})


def gemma():
    """Return the configuration of a model that caps its scores and lets every other block see the last five tokens."""
    from transformers import Gemma2Config

    own = {"sliding_window": 5, "head_dim": 8, "attn_logit_softcapping": 0.5, "query_pre_attn_scalar": 4}
    return Gemma2Config(**tiny_models.llama_config().to_diff_dict() | own)


@each("config", [tiny_models.gpt2_config, tiny_models.llama_config, mistral, gemma])
def test_a_model_computes_the_same_with_it(config):
    import torch

    trunk = Trunk(tiny_models.causal_model(config()).base_model)
    ids = torch.arange(40).reshape(2, 20) + 1
    register()
    with torch.inference_mode():
        trunk.model.set_attn_implementation(EAGER)
        expected = trunk(ids)
        trunk.model.set_attn_implementation(FOLDED)
        found = trunk(ids)
    assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.slow
@each("config", [tiny_models.gpt2_config, tiny_models.llama_config, mistral, gemma])
def test_it_is_what_is_exported(config):
    assert export.traced(SpamClassifier(Trunk(tiny_models.causal_model(config()).base_model)), FOLDED) is not None


def bloom():
    """Return the configuration of a model that has a bias by distance, in an attention of its own."""
    from transformers import BloomConfig

    return BloomConfig(vocab_size=384, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.2)


def scores_as_torch_does(classifier):
    """Export a classifier, and compare what both make of rows of other lengths."""
    import openvino
    import torch

    compiled = openvino.Core().compile_model(export.to_openvino(classifier), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    ids, lengths = torch.arange(60).reshape(3, 20) + 1, torch.tensor([20, 3, 11])
    with torch.inference_mode():
        expected = classifier(ids, lengths).numpy()
    return compiled({"input_ids": ids.numpy(), "lengths": lengths.numpy()})[0] == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow
def test_a_model_with_an_attention_of_its_own_is_exported():
    assert scores_as_torch_does(SpamClassifier(Trunk(tiny_models.causal_model(bloom()).base_model)))


@pytest.mark.slow
def test_a_model_that_means_something_else_keeps_its_own(monkeypatch):
    from transformers import AttentionInterface

    def other(*given, **options):
        return 2 * folded(*given, **options)[0], None

    monkeypatch.setattr(export, "register", lambda: AttentionInterface.register(FOLDED, other))
    classifier = SpamClassifier(Trunk(tiny_models.causal_model(tiny_models.llama_config()).base_model))
    assert export.traced(classifier, FOLDED) is None
    assert scores_as_torch_does(classifier)
