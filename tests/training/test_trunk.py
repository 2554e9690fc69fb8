"""Hold the trunk to the hidden states of the model that it was made from, whatever its architecture."""

import pytest
import torch
import transformers
from torch.testing import assert_close

from spamctl.errors import DataError
from spamctl.training.model import Trunk, pool
from tests import tiny_models
from tests.each import each

HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}
SIZE = {"num_hidden_layers": 4, "hidden_size": 32, "intermediate_size": 64, "max_position_embeddings": 64, **HEADS}
LOUD = {"initializer_range": 0.2}  # weights large enough for a block to matter

MODELS = {
    "gpt2": tiny_models.gpt2_config,
    "llama": tiny_models.llama_config,
    "qwen2": lambda: transformers.Qwen2Config(
        **SIZE, **LOUD, vocab_size=99, use_sliding_window=True, sliding_window=4, max_window_layers=2
    ),
    "gemma2": lambda: transformers.Gemma2Config(**SIZE, **LOUD, vocab_size=99, head_dim=8, sliding_window=4),
    "opt": lambda: transformers.OPTConfig(
        num_hidden_layers=4, hidden_size=32, ffn_dim=64, num_attention_heads=4, vocab_size=99, word_embed_proj_dim=32
    ),
    "gpt-neox": lambda: transformers.GPTNeoXConfig(**SIZE, **LOUD, vocab_size=99),
    "bloom": lambda: transformers.BloomConfig(n_layer=4, hidden_size=32, n_head=4, vocab_size=99, **LOUD),
    "lfm2": lambda: transformers.Lfm2Config(
        **SIZE, **LOUD, vocab_size=99, layer_types=["conv", "full_attention", "conv", "full_attention"]
    ),
}

SMALL = {"num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "vocab_size": 99}
NO_TRUNKS = {
    "BertEncoder has no final norm": lambda: transformers.BertConfig(**SMALL),
    "ModernBertModel looks ahead": lambda: transformers.ModernBertConfig(**SMALL, pad_token_id=0, **LOUD),
    "T5Model has an encoder": lambda: transformers.T5Config(
        num_layers=2, d_model=32, d_ff=64, num_heads=4, d_kv=8, vocab_size=99
    ),
    "CTRLModel does not run block by block": lambda: transformers.CTRLConfig(
        n_layer=2, n_embd=32, n_head=4, dff=64, n_positions=64, vocab_size=99
    ),
}


def base(config):
    """Return a model without its language-model head, with random weights."""
    torch.manual_seed(0)
    return transformers.AutoModel.from_config(config, dtype=torch.float32).eval()


@pytest.fixture(params=MODELS)
def model(request):
    return base(MODELS[request.param]())


@pytest.fixture
def ids():
    return torch.randint(1, 99, (2, 11), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def states(model, ids):
    """Return what enters each block, and what the model ends in, before the trunk touches it."""
    with torch.no_grad():
        found = model(input_ids=ids, output_hidden_states=True, use_cache=False)
    return [*found.hidden_states[:-1], found.last_hidden_state]


@torch.no_grad()
def test_every_window_shows_the_models_own_hidden_states(model, ids, states):
    trunk = Trunk(model)
    trunk.check()
    assert trunk.width == states[0].shape[-1]
    assert_close(trunk(ids), states[-1])
    for first in range(trunk.depth):
        trunk.window(0, first, norm=False)
        assert_close(trunk(ids), states[first])
        trunk.window(first, trunk.depth)
        assert_close(trunk(states[first]), states[-1])


@torch.no_grad()
def test_a_tail_goes_on_exactly_where_the_first_blocks_end(model, ids):
    trunk = Trunk(model)
    whole = trunk(ids)
    for border in range(trunk.depth + 1):  # GPT-2 would add its position embeddings a second time
        trunk.window(0, border, norm=False)
        half = trunk(ids)
        trunk.window(border, trunk.depth)
        assert torch.equal(trunk(half), whole)


@torch.no_grad()
def test_a_cut_trunk_ends_in_the_norm_of_its_last_block(model, ids, states):
    trunk = Trunk(model)
    trunk.cut(3)
    assert trunk.depth == 3
    assert_close(trunk(ids), trunk.final_norm(states[3]))
    for depth in (0, 4):
        with pytest.raises(DataError, match=f"--depth {depth}: this model has 3 blocks"):
            trunk.cut(depth)


@torch.no_grad()
def test_every_block_can_be_watched_in_one_pass(model, ids, states):
    trunk = Trunk(model)
    with trunk.watching() as seen:
        trunk(ids)
    trunk(ids)
    assert len(seen) == trunk.depth
    for left, entered in zip(seen[:-1], states[1:-1], strict=True):
        assert_close(left, entered)
    assert_close(trunk.final_norm(seen[-1]), states[-1])


@torch.no_grad()
def test_padding_on_the_right_is_never_seen(model, ids):
    trunk = Trunk(model)
    for pad in (0, 7):
        padded = torch.nn.functional.pad(ids, (0, 40), value=pad)
        assert_close(trunk(padded)[:, :11], trunk(ids), atol=1e-5, rtol=0)


@each("refusal", NO_TRUNKS)
def test_what_is_no_decoder_is_refused(refusal):
    with pytest.raises(DataError, match=refusal):
        Trunk(base(NO_TRUNKS[refusal]())).check()


def test_weights_that_are_no_numbers_are_refused():
    model = base(tiny_models.gpt2_config())
    with torch.no_grad():
        model.h[1].mlp.c_fc.weight[0, 0] = torch.nan
    with pytest.raises(DataError, match="give no numbers"):
        Trunk(model).check()


def test_pooling_by_hand():
    hidden_states = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [5.0, 1.0]], [[4.0, 8.0], [99.0, 99.0], [99.0, 99.0]]])
    pooled = pool(hidden_states, torch.tensor([3, 1]))
    assert pooled.tolist() == [[3.0, 3.0, 5.0, 1.0], [4.0, 8.0, 4.0, 8.0]]
