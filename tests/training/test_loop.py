"""Hold the training loop to its history, to the best epoch, and to going on after it was killed."""

import math
import os
import random
import signal
import subprocess
import sys
import time
from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy_with_logits

from spamctl.errors import DataError
from spamctl.training import loop
from spamctl.training.base_model import load_trunk
from spamctl.training.features import TokenIds
from spamctl.training.loop import (
    Checkpoints,
    Part,
    TrainingConfig,
    fine_tune,
    logits_of,
    mean_loss,
    schedule,
    shuffled_batches,
)
from spamctl.training.model import SpamClassifier
from tests import tiny_models

PLAN = TrainingConfig(epochs=3, batch_size=16, learning_rate=1e-3, patience=3)
STEPS = 3 * 6  # 96 rows of training
LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=200)


def part(messages):
    rows = [tiny_models.tokenizer().encode(message.text) for message in messages]
    return Part(TokenIds(rows), [message.is_spam for message in messages])


TRAIN = part(tiny_models.messages()[:96])
VALIDATION = part(tiny_models.messages()[96:136])


def classifier(folder, tune="last-block"):
    """Return a fresh classifier, always the same, that runs its frozen blocks each time."""
    torch.manual_seed(1)
    fresh = SpamClassifier(load_trunk(folder))
    fresh.prepare(tune)
    fresh.trunk.window(0, fresh.trunk.depth)
    return fresh


def learnt(classifier):
    return {name: weight.detach().clone() for name, weight in classifier.learnt().items()}


def same(weights, others):
    return weights.keys() == others.keys() and all(torch.equal(weights[name], others[name]) for name in weights)


def steps_of(history):
    """Return the optimiser steps of a history, by their numbers."""
    return [progress.step for progress in history if not math.isnan(progress.loss)]


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    """Keep a checkpoint after every step."""
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", -1.0)
    return Checkpoints(tmp_path / "checkpoints")


@pytest.fixture(scope="module")
def uninterrupted(tiny_gpt2, tmp_path_factory):
    """Return the weights of a training that nothing stopped; GPT-2 drops out at random, so chance is in them."""
    trained = classifier(tiny_gpt2)
    list(fine_tune(trained, TRAIN, VALIDATION, PLAN, Checkpoints(tmp_path_factory.mktemp("whole"))))
    return learnt(trained)


def test_a_batch_in_parts_teaches_what_the_whole_batch_does(tiny_llama, tmp_path, monkeypatch):
    weighed = Part(TRAIN.inputs, TRAIN.labels, [1.0 + (row % 3) for row in range(len(TRAIN.labels))])
    found = {}
    for tokens in (10**6, 40):
        monkeypatch.setattr(loop, "TOKENS_AT_ONCE", tokens)
        trained = classifier(tiny_llama)  # Llama drops nothing out: no chance is in it
        history = fine_tune(trained, weighed, VALIDATION, PLAN, Checkpoints(tmp_path / str(tokens)))
        found[tokens] = ([one.loss for one in history if not math.isnan(one.loss)], learnt(trained))
    assert found[40][0] == pytest.approx(found[10**6][0], abs=1e-4)
    for name, weight in found[10**6][1].items():
        assert torch.allclose(found[40][1][name], weight, atol=1e-4)


def test_the_history_of_the_tiny_model_stays(tiny_llama, checkpoints):
    history = list(fine_tune(classifier(tiny_llama, "full"), TRAIN, VALIDATION, PLAN, checkpoints))
    losses = [progress.loss for progress in history if not math.isnan(progress.loss)]
    validation = [progress.validation_loss for progress in history if progress.validation_loss is not None]
    assert steps_of(history) == [*range(1, STEPS + 1)]
    assert (losses[0], losses[5], losses[-1]) == pytest.approx((0.7364, 0.5230, 0.2620), abs=2e-3)
    assert validation == pytest.approx([0.4890, 0.3593, 0.3149], abs=2e-3)


def test_the_epoch_of_least_validation_loss_is_kept(tiny_llama, checkpoints):
    upside_down = Part(VALIDATION.inputs, [not label for label in VALIDATION.labels])  # learning makes it worse
    trained, by_epoch = classifier(tiny_llama), {}
    for progress in fine_tune(trained, TRAIN, upside_down, PLAN, checkpoints):
        if progress.validation_loss is not None:
            by_epoch[progress.validation_loss] = learnt(trained)
    losses = list(by_epoch)
    assert losses == sorted(losses)
    assert len(losses) == 3
    assert same(learnt(trained), by_epoch[losses[0]])
    assert not same(learnt(trained), by_epoch[losses[1]])


@pytest.mark.parametrize("patience", [1, 2])
def test_training_stops_when_it_only_gets_worse(tiny_llama, checkpoints, patience):
    upside_down = Part(VALIDATION.inputs, [not label for label in VALIDATION.labels])
    plan = TrainingConfig(epochs=9, batch_size=16, learning_rate=1e-3, patience=patience)
    history = list(fine_tune(classifier(tiny_llama), TRAIN, upside_down, plan, checkpoints))
    assert history[-1].epoch == 1 + patience


@pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")
def test_training_that_diverges_is_refused(tiny_llama, checkpoints):
    wild = TrainingConfig(epochs=2, batch_size=16, learning_rate=1e30)
    with pytest.raises(DataError, match=r"diverged.*--learning-rate below 1e\+30"):
        list(fine_tune(classifier(tiny_llama), TRAIN, VALIDATION, wild, checkpoints))


@pytest.mark.parametrize(("stop", "behind"), [(1, 0), (7, 6), (8, 6), (20, 17)])
def test_stopped_training_ends_as_if_it_had_not_been(tiny_gpt2, checkpoints, uninterrupted, stop, behind):
    begun = list(islice(fine_tune(classifier(tiny_gpt2), TRAIN, VALIDATION, PLAN, checkpoints), stop))
    known = [(p.epoch, p.step, p.validation_loss) for p in begun if p.validation_loss is not None and p.step <= behind]
    resumed = classifier(tiny_gpt2)
    history = list(fine_tune(resumed, TRAIN, VALIDATION, PLAN, checkpoints))
    assert steps_of(history) == [*range(behind + 1, STEPS + 1)]  # at most one step is done again
    told = [(p.epoch, p.step, p.validation_loss) for p in history if p.validation_loss is not None]
    assert told[: len(known)] == known
    assert [epoch for epoch, _, _ in told] == [1, 2, 3]
    assert [p.note for p in history if p.note] == ([f"fine-tuning goes on from step {behind}"] if behind else [])
    assert same(learnt(resumed), uninterrupted)


def test_a_broken_checkpoint_costs_a_step_and_a_warning(tiny_gpt2, checkpoints, uninterrupted):
    list(islice(fine_tune(classifier(tiny_gpt2), TRAIN, VALIDATION, PLAN, checkpoints), 10))
    newest = max(checkpoints.folder.iterdir())
    newest.write_bytes(newest.read_bytes()[:-9])
    resumed = classifier(tiny_gpt2)
    history = list(fine_tune(resumed, TRAIN, VALIDATION, PLAN, checkpoints))
    assert newest.name in history[0].warning
    assert not any(progress.warning for progress in history[1:])
    assert same(learnt(resumed), uninterrupted)


NURSERY = """
import os, sys
from pathlib import Path
from spamctl.training import loop
from spamctl.training.loop import Checkpoints
from tests.training.test_loop import PLAN, TRAIN, VALIDATION, classifier
loop.CHECKPOINT_EVERY = -1.0
classifier(Path(sys.argv[1]))  # what it imports, no child needs to

def say(line):  # whole, whatever PYTHONUNBUFFERED is: who is killed within a line would leave the rest to the next one
    os.write(sys.stdout.fileno(), f"{line}\\n".encode())

for folder in sys.stdin:
    if child := os.fork():
        say(child)
        os.waitpid(child, 0)
        say("gone")
    else:
        for progress in loop.fine_tune(
            classifier(Path(sys.argv[1])), TRAIN, VALIDATION, PLAN, Checkpoints(Path(folder.strip()))
        ):
            say(f"step {progress.step}")
        os._exit(0)
"""


@pytest.mark.slow
def test_training_killed_at_ten_moments_ends_as_if_it_had_not_been(
    tiny_gpt2, tmp_path, monkeypatch, uninterrupted, pytestconfig
):
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", -1.0)
    dice, skipped = random.Random(0), []
    command = [sys.executable, "-c", NURSERY, str(tiny_gpt2)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=pytestconfig.rootpath
    ) as nursery:
        for moment in range(10):
            folder = tmp_path / str(moment)
            print(folder, file=nursery.stdin, flush=True)
            child = int(nursery.stdout.readline())
            for _ in range(2 * moment + 1):
                assert nursery.stdout.readline().startswith("step")
            time.sleep(dice.uniform(0, 0.02))
            os.kill(child, signal.SIGKILL)
            while nursery.stdout.readline() != "gone\n":
                pass
            resumed = classifier(tiny_gpt2)
            rest = list(fine_tune(resumed, TRAIN, VALIDATION, PLAN, Checkpoints(folder)))
            skipped.append(STEPS - len(steps_of(rest)))
            assert same(learnt(resumed), uninterrupted)
        nursery.stdin.close()
    assert skipped[0] < 6 < skipped[5]  # the later it was killed, the less was done again
    assert skipped == sorted(skipped)


@given(st.integers(1, 500), st.floats(0, 1))
def test_the_rate_climbs_in_a_line_and_falls_in_a_line(steps, warmup_share):
    rates = [schedule(step, steps, warmup_share) for step in range(steps)]
    warmup = max(1, round(steps * warmup_share))
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[:warmup] == pytest.approx([(step + 1) / warmup for step in range(warmup)])
    assert rates[warmup - 1] == 1
    assert rates[warmup:] == pytest.approx([1 - step / (steps - warmup) for step in range(steps - warmup)])


@given(LENGTHS, st.integers(1, 40), st.integers(0, 3))
def test_an_epoch_sees_every_row_once(lengths, batch_size, seed):
    batches = shuffled_batches(lengths, batch_size, seed)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert (
        len(batches)
        == math.ceil(len(lengths) / batch_size)
        == TrainingConfig(epochs=1, batch_size=batch_size).steps(len(lengths))
    )
    assert max(map(len, batches)) <= batch_size
    assert batches == shuffled_batches(lengths, batch_size, seed)


def test_epochs_differ_and_batches_are_of_similar_length():
    lengths = [row * 7919 % 200 + 1 for row in range(1000)]
    first, second = (shuffled_batches(lengths, 10, seed) for seed in (0, 1))
    assert first != second
    padded = sum(len(batch) * max(lengths[row] for row in batch) for batch in first)
    assert padded < 1.15 * sum(lengths)  # batches at random would be padded to almost twice the tokens
    firsts = [lengths[batch[0]] for batch in first]
    assert firsts != sorted(firsts)


def test_logits_are_in_the_order_of_the_rows(tiny_llama):
    model = classifier(tiny_llama)
    logits = logits_of(model, VALIDATION.inputs)
    alone = [model(*VALIDATION.inputs.batch([row])).item() for row in range(40)]
    assert logits.tolist() == pytest.approx(alone, abs=1e-5)
    targets = torch.tensor(VALIDATION.labels, dtype=torch.float)
    assert mean_loss(model, VALIDATION) == pytest.approx(binary_cross_entropy_with_logits(logits, targets).item())


def test_rows_that_count_more_are_learnt_better_and_equal_weights_change_nothing(tiny_llama, checkpoints, tmp_path):
    contrary = [
        not label if row % 4 == 0 else label for row, label in enumerate(TRAIN.labels)
    ]  # a quarter says otherwise
    losses = {}
    for name, weights in (
        ("none", ()),
        ("equal", [3.0] * 96),
        ("heavy", [9.0 if row % 4 == 0 else 1.0 for row in range(96)]),
    ):
        trained = classifier(tiny_llama)
        lesson = Part(TRAIN.inputs, contrary, weights)
        list(fine_tune(trained, lesson, lesson, PLAN, Checkpoints(tmp_path / name)))
        targets = torch.tensor([float(label) for label in contrary])
        each = binary_cross_entropy_with_logits(logits_of(trained, TRAIN.inputs), targets, reduction="none")
        losses[name] = each[::4].mean().item(), each.mean().item()
    assert losses["equal"] == losses["none"]
    assert losses["heavy"][0] < 0.9 * losses["none"][0]
