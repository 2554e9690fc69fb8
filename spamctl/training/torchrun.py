"""Fine-tune in several processes that torchrun starts: `python -m spamctl.training.torchrun FOLDER` is one."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import distributed

from spamctl import folders
from spamctl.errors import DataError, SpamctlError
from spamctl.progress import ProgressGenerator
from spamctl.schema.codec import from_json, to_json
from spamctl.training import workers
from spamctl.training.base_model import find_base_model
from spamctl.training.fine_tune import History, Recipe, Training, TrainingSet, open_workbench, tune
from spamctl.training.loop import Checkpoints, TrainingConfig
from spamctl.training.model import Tune

JOB, LEARNT, HISTORY = "job.json", "learnt.safetensors", "history.json"
TICK, REFUSAL = "tick ", "refusal "  # beginnings of the lines that the first process writes, before their JSON
STOP_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneJob:
    """All that a process needs to take part in a fine-tuning, as plain values."""

    base_model: str
    max_tokens: int
    depth: int
    units: int
    tune: Tune
    lora_rank: int
    precision: str
    device: str
    threads: int
    checkpoints: str
    plan: TrainingConfig
    lesson: TrainingSet
    prompt: str = ""  # whose last tokens the head reads


def tune_in_processes(job: TuneJob, processes: int) -> ProgressGenerator[tuple[bytes, History]]:
    """Train as `fine_tune.tune` does, in several processes; yield progress, and return weights and losses.

    Each computes the gradients of its rows of a batch; added up, they are those of one process. On GPUs each process
    has one of its own. Raises DataError for what a process refuses, SpamctlError if one ends without a reason.
    """
    gpus = torch.cuda.device_count() if job.device != "cpu" else 0
    if (gpus or job.device == "cuda") and processes > gpus:
        raise DataError(f"--processes {processes}: each takes a GPU of its own, and PyTorch sees {gpus} here")
    with folders.temporary_folder("torchrun") as folder:
        (folder / JOB).write_text(json.dumps(to_json(job)), encoding="utf-8")
        yield from _ticks(folder, processes)
        history = from_json(History, json.loads((folder / HISTORY).read_text(encoding="utf-8")))
        return (folder / LEARNT).read_bytes(), history


def _ticks(folder: Path, processes: int) -> Iterator[Training]:
    """Run torchrun and yield what its first process tells, to the end."""
    # By this interpreter: `torchrun` and `python` on PATH may be another's.
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command += ["-m", "spamctl.training.torchrun", str(folder)]
    refusal, last = "", "no reason given"
    with _ending(
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    ) as child:
        for line in child.stdout or ():
            if line.startswith(TICK):
                yield from_json(Training, json.loads(line.removeprefix(TICK)))
            elif line.startswith(REFUSAL):
                refusal = str(json.loads(line.removeprefix(REFUSAL)))
            elif "Error" in line:
                last = line.strip()
        code = child.wait()
    if refusal:
        raise DataError(refusal)
    if code:
        raise SpamctlError(f"one of {processes} training processes ended with exit code {code}: {last}")


@contextlib.contextmanager
def _ending(child: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Yield a child process; where the block is left early, torchrun ends its processes with it."""
    try:
        yield child
    finally:
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()
        child.communicate()


def main(place: str) -> None:
    """Take part in the fine-tuning of a job's folder; the first process tells progress and writes the result."""
    folder = Path(place)
    job = from_json(TuneJob, json.loads((folder / JOB).read_text(encoding="utf-8")))
    on_gpu = job.device != "cpu" and torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("nccl" if on_gpu else "gloo")
    try:
        learnt, history = _told(_training(job))
        if workers.rank() == 0:
            (folder / LEARNT).write_bytes(learnt)
            (folder / HISTORY).write_text(json.dumps(to_json(history)), encoding="utf-8")
    except DataError as refusal:  # which every process meets
        _tell(REFUSAL, str(refusal))
        raise SystemExit(refusal.exit_code) from None
    finally:
        distributed.destroy_process_group()


def _told(training: ProgressGenerator[tuple[bytes, History]]) -> tuple[bytes, History]:
    """Report each tick of a training, and return its result."""
    while True:
        try:
            _tell(TICK, to_json(next(training)))
        except StopIteration as end:
            result: tuple[bytes, History] = end.value
            return result


def _training(job: TuneJob) -> ProgressGenerator[tuple[bytes, History]]:
    """Open the base model as the flow's step does, and fine-tune it."""
    bench = open_workbench(
        find_base_model(job.base_model, "none"),
        max_tokens=job.max_tokens,
        device=job.device,
        threads=job.threads,
        precision=job.precision,
        prompt=job.prompt,
    )
    recipe = Recipe(job.tune, job.lora_rank, job.plan, bench.dtype)
    return (
        yield from tune(bench.classifier(job.depth, job.units), job.lesson, recipe, Checkpoints(Path(job.checkpoints)))
    )


def _tell(kind: str, value: object) -> None:
    """Write a line for the process that started torchrun; only the first of ours does."""
    if workers.rank() == 0:
        print(f"{kind}{json.dumps(value)}", flush=True)  # noqa: T201 - its parent reads it


if __name__ == "__main__":
    main(sys.argv[1])
