"""Hold fine-tuning, from token rows to learnt bytes, to learning, to its seed, and to coming back."""

from dataclasses import replace
from itertools import groupby

import numpy as np
import pytest
import torch
from safetensors.torch import load
from torch.testing import assert_close

from spamctl.training import features, fine_tune
from spamctl.training.base_model import load_trunk
from spamctl.training.features import TokenIds, supports_bfloat16
from spamctl.training.fine_tune import Recipe, Training, TrainingSet, restore, thinned, tune
from spamctl.training.loop import Checkpoints, TrainingConfig, logits_of
from spamctl.training.model import SpamClassifier
from tests import tiny_models
from tests.ticks import told

PLAN = TrainingConfig(epochs=2, batch_size=16, learning_rate=1e-3, patience=2)
HOW = ["head", "last-block", "lora", "full"]


def rows_of(messages):
    return [tiny_models.tokenizer().encode(message.text) for message in messages], [m.is_spam for m in messages]


LESSON = TrainingSet(*rows_of(tiny_models.messages()[:96]), *rows_of(tiny_models.messages()[96:128]))
TEST, TEST_IS_SPAM = rows_of(tiny_models.messages()[128:])


def recipe(how, dtype=torch.float32, plan=PLAN):
    return Recipe(how, lora_rank=2, plan=plan, frozen_dtype=dtype)


def classifier(folder):
    """Return a fresh classifier of 3 blocks; chance decides its head, which training must not notice."""
    trunk = load_trunk(folder)
    trunk.cut(3)
    return SpamClassifier(trunk)


def run(model, recipe, folder):
    """Tune a classifier to the end; return every tick, the learnt bytes and the history."""
    ticks, end = told(tune(model, LESSON, recipe, Checkpoints(folder)))
    return ticks, *end


@pytest.fixture(params=["tiny_gpt2", "tiny_llama"])
def model_folder(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(
    ("model", "how"),
    [("tiny_gpt2", how) for how in HOW] + [pytest.param("tiny_llama", how, marks=pytest.mark.slow) for how in HOW],
)
def test_what_was_learnt_comes_back_in_a_fresh_classifier(model, how, tmp_path, request):
    model_folder = request.getfixturevalue(model)
    trained = classifier(model_folder)
    _, learnt, history = run(trained, recipe(how), tmp_path)
    fresh = classifier(model_folder)
    restore(fresh, how, 2, learnt)
    trained.trunk.window(0, 3)
    assert not any("lora" in name for name, _ in fresh.named_modules())
    logits = logits_of(fresh, TokenIds(TEST))
    assert_close(logits, logits_of(trained, TokenIds(TEST)), atol=1e-4, rtol=1e-4)
    accuracy = ((logits > 0) == torch.tensor(TEST_IS_SPAM)).float().mean()
    assert accuracy > 0.8
    assert [step for step, _ in history.training] == [*range(1, history.steps + 1)]
    assert [step for step, _ in history.validation] == [6, 12]
    assert min(loss for _, loss in history.validation) < 0.4


@pytest.mark.parametrize("how", ["head", "last-block", "lora", pytest.param("full", marks=pytest.mark.slow)])
def test_a_seed_decides_every_weight(tiny_gpt2, tmp_path, how):
    """GPT-2 drops out, adapters start at random: chance is everywhere."""
    first, again = (run(classifier(tiny_gpt2), recipe(how), tmp_path / name)[1] for name in "ab")
    assert first == again
    if how != "head":  # its frozen features leave only the order of the batches to chance
        other = TrainingConfig(epochs=2, batch_size=16, learning_rate=1e-3, patience=2, seed=1)
        assert run(classifier(tiny_gpt2), recipe(how, plan=other), tmp_path / "c")[1] != first


def test_the_cache_may_live_in_a_file(tiny_llama, tmp_path, monkeypatch):
    in_memory = run(classifier(tiny_llama), recipe("last-block"), tmp_path / "memory")[1]
    monkeypatch.setattr(features, "MEMORY_LIMIT", 0)
    assert run(classifier(tiny_llama), recipe("last-block"), tmp_path / "file")[1] == in_memory


@pytest.mark.parametrize(
    ("how", "most", "attention"), [("last-block", 2**21, "eager"), ("last-block", 0, "sdpa"), ("full", 2**21, "sdpa")]
)
def test_attention_at_once_learns_the_same_where_it_fits(tiny_llama, tmp_path, monkeypatch, how, most, attention):
    monkeypatch.setattr(fine_tune, "MOST_SCORES", most)
    model, fused = classifier(tiny_llama), classifier(tiny_llama)
    learnt = load(run(model, recipe(how), tmp_path / "this")[1])
    assert model.trunk.model.config._attn_implementation == attention
    monkeypatch.setattr(fine_tune, "MOST_SCORES", 0)
    assert_close(learnt, load(run(fused, recipe(how), tmp_path / "fused")[1]), atol=1e-3, rtol=1e-2)


@pytest.mark.skipif(not supports_bfloat16(torch.device("cpu")), reason="this CPU has no bfloat16")
def test_a_frozen_pass_in_sixteen_bits_learns_as_well(model_folder, tmp_path):
    losses = {}
    for dtype in (torch.float32, torch.bfloat16):
        history = run(classifier(model_folder), recipe("last-block", dtype), tmp_path / str(dtype))[2]
        losses[dtype] = [loss for _, loss in history.validation]
    assert losses[torch.bfloat16] == pytest.approx(losses[torch.float32], abs=0.02)
    assert losses[torch.bfloat16] != losses[torch.float32]


@pytest.mark.parametrize(
    ("how", "tasks"),
    [
        (
            "last-block",
            ["frozen blocks, training", "frozen blocks, validation", "features of the probe", "head", "fine-tuning"],
        ),
        ("full", ["features of the probe", "head", "fine-tuning"]),
    ],
)
def test_every_task_tells_its_progress_to_the_end(tiny_llama, tmp_path, how, tasks):
    ticks, _, history = run(classifier(tiny_llama), recipe(how), tmp_path)
    assert [task for task, _ in groupby(ticks, key=lambda tick: tick.task)] == tasks
    for _, group in groupby(ticks, key=lambda tick: tick.task):
        done = [(tick.done, tick.total) for tick in group]
        assert done == sorted(done)
        assert done[-1][0] == done[-1][1]
    losses = [tick.progress.validation_loss for tick in ticks if isinstance(tick, Training)]
    assert [loss for loss in losses if loss is not None] == [loss for _, loss in history.validation]


def test_training_starts_from_the_probe(tiny_llama, tmp_path):
    still = TrainingConfig(epochs=1, batch_size=16, learning_rate=1e-12, patience=1)
    trained = classifier(tiny_llama)
    run(trained, recipe("last-block", plan=still), tmp_path)
    trained.trunk.window(0, 3)
    logits = logits_of(trained, TokenIds(LESSON.train))
    assert ((logits > 0) == torch.tensor(LESSON.train_is_spam)).float().mean() > 0.95


def test_a_hidden_head_keeps_its_fit(tiny_llama, tmp_path):
    """With the trunk frozen there is nothing to learn beyond what the head was fitted to."""
    learnt = []
    for name, plan in (("a", PLAN), ("b", TrainingConfig(epochs=9, learning_rate=1.0))):
        trunk = load_trunk(tiny_llama)
        trunk.cut(3)
        model = SpamClassifier(trunk, units=16)
        _, found, history = run(model, recipe("head", plan=plan), tmp_path / name)
        learnt.append(found)
        trunk.window(0, 3)
        assert ((logits_of(model, TokenIds(TEST)) > 0) == torch.tensor(TEST_IS_SPAM)).float().mean() > 0.8
        assert (history.training, len(history.validation), history.validation[0][0]) == ([], 1, 0)
    assert learnt[0] == learnt[1]


def test_a_hidden_head_learns_from_the_features_that_it_is_given(tiny_llama, tmp_path):
    trunk = load_trunk(tiny_llama)
    trunk.cut(3)
    asked = []

    def features(rows, task):
        yield from ()
        asked.append((task, len(rows)))
        return np.array([[len(ids), *[0.0] * (2 * trunk.width - 1)] for ids in rows], np.float32)

    model = SpamClassifier(trunk, units=4)
    ticks, learnt, _ = run(model, replace(recipe("head"), features=features), tmp_path)
    assert asked == [("frozen blocks, training", 96), ("frozen blocks, validation", 32)]
    assert {tick.task for tick in ticks} == {"head"}  # PyTorch computed nothing
    assert load(learnt)["hidden.weight"].shape == (4, 2 * trunk.width)


@pytest.mark.parametrize("rows", [0, 1, 1200, 1201, 3731, 24_000])
def test_early_stopping_rests_on_a_sample_of_many_rows(rows):
    found = thinned(range(rows))
    assert len(found) == rows if rows <= fine_tune.STOPPING_ROWS else 600 < len(found) <= fine_tune.STOPPING_ROWS
    assert found == sorted(set(found))
    assert not rows or (found[0] == 0 and found[-1] > 0.99 * (rows - 1) - 1)


def test_a_broken_checkpoint_is_told(tiny_llama, tmp_path):
    (tmp_path / "step-00000003.safetensors").write_bytes(b"")
    ticks, _, history = run(classifier(tiny_llama), recipe("head"), tmp_path)
    warnings = [tick.progress.warning for tick in ticks if isinstance(tick, Training) and tick.progress.warning]
    assert [warning.split()[1] for warning in warnings] == ["step-00000003.safetensors"]
    assert len(history.training) == history.steps


def test_finished_training_is_not_done_again(tiny_llama, tmp_path):
    _, learnt, first = run(classifier(tiny_llama), recipe("last-block"), tmp_path)
    _, again, history = run(classifier(tiny_llama), recipe("last-block"), tmp_path)
    assert again == learnt
    assert history.training == []
    assert history.validation == first.validation  # what was found out before is told again
    assert len(history.validation) == 2
