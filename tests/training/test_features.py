"""Hold the frozen pass to the blocks that it runs, and its memory to what was put in."""

import tempfile
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from spamctl.training import features
from spamctl.training.base_model import load_trunk
from spamctl.training.features import HiddenStates, TokenIds, frozen_dtype, length_batches, pad_ids
from spamctl.training.model import pool
from tests.each import each

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=60)
ROWS = [[5, 6, 7], [9], [1, 2, 3, 4, 5], [8, 8]]


@pytest.fixture(params=["tiny_gpt2", "tiny_llama"])
def trunk(request):
    return load_trunk(request.getfixturevalue(request.param))


@pytest.fixture(params=["memory", "file"])
def place(request, monkeypatch):
    """Let hidden states live in memory, or in a file."""
    if request.param == "file":
        monkeypatch.setattr(features, "MEMORY_LIMIT", 0)


@given(LENGTHS, st.integers(1, 2000))
def test_batches_hold_every_row_once_within_the_budget(lengths, tokens):
    batches = list(length_batches(lengths, tokens))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or max(lengths[row] for row in batch) * len(batch) <= tokens for batch in batches)
    ordered = [lengths[row] for batch in batches for row in batch]
    assert ordered == sorted(lengths, reverse=True)
    for batch, following in pairwise(batches):  # none could have been fuller
        assert lengths[batch[0]] * (len(batch) + 1) > tokens, following


def test_rows_are_padded_on_the_right():
    ids, lengths = pad_ids(ROWS)
    assert ids.tolist() == [[5, 6, 7, 0, 0], [9, 0, 0, 0, 0], [1, 2, 3, 4, 5], [8, 8, 0, 0, 0]]
    assert lengths.tolist() == [3, 1, 5, 2]
    ids, lengths = TokenIds(ROWS).batch([3, 1])
    assert (ids.tolist(), lengths.tolist()) == ([[8, 8], [9, 0]], [2, 1])


@pytest.mark.usefixtures("place")
@each("dtype", [torch.float32, torch.bfloat16])
def test_hidden_states_come_back_as_they_went_in(dtype):
    lengths = [3, 1, 5]
    kept = HiddenStates(lengths, 4, dtype)
    states = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    kept.put([2, 0, 1], states)
    found, found_lengths = kept.batch([1, 2, 0])
    assert (found.dtype, found_lengths.tolist()) == (torch.float32, [1, 5, 3])
    for row, (source, length) in enumerate([(2, 1), (0, 5), (1, 3)]):
        assert torch.equal(found[row, :length], states[source, :length].float())
        assert not found[row, length:].any()


@each(("rows", "tokens"), [([0], 8), ([1], 16), ([0, 1], 16), ([2], 19), ([1, 2], 19)])
def test_batches_share_their_shapes_and_none_is_longer_than_the_longest_row(rows, tokens):
    states, lengths = HiddenStates([3, 9, 19], 4, torch.float32).batch(rows)
    assert states.shape == (len(rows), tokens, 4)
    assert lengths.tolist() == [[3, 9, 19][row] for row in rows]


def test_a_file_of_hidden_states_has_no_name_that_could_outlive_the_process(monkeypatch, tmp_path):
    monkeypatch.setattr(features, "MEMORY_LIMIT", 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kept = HiddenStates([2], 4, torch.float32)
    kept.put([0], torch.ones(1, 2, 4))
    assert list(tmp_path.iterdir()) == []
    assert kept.batch([0])[0].sum() == 8


@pytest.mark.usefixtures("place")
def test_the_frozen_pass_keeps_what_leaves_its_last_block(trunk):
    kept = HiddenStates([len(row) for row in ROWS], trunk.width, torch.float32)
    done = list(features.frozen_pass(trunk, ROWS, kept, blocks=2, dtype=torch.float32))
    assert done[-1] == len(ROWS)
    trunk.window(0, 2, norm=False)
    for row, ids in enumerate(ROWS):
        found = kept.batch([row])[0][:, : len(ids)]
        assert_close(found, trunk(torch.tensor([ids])).detach(), atol=1e-5, rtol=1e-4)


def test_the_frozen_pass_hands_the_whole_trunk_back(trunk):
    before = trunk(torch.tensor([ROWS[0]]))
    list(
        features.frozen_pass(trunk, ROWS, HiddenStates([3, 1, 5, 2], 32, torch.float32), blocks=1, dtype=torch.float32)
    )
    assert torch.equal(trunk(torch.tensor([ROWS[0]])), before)


def test_sixteen_bits_are_close_to_thirty_two(trunk):
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        kept = HiddenStates([len(row) for row in ROWS], trunk.width, dtype)
        list(features.frozen_pass(trunk, ROWS, kept, blocks=trunk.depth, dtype=dtype))
        found[dtype] = kept.batch(range(len(ROWS)))[0]
    error = (found[torch.bfloat16] - found[torch.float32]).norm() / found[torch.float32].norm()
    assert 0 < error < 0.02


def test_one_pass_gives_the_features_of_every_block(trunk):
    pooled = np.empty((trunk.depth, len(ROWS), 2 * trunk.width), np.float32)
    assert list(features.pooled_by_block(trunk, ROWS, pooled, dtype=torch.float32))[-1] == len(ROWS)
    for block in range(trunk.depth):
        trunk.window(0, block + 1)
        for row, ids in enumerate(ROWS):
            alone = pool(trunk(torch.tensor([ids])), torch.tensor([len(ids)])).detach()
            assert_close(torch.from_numpy(pooled[block, row]), alone[0], atol=1e-4, rtol=1e-4)


def test_features_of_the_first_blocks_alone_are_the_same(trunk):
    whole, first = (np.empty((blocks, len(ROWS), 2 * trunk.width), np.float32) for blocks in (trunk.depth, 1))
    for pooled in (whole, first):
        list(features.pooled_by_block(trunk, ROWS, pooled, dtype=torch.float32))
    assert np.array_equal(first[0], whole[0])


def test_the_precision_is_what_was_asked_for():
    cpu = torch.device("cpu")
    assert frozen_dtype("bf16", cpu) is torch.bfloat16
    assert frozen_dtype("float32", cpu) is torch.float32
    assert (frozen_dtype("auto", cpu) is torch.bfloat16) == features.supports_bfloat16(cpu)


@pytest.mark.parametrize("opening", [0, 2])
@pytest.mark.parametrize("closing", [1, 2, 5])
def test_the_head_reads_the_means_of_all_and_of_the_last_tokens_behind_the_opening(closing, opening):
    states, lengths = torch.randn(3, 6 + opening, 4), [6 + opening, 3 + opening, 1 + opening]
    pooled = pool(states, torch.tensor(lengths), closing, opening)
    for row, length in enumerate(lengths):
        of_all = states[row, opening:length].mean(0)
        of_last = states[row, max(opening, length - closing) : length].mean(0)
        assert_close(pooled[row], torch.cat([of_all, of_last]))


def test_one_pass_pools_what_leaves_the_last_block(trunk):
    trunk.closing = 2
    pooled = np.empty((len(ROWS), 2 * trunk.width), np.float32)
    assert list(features.pooled_pass(trunk, ROWS, pooled, dtype=torch.float32))[-1] == len(ROWS)
    for row, ids in enumerate(ROWS):
        alone = pool(trunk(torch.tensor([ids])), torch.tensor([len(ids)]), 2).detach()
        assert_close(torch.from_numpy(pooled[row]), alone[0], atol=1e-4, rtol=1e-4)


def test_a_sample_of_a_long_row_ends_as_the_row_does():
    long = list(range(300))
    sampled = features._both_ends(long)
    assert len(sampled) == features.SAMPLE_TOKENS
    assert sampled[:40] == long[:40]
    assert sampled[-24:] == long[-24:]
    assert features._both_ends(long[:64]) == long[:64]
