"""Hold training on a GPU to what the processor learns, and to coming back on either."""

from pathlib import Path

import openvino
import pytest
import torch
from safetensors.torch import load
from torch.testing import assert_close

from spamctl.export import openvino as export
from spamctl.training.base_model import BaseModel
from spamctl.training.features import HiddenStates, TokenIds, frozen_pass, pad_ids
from spamctl.training.fine_tune import Recipe, Training, TrainingSet, open_workbench, restore, tune
from spamctl.training.loop import Checkpoints, TrainingConfig, logits_of
from spamctl.training.torchrun import TuneJob, tune_in_processes
from tests import tiny_models

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU; PyTorch sees none here")

PLAN = TrainingConfig(epochs=2, batch_size=16, learning_rate=1e-3, patience=2)


def rows_of(messages):
    return [tiny_models.tokenizer().encode(message.text) for message in messages], [m.is_spam for m in messages]


LESSON = TrainingSet(*rows_of(tiny_models.messages()[:96]), *rows_of(tiny_models.messages()[96:128]))
TEST, TEST_IS_SPAM = rows_of(tiny_models.messages()[128:])


def bench_on(device, folder):
    return open_workbench(BaseModel("tiny", "tiny", "folder", folder), max_tokens=64, device=device)


def ticks_of(model, recipe, folder):
    """Tune a classifier; yield every tick, and then what it learnt."""
    yield (yield from tune(model, LESSON, recipe, Checkpoints(folder)))


def outcome_of(training):
    """Yield every tick of a training, and then its result."""
    yield (yield from training)


def recipe(how, dtype=torch.float32):
    return Recipe(how, lora_rank=2, plan=PLAN, frozen_dtype=dtype)


@pytest.fixture(params=["tiny_gpt2", "tiny_llama"])
def model_folder(request):
    return request.getfixturevalue(request.param)


def test_a_gpu_is_taken_where_there_is_one(tiny_llama):
    assert bench_on("auto", tiny_llama).device.type == "cuda"
    assert bench_on("cpu", tiny_llama).device.type == "cpu"


def test_frozen_blocks_say_the_same_on_both(model_folder):
    said = []
    for device in ("cpu", "cuda"):
        trunk = bench_on(device, model_folder).trunk
        states = HiddenStates([len(row) for row in TEST], trunk.width, torch.float32)
        for _ in frozen_pass(trunk, TEST, states, blocks=2, dtype=torch.float32):
            pass
        said.append(states.batch(range(len(TEST)))[0])
    assert_close(said[1], said[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("how", ["head", "last-block", "lora", "full"])
def test_what_a_gpu_learnt_comes_back_on_the_processor_and_in_the_engine(model_folder, how, dtype, tmp_path):
    trained = bench_on("cuda", model_folder).classifier(3)
    *_, (learnt, history) = ticks_of(trained, recipe(how, dtype), tmp_path)
    fresh = bench_on("cpu", model_folder).classifier(3)
    restore(fresh, how, 2, learnt)
    trained.trunk.window(0, 3)
    logits = logits_of(fresh, TokenIds(TEST))
    assert_close(logits, logits_of(trained, TokenIds(TEST)), atol=1e-3, rtol=1e-3)
    assert ((logits > 0) == torch.tensor(TEST_IS_SPAM)).float().mean() > 0.8
    assert min(loss for _, loss in history.validation) < 0.4
    on_gpu = bench_on("cuda", model_folder).classifier(3)
    restore(on_gpu, how, 2, learnt)
    engine = openvino.Core().compile_model(
        export.to_openvino(on_gpu), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )  # some processors would take bf16
    ids, lengths = pad_ids(TEST)
    answer = engine({"input_ids": ids.numpy(), "lengths": lengths.numpy()})["logits"]
    assert_close(torch.from_numpy(answer), logits, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("how", ["last-block", "lora"])
def test_a_killed_training_goes_on_as_if_it_had_not_been(tiny_gpt2, how, tmp_path):
    """GPT-2 drops out, by the GPU's own random numbers."""
    *_, (whole, _) = ticks_of(bench_on("cuda", tiny_gpt2).classifier(3), recipe(how), tmp_path / "whole")
    for tick in ticks_of(bench_on("cuda", tiny_gpt2).classifier(3), recipe(how), tmp_path / "killed"):
        if isinstance(tick, Training) and tick.progress.validation_loss is not None:
            break  # a checkpoint lies there since the end of this epoch
    *_, (resumed, history) = ticks_of(bench_on("cuda", tiny_gpt2).classifier(3), recipe(how), tmp_path / "killed")
    assert len(history.training) == 6
    weights = []
    for learnt in (whole, resumed):
        model = bench_on("cpu", tiny_gpt2).classifier(3)
        restore(model, how, 2, learnt)
        weights.append(model.state_dict())
    for name, weight in weights[0].items():
        assert_close(weights[1][name], weight, atol=1e-6, rtol=1e-5)


def test_a_process_on_each_gpu_learns_what_the_processor_learns(tiny_llama, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    *_, (alone, _) = ticks_of(bench_on("cpu", tiny_llama).classifier(3), recipe("last-block"), tmp_path / "cpu")
    job = TuneJob(
        base_model=str(tiny_llama),
        max_tokens=64,
        depth=3,
        units=0,
        tune="last-block",
        lora_rank=2,
        precision="float32",
        device="cuda",
        threads=1,
        checkpoints=str(tmp_path / "gpus"),
        plan=PLAN,
        lesson=LESSON,
    )
    *_, (learnt, _) = outcome_of(tune_in_processes(job, torch.cuda.device_count()))
    for name, weight in load(alone).items():
        assert_close(load(learnt)[name], weight, atol=1e-2, rtol=0)
