"""A training in several processes learns what one process learns."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, load_file
from torch.testing import assert_close

from spamctl.errors import DataError
from spamctl.training import workers
from spamctl.training.base_model import BaseModel
from spamctl.training.fine_tune import Recipe, TrainingSet, open_workbench, tune
from spamctl.training.loop import Checkpoints, TrainingConfig
from spamctl.training.torchrun import TuneJob, tune_in_processes
from tests import tiny_models
from tests.training.gradients import gradients

pytestmark = pytest.mark.slow

PLAN = TrainingConfig(epochs=2, batch_size=16, learning_rate=1e-3, patience=2)


def rows_of(messages):
    return [tiny_models.tokenizer().encode(message.text) for message in messages], [m.is_spam for m in messages]


LESSON = TrainingSet(*rows_of(tiny_models.messages()[:96]), *rows_of(tiny_models.messages()[96:129]))


def job_of(folder, checkpoints, **changes):
    job = TuneJob(
        base_model=str(folder),
        max_tokens=64,
        depth=3,
        units=0,
        tune="last-block",
        lora_rank=2,
        precision="float32",
        device="cpu",
        threads=1,
        checkpoints=str(checkpoints),
        plan=PLAN,
        lesson=LESSON,
    )
    return replace(job, **changes)


def result_of(training):
    """Return what a training returned, and the ticks that it yielded."""
    ticks = []
    while True:
        try:
            ticks.append(next(training))
        except StopIteration as end:
            return end.value, ticks


def test_one_process_has_every_row_and_nothing_to_add():
    assert workers.own([3, 1, 2]) == [3, 1, 2]
    values = torch.tensor([1.0, 2.0])
    assert torch.equal(workers.add_up(values), torch.tensor([1.0, 2.0]))
    assert (workers.count(), workers.rank()) == (1, 0)


def test_the_gradients_of_two_processes_are_those_of_one(tiny_llama, tmp_path):
    out = tmp_path / "gradients.safetensors"
    script = Path(__file__).with_name("gradients.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    path = os.pathsep.join(filter(None, [str(script.parents[2]), os.environ.get("PYTHONPATH")]))
    subprocess.run([*command, script, tiny_llama, out], check=True, env=os.environ | {"PYTHONPATH": path}, timeout=500)
    both = load_file(out)
    loss, alone = gradients(tiny_llama)
    assert float(both.pop("loss")) == pytest.approx(loss, abs=1e-5)
    assert both.keys() == alone.keys()
    assert max(gradient.abs().max() for gradient in alone.values()) > 0.01
    for name, gradient in alone.items():
        assert_close(both[name], gradient, atol=1e-5, rtol=0)


@pytest.mark.parametrize("how", ["last-block", pytest.param("full", marks=pytest.mark.long)])
def test_two_processes_learn_what_one_learns(tiny_llama, tmp_path, how, monkeypatch):
    bench = open_workbench(BaseModel("tiny", "tiny", "folder", tiny_llama), max_tokens=64, device="cpu", threads=1)
    recipe = Recipe(how, 2, PLAN, torch.float32)
    (alone, expected), _ = result_of(tune(bench.classifier(3), LESSON, recipe, Checkpoints(tmp_path / "one")))
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])))
    job = job_of(tiny_llama, tmp_path / "two", tune=how)
    (both, history), ticks = result_of(tune_in_processes(job, 2))
    assert [step for step, _ in history.training] == [step for step, _ in expected.training]
    assert [loss for _, loss in history.training] == pytest.approx([loss for _, loss in expected.training], abs=1e-4)
    assert [loss for _, loss in history.validation] == pytest.approx(
        [loss for _, loss in expected.validation], abs=1e-4
    )
    for name, weight in load(alone).items():
        assert_close(load(both)[name], weight, atol=1e-3, rtol=0)
    assert {tick.task for tick in ticks} >= {"fine-tuning", "features of the probe"}
    assert list((tmp_path / "two").glob("step-*"))  # which one of them wrote


def test_what_a_process_refuses_is_refused(tiny_llama, tmp_path, monkeypatch):
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])))
    with pytest.raises(DataError, match=r"^--max-tokens 100000: .* reads at most 512$"):
        list(tune_in_processes(job_of(tiny_llama, tmp_path, max_tokens=100_000), 2))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_each_process_takes_a_gpu_of_its_own(tiny_llama, tmp_path):
    with pytest.raises(DataError, match=r"^--processes 2: each takes a GPU of its own, and PyTorch sees 0 here$"):
        list(tune_in_processes(job_of(tiny_llama, tmp_path, device="cuda"), 2))
