"""Hold the search for a depth to its sample, and to what the user asked for."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spamctl.errors import DataError
from spamctl.training import features
from spamctl.training.base_model import load_trunk
from spamctl.training.features import draw_sample, find_depth, fixed_depth
from tests import tiny_models
from tests.each import each


def exhaust(ticking):
    """Return every tick of a task, and its outcome."""
    ticks = []
    while True:
        try:
            ticks.append(next(ticking))
        except StopIteration as stop:
            return ticks, stop.value


@given(st.lists(st.booleans(), min_size=1, max_size=400), st.integers(1, 200))
def test_a_sample_keeps_the_proportion_and_repeats_no_row(is_spam, size):
    rows = draw_sample(is_spam, size, seed=0)
    assert rows == sorted(set(rows)) == draw_sample(is_spam, size, seed=0)
    for label in (True, False):
        have, drawn = is_spam.count(label), sum(is_spam[row] is label for row in rows)
        assert drawn == min(have, max(10, round(min(1, size / len(is_spam)) * have)))


def test_another_seed_draws_other_rows():
    is_spam = [row % 5 == 0 for row in range(2000)]
    assert draw_sample(is_spam, 500, seed=0) != draw_sample(is_spam, 500, seed=1)


def test_every_block_is_scored_once_on_a_sample(tiny_llama, messages, monkeypatch):
    monkeypatch.setattr(features, "SAMPLE", 100)
    rows = [tiny_models.tokenizer().encode(message.text) for message in messages]
    is_spam = [message.is_spam for message in messages]
    trunk = load_trunk(tiny_llama)
    ticks, choice = exhaust(find_depth(trunk, rows, is_spam, dtype=torch.float32, seed=0))
    assert [score.block for score in choice.scores] == [1, 2, 3, 4]
    assert (choice.rows, choice.floor) == (100, 1)
    assert max(score.accuracy for score in choice.scores) > 0.9
    for task, total in (("every block, a sample", 100), ("probe each block", 4)):
        done = [tick.done for tick in ticks if tick.task == task]
        assert done == sorted(done)
        assert done[-1] == total == next(tick.total for tick in ticks if tick.task == task)
    again = exhaust(find_depth(trunk, rows, is_spam, dtype=torch.float32, seed=0))[1]
    assert np.allclose([s.log_loss for s in again.scores], [s.log_loss for s in choice.scores])


def test_with_families_no_block_beyond_the_ceiling_is_run(tiny_llama, messages, monkeypatch):
    monkeypatch.setattr(features, "SAMPLE_OF_KINDS", 100)
    monkeypatch.setattr(features, "CEILING_SHARE", 0.5)
    rows = [tiny_models.tokenizer().encode(message.text) for message in messages]
    is_spam, families = [message.is_spam for message in messages], [str(row % 9) for row in range(len(messages))]
    trunk, seen = load_trunk(tiny_llama), []
    for number, block in enumerate(trunk.blocks, start=1):
        block.register_forward_hook(lambda *_, number=number: seen.append(number))
    ticks, choice = exhaust(find_depth(trunk, rows, is_spam, dtype=torch.float32, seed=0, groups=families))
    assert sorted(set(seen)) == [score.block for score in choice.scores] == [1, 2]
    assert choice.floor == 1
    assert [tick.total for tick in ticks if tick.task == "probe each block"] == [2, 2]
    seen.clear()
    trunk(torch.tensor([[1, 2, 3]]))
    assert seen == [1, 2, 3, 4]


@each(("asked", "found"), [("full", 30), ("1", 1), ("9", 9), ("30", 30)])
def test_a_depth_may_be_asked_for(asked, found):
    assert fixed_depth(asked, 30) == found


def test_a_depth_beyond_the_model_is_refused():
    with pytest.raises(DataError, match="--depth 31: this base model has 30 blocks; give 1 to 30, auto or full"):
        fixed_depth("31", 30)
