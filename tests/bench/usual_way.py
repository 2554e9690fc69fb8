"""Fine-tune GPT-2 124M to the same epoch in the usual way and in ours, and compare the seconds.

The usual way is a well-known exercise: as many messages that are not spam as are, 70/10/20, every message padded to the
longest, batches of 8, 5 epochs of AdamW on the last block, the final norm and a new head that reads the last place of
the row; every step runs all 12 blocks in float32, and losses are looked at every 50 steps. Ours trains the same weights
on the same tokens. Random weights will do: only time is measured. Beside both stands what `spamctl train` does by
itself where no hub is within reach: the bundled model, with real weights, cut to the depth that it finds first.
"""

# B rows of a batch, T tokens

from __future__ import annotations

import math
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from measuring import say, seconds_each, table
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2Model

from spamctl.data.corpus import CorpusRequest, read_corpus
from spamctl.data.split import split
from spamctl.progress import ProgressGenerator, ProgressUpdate
from spamctl.schema.message import Split, to_rows
from spamctl.training.base_model import BUNDLED, BaseModel, find_base_model
from spamctl.training.features import find_depth
from spamctl.training.fine_tune import Recipe, Training, TrainingSet, Workbench, open_workbench, tune
from spamctl.training.loop import Checkpoints, TrainingConfig

EPOCHS, BATCH_SIZE = 5, 8
LOOK_EVERY, LOOK_BATCHES = 50, 5  # losses of 5 batches of two parts every 50 steps, and accuracy after each epoch
MAX_TOKENS = 256
PAD = 50256  # GPT-2's end-of-text token
Outcome = TypeVar("Outcome")
STEPS, LOOKS = "training steps", "losses and checkpoints"


@dataclass(frozen=True, slots=True)
class Exercise:
    """Hold what both ways start from: the saved model, where it runs, the messages as tokens, epochs, steps to time."""

    folder: Path
    device: str
    lesson: TrainingSet
    epochs: int
    timed_steps: int


def show(threads: int, *, device: str, quick: bool) -> None:
    """Print a table of both ways."""
    messages = read_corpus(CorpusRequest())
    parts = split(messages.messages, "undersample")
    with tempfile.TemporaryDirectory(prefix="spamctl-bench-") as scratch:
        bench = workbench(save_gpt2(Path(scratch)), threads, device)
        exercise = Exercise(Path(scratch), device, lesson(bench, parts), EPOCHS, 20)
        if quick:
            exercise = shortened(exercise)
        print(f"\nGPT-2 124M to {exercise.epochs} epochs{on(device)}: {described(exercise, parts, messages.origin)}\n")
        columns = {"the usual way": usual_way(exercise)}
        say("spamctl, a little to warm up")
        our_way(shortened(exercise), threads, BATCH_SIZE)
        for size in (TrainingConfig().batch_size, BATCH_SIZE):
            say(f"spamctl, batches of {size}")
            columns[f"spamctl, batches of {size}"] = our_way(exercise, threads, size)
    say("spamctl as it comes")
    columns["spamctl as it comes"], kept = as_it_comes(exercise, parts, threads, quick=quick)
    print(compared(columns))
    steps = exercise.epochs * steps_an_epoch(exercise)
    print(
        f"\nThe usual way costs the same in every step: {exercise.timed_steps} were timed, and the median counts for "
        f"all {steps}.\nOurs was run whole. As it comes: {kept}, batches of {TrainingConfig().batch_size}."
    )


def save_gpt2(folder: Path) -> Path:
    """Save GPT-2 124M with random weights, without dropout as in the exercise, beside a tokenizer of this machine."""
    torch.manual_seed(0)
    GPT2Model(GPT2Config(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)).save_pretrained(folder)
    for file in find_base_model(BUNDLED, "none").folder.glob("tokenizer*.json"):
        shutil.copy(file, folder)
    return folder


def on(device: str) -> str:
    """Name a GPU, in the heading of a table."""
    return f" on one {torch.cuda.get_device_name()}" if device == "cuda" else ""


def workbench(folder: Path, threads: int, device: str) -> Workbench:
    """Open the saved model as `spamctl train` does."""
    base_model = BaseModel("gpt2", "gpt2", "random weights", folder)
    return open_workbench(base_model, max_tokens=MAX_TOKENS, device=device, threads=threads)


def lesson(bench: Workbench, parts: Split) -> TrainingSet:
    """Return the messages of two parts as token ids and labels."""
    train, validation = ([row.ids for row in bench.tokenize(to_rows(part))] for part in (parts.train, parts.validation))
    return TrainingSet(train, [m.is_spam for m in parts.train], validation, [m.is_spam for m in parts.validation])


def shortened(exercise: Exercise) -> Exercise:
    """Leave next to nothing of an exercise."""
    whole = exercise.lesson
    few = TrainingSet(whole.train[:48], whole.train_is_spam[:48], whole.validation[:16], whole.validation_is_spam[:16])
    return replace(exercise, lesson=few, epochs=2, timed_steps=2)


def described(exercise: Exercise, parts: Split, origin: str) -> str:
    """Say which messages are learnt from."""
    lengths = [len(row) for row in exercise.lesson.train]
    count = sum(map(len, (parts.train, parts.validation, parts.test)))
    return (
        f"{count:,} messages, half of them spam,\n{len(lengths)} of them to learn from, "
        f"of {statistics.mean(lengths):.0f} tokens in the mean and {max(lengths)} at most;\n{origin}"
    )


class UsualClassifier(nn.Module):
    """Classify a padded row by what GPT-2 says at its last place."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.body = GPT2Model.from_pretrained(folder, dtype=torch.float32)
        self.body.requires_grad_(requires_grad=False)
        for part in (self.body.h[-1], self.body.ln_f):
            part.requires_grad_(requires_grad=True)
        self.head = nn.Linear(self.body.config.hidden_size, 2)

    def forward(self, ids: Tensor) -> Tensor:
        """Return logits of both labels (B, 2) for token ids (B, T)."""
        states = self.body(input_ids=ids, use_cache=False).last_hidden_state  # (B, T, D)
        return self.head(states[:, -1])  # type: ignore[no-any-return]  # (B, 2)


def usual_way(exercise: Exercise) -> dict[str, float]:
    """Return the seconds of training and of looking at losses, from the median of a few steps."""
    torch.manual_seed(0)
    classifier = UsualClassifier(exercise.folder).to(exercise.device).train()
    optimizer = torch.optim.AdamW([w for w in classifier.parameters() if w.requires_grad], lr=5e-5, weight_decay=0.1)
    batches = padded_batches(exercise.lesson)

    def loss() -> Tensor:
        ids, labels = next(batches)
        return cross_entropy(classifier(ids.to(exercise.device)), labels.to(exercise.device))

    def step() -> None:
        optimizer.zero_grad()
        now = loss()
        now.backward()
        optimizer.step()
        now.item()  # waits for a GPU

    @torch.no_grad()
    def look() -> None:
        loss().item()

    say(f"the usual way: {exercise.timed_steps} steps of {steps_an_epoch(exercise) * exercise.epochs}")
    per_step = statistics.median(seconds_each(step, repeats=exercise.timed_steps, warm_up=3))
    per_look = statistics.median(seconds_each(look, repeats=max(2, exercise.timed_steps // 2)))
    steps = exercise.epochs * steps_an_epoch(exercise)
    looks = 2 * LOOK_BATCHES * (math.ceil(steps / LOOK_EVERY) + exercise.epochs)
    return {STEPS: steps * per_step, LOOKS: looks * per_look}


def steps_an_epoch(exercise: Exercise) -> int:
    """Count the whole batches in the messages to learn from."""
    return len(exercise.lesson.train) // BATCH_SIZE


def padded_batches(lesson: TrainingSet) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield shuffled batches of token ids (B, T), all padded to the longest message, and labels (B,), for ever."""
    longest = max(map(len, lesson.train))
    ids = torch.tensor([[*row, *[PAD] * (longest - len(row))] for row in lesson.train])
    labels = torch.tensor(lesson.train_is_spam, dtype=torch.long)
    while True:
        for rows in torch.randperm(len(ids)).split(BATCH_SIZE):
            if len(rows) == BATCH_SIZE:
                yield ids[rows], labels[rows]


def our_way(exercise: Exercise, threads: int, batch_size: int) -> dict[str, float]:
    """Return the seconds of each part of our fine-tuning, run whole."""
    bench = workbench(exercise.folder, threads, exercise.device)
    return tuned(bench, bench.trunk.depth, exercise, batch_size)


def as_it_comes(exercise: Exercise, parts: Split, threads: int, *, quick: bool) -> tuple[dict[str, float], str]:
    """Return the seconds of each part with the bundled model, the choice of its depth among them, and what was kept."""
    found = find_base_model(BUNDLED, "none")
    bench = open_workbench(found, max_tokens=MAX_TOKENS, device=exercise.device, threads=threads)
    blocks, own = bench.trunk.depth, replace(exercise, lesson=lesson(bench, parts))
    if quick:
        own = shortened(own)
    rows, is_spam = own.lesson.train, own.lesson.train_is_spam
    seconds, choice = seconds_by_part(find_depth(bench.trunk, rows, is_spam, dtype=bench.dtype, seed=0))
    seconds |= tuned(bench, choice.depth, own, TrainingConfig().batch_size)
    return seconds, f"{found.name}, cut to {choice.depth} of {blocks} blocks by what they are worth"


def tuned(bench: Workbench, depth: int, exercise: Exercise, batch_size: int) -> dict[str, float]:
    """Return the seconds of each part of fine-tuning so many blocks."""
    plan = TrainingConfig(
        epochs=exercise.epochs, batch_size=batch_size, patience=exercise.epochs
    )  # the last epoch may stop it
    recipe = Recipe("last-block", 0, plan, bench.dtype)
    with tempfile.TemporaryDirectory(prefix="spamctl-bench-") as scratch:
        training = tune(bench.classifier(depth), exercise.lesson, recipe, Checkpoints(Path(scratch)))
        return seconds_by_part(training)[0]


def seconds_by_part(training: ProgressGenerator[Outcome]) -> tuple[dict[str, float], Outcome]:
    """Run something long to its end; return its seconds shared out by what it tells, and what it ends with."""
    seconds: dict[str, float] = defaultdict(float)
    before = time.perf_counter()
    while True:
        try:
            tick = next(training)
        except StopIteration as end:
            outcome: Outcome = end.value
            return seconds, outcome
        now = time.perf_counter()
        seconds[part_of(tick)] += now - before
        before = now


def part_of(tick: ProgressUpdate) -> str:
    """Name the part of training that a tick ends."""
    if not isinstance(tick, Training):
        return tick.task
    return LOOKS if tick.progress and tick.progress.validation_loss is not None else STEPS


def compared(columns: dict[str, dict[str, float]]) -> str:
    """Return a table of the parts of each way, their sum, and how many times faster than the first way that is."""
    parts = dict.fromkeys(part for column in reversed(columns.values()) for part in column)
    rows = [[part, *(seconds(column.get(part)) for column in columns.values())] for part in parts]
    whole = [sum(column.values()) for column in columns.values()]
    without = [total - column[LOOKS] for total, column in zip(whole, columns.values(), strict=True)]
    rows += [
        ["all", *map(seconds, whole)],
        ["times faster", *times(whole)],
        ["all but losses and checkpoints", *map(seconds, without)],
        ["times faster, but for these", *times(without)],
    ]
    return table(["", *columns], rows)


def seconds(value: float | None) -> str:
    """Write seconds."""
    return "–" if value is None else f"{value:,.1f} s"


def times(wholes: Sequence[float]) -> list[str]:
    """Say how many times less each is than the first."""
    return [f"{wholes[0] / whole:.1f}x" for whole in wholes]
