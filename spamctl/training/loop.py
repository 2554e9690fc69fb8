"""Fine-tune a classifier: the training loop, top to bottom, with its checkpoints."""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from spamctl import __version__
from spamctl.errors import DataError
from spamctl.training import workers
from spamctl.training.features import HiddenStates, TokenIds, length_batches
from spamctl.training.model import SpamClassifier, labels_tensor

# Save checkpoints of fine-tuning, so that a killed run resumes from its last complete step.

KEEP = 2  # the newest, and one to fall back on if the newest is broken


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """State from which fine-tuning resumes: tensors by name, and its position as plain JSON values."""

    tensors: dict[str, Tensor]
    place: dict[str, object]


class Checkpoints:
    """Folder of checkpoints, written atomically, whose newest intact one is read back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, step: int, checkpoint: Checkpoint) -> None:
        """Write a checkpoint beside its final name, force it to disk, then rename it; drop the oldest.

        Of several processes, whose weights are equal, the first does.
        """
        if workers.rank():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"step-{step:08d}.safetensors"
        scratch = path.with_suffix(f".{os.getpid()}.part")
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
        place = json.dumps(checkpoint.place)
        save_file(tensors, scratch, {"place": place, "sha256": _digest(tensors, place)})
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        scratch.replace(path)
        for old in self._paths()[KEEP:]:
            old.unlink(missing_ok=True)

    def newest(self) -> Iterator[Checkpoint | str]:
        """Yield a warning for each broken checkpoint, newest first, then the first whole one, if there is one."""
        for path in self._paths():
            try:
                checkpoint = _read(path)
            except (SafetensorError, OSError, ValueError, KeyError) as error:
                yield f"checkpoint {path.name} is broken ({type(error).__name__}) and is skipped"
                continue
            yield checkpoint
            return

    def clear(self) -> None:
        """Remove every checkpoint, and the partial files of killed runs, once fine-tuning is over."""
        if self.folder.is_dir():
            shutil.rmtree(self.folder)

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.safetensors"), reverse=True)


def checkpoint_folder(*facts: object) -> Path:
    """Return where a training keeps its checkpoints: named by all that decides its outcome."""
    name = hashlib.sha256(json.dumps([__version__, *facts], sort_keys=True).encode()).hexdigest()
    return Path(".spamctl", "checkpoints", name[:16])


def _read(path: Path) -> Checkpoint:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
    if _digest(tensors, metadata["place"]) != metadata["sha256"]:
        raise ValueError("it does not hold what was written")
    return Checkpoint(tensors, json.loads(metadata["place"]))


def _digest(tensors: dict[str, Tensor], place: str) -> str:
    digest = hashlib.sha256(place.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


# B rows of a batch


CHECKPOINT_EVERY = 30.0  # seconds
TOKENS_AT_ONCE = 4096  # of a batch: what a block keeps for the way back takes some 150 KB a token
WEIGHT_DECAY = 0.01
WARMUP_SHARE = 0.1  # of the steps, in which the rate climbs
POOL_OF_BATCHES = 16  # rows of this many batches are drawn at random, then sorted by length within


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Hyperparameters of the training loop: epochs, batch size, AdamW's rates, early stopping, bfloat16 or not."""

    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 5e-5
    patience: int = 1
    seed: int = 0
    bfloat16: bool = False

    def steps(self, rows: int) -> int:
        """Count the optimiser steps of all epochs over `rows` training rows."""
        return self.epochs * self.steps_per_epoch(rows)

    def steps_per_epoch(self, rows: int) -> int:
        """Count the optimiser steps of one epoch over `rows` training rows."""
        return math.ceil(rows / self.batch_size)


@dataclass(frozen=True, slots=True)
class Part:
    """Rows ready for the classifier, their labels, and their weights where they differ."""

    inputs: HiddenStates | TokenIds
    labels: Sequence[bool]
    weights: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a training; losses are in nats per row, `validation_loss` is set at the end of an epoch only."""

    epoch: int
    step: int
    steps: int
    loss: float
    validation_loss: float | None = None
    note: str = ""
    warning: str = ""


@dataclass
class _State:
    """State that a checkpoint restores besides the weights."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best_loss: float = math.inf
    bad_epochs: int = 0
    losses: list[float] = field(default_factory=list)  # of validation, an epoch each
    best: dict[str, Tensor] = field(default_factory=dict)


def fine_tune(  # long: a training loop is read top to bottom
    classifier: SpamClassifier, train: Part, validation: Part, plan: TrainingConfig, checkpoints: Checkpoints
) -> Iterator[Progress]:
    """Train the unfrozen weights; yield Progress; end with the weights of the epoch of least validation loss.

    Labels are 1 for spam; the loss is binary cross-entropy at the natural prior, each row of `train` times its share of
    the weights, so that their mean leaves the learning rate what it is; AdamW (Loshchilov and Hutter 2019)
    with linear warm-up and decay. If `checkpoints` holds a whole checkpoint, training goes on from there.
    Raises DataError if no epoch ends with a finite validation loss.
    """
    weights = list(classifier.learnt().values())
    optimizer = torch.optim.AdamW(weights, lr=plan.learning_rate, weight_decay=WEIGHT_DECAY, fused=True)
    steps = plan.steps(len(train.labels))
    shares = _shares(train)
    torch.manual_seed(plan.seed + workers.rank())  # each drops out at random by itself
    state = _State()
    for found in checkpoints.newest():
        if isinstance(found, Checkpoint):
            state = _resume(found, classifier, optimizer)
            yield Progress(state.epoch, state.step, steps, math.nan, note=f"fine-tuning goes on from step {state.step}")
            for epoch, past in enumerate(state.losses, start=1):
                yield Progress(epoch, epoch * plan.steps_per_epoch(len(train.labels)), steps, math.nan, past)
        else:
            yield Progress(0, 0, steps, math.nan, warning=found)
    saved = time.monotonic()

    while state.epoch < plan.epochs and state.bad_epochs < plan.patience:
        batches = shuffled_batches(train.inputs.lengths.tolist(), plan.batch_size, plan.seed + state.epoch)
        classifier.train()
        for rows in batches[state.batch :]:
            parts = _parts(
                workers.own(rows), train.inputs.lengths
            )  # whose gradients add up to those of the whole batch
            loss = sum(_backward(classifier, train, part, len(rows), shares, plan) for part in parts)
            loss = workers.add_gradients(weights, loss)
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            rate = schedule(state.step, steps)
            for group in optimizer.param_groups:
                group["lr"] = plan.learning_rate * rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            state.step += 1
            state.batch += 1
            yield Progress(state.epoch + 1, state.step, steps, loss)
            if time.monotonic() - saved > CHECKPOINT_EVERY:
                checkpoints.save(state.step, _checkpoint(classifier, optimizer, state))
                saved = time.monotonic()

        validation_loss = mean_loss(classifier, validation)
        state.epoch, state.batch = state.epoch + 1, 0
        state.losses.append(validation_loss)
        if validation_loss < state.best_loss:
            state.best_loss, state.bad_epochs = validation_loss, 0
            state.best = {name: weight.detach().clone() for name, weight in classifier.learnt().items()}
        else:
            state.bad_epochs += 1
        checkpoints.save(state.step, _checkpoint(classifier, optimizer, state))
        yield Progress(state.epoch, state.step, steps, math.nan, validation_loss)

    if not state.best:
        raise DataError(
            f"training diverged: no epoch had a finite loss; give a --learning-rate below {plan.learning_rate:g}"
        )
    classifier.restore(state.best)


def shuffled_batches(lengths: Sequence[int], batch_size: int, seed: int) -> list[list[int]]:
    """Return every row once, in random batches of similar length: shuffle, sort within pools, shuffle the batches."""
    shuffle = random.Random(seed)
    rows = list(range(len(lengths)))
    shuffle.shuffle(rows)
    size = batch_size * POOL_OF_BATCHES
    pools = (sorted(rows[i : i + size], key=lambda row: lengths[row]) for i in range(0, len(rows), size))
    ordered = [row for pool in pools for row in pool]
    batches = [ordered[i : i + batch_size] for i in range(0, len(ordered), batch_size)]
    shuffle.shuffle(batches)
    return batches


def _backward(
    classifier: SpamClassifier, train: Part, rows: Sequence[int], of: int, shares: Tensor | None, plan: TrainingConfig
) -> float:
    """Add the gradients of what some rows of a batch `of` so many add to its mean loss; return that, in nats."""
    device = classifier.head.weight.device
    inputs, lengths = train.inputs.batch(rows, device)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=plan.bfloat16):
        hidden_states = classifier.trunk(inputs)  # (B, T, D)
    logits = classifier.judge(hidden_states.float(), lengths)  # (B,)
    weight = None if shares is None else shares[rows].to(device)  # (B,)
    truth = labels_tensor(train.labels, rows, device)
    loss = binary_cross_entropy_with_logits(logits, truth, weight, reduction="sum") / of
    loss.backward()
    return float(loss.detach())


def _parts(rows: Sequence[int], lengths: Tensor) -> list[Sequence[int]]:
    """Divide a batch so that no part has more than TOKENS_AT_ONCE with padding, except a row that is longer alone."""
    if not rows:
        return []
    size = max(1, TOKENS_AT_ONCE // int(lengths[list(rows)].max()))
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def schedule(step: int, steps: int, warmup_share: float = WARMUP_SHARE) -> float:
    """Return the share of the learning rate at `step`: up in a line, then down in a line to zero."""
    warmup = max(1, round(steps * warmup_share))
    return (step + 1) / warmup if step < warmup else (steps - step) / max(1, steps - warmup)


def logits_of(classifier: SpamClassifier, inputs: HiddenStates | TokenIds) -> Tensor:
    """Return the logits (rows,) of every row, in order, without gradients."""
    device = next(classifier.parameters()).device
    logits = torch.zeros(len(inputs.lengths), device=device)
    classifier.eval()
    with torch.inference_mode():
        for rows in length_batches(inputs.lengths.tolist()):
            logits[rows] = classifier(*inputs.batch(rows, device)).float()
    return workers.add_up(logits).cpu()


def mean_loss(classifier: SpamClassifier, part: Part) -> float:
    """Return the mean binary cross-entropy of a part, in nats a row."""
    targets = torch.tensor([float(label) for label in part.labels])
    return float(binary_cross_entropy_with_logits(logits_of(classifier, part.inputs), targets))


def _shares(part: Part) -> Tensor | None:
    """Return each row's weight (rows,) in units of their mean, or None if all count the same."""
    if not part.weights:
        return None
    weights = torch.tensor(part.weights, dtype=torch.float32)
    return weights / weights.mean()


def _checkpoint(classifier: SpamClassifier, optimizer: torch.optim.Optimizer, state: _State) -> Checkpoint:
    tensors = {f"weights/{name}": weight for name, weight in classifier.learnt().items()}
    tensors |= {f"best/{name}": weight for name, weight in state.best.items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"adamw/{index}/{name}": torch.as_tensor(value) for name, value in moments.items()}
    tensors["random"] = torch.get_rng_state()
    device = classifier.head.weight.device
    if device.type == "cuda":  # dropout draws from the generator of its device
        tensors["random/cuda"] = torch.cuda.get_rng_state(device)
    place = {name: getattr(state, name) for name in ("epoch", "batch", "step", "bad_epochs", "losses")}
    return Checkpoint(tensors, place | {"best_loss": state.best_loss if state.best else None})


def _resume(found: Checkpoint, classifier: SpamClassifier, optimizer: torch.optim.Optimizer) -> _State:
    weights: dict[str, Tensor] = {}
    best: dict[str, Tensor] = {}
    adamw: dict[str, Tensor] = {}
    generators: dict[str, Tensor] = {}
    kinds = {"weights": weights, "best": best, "adamw": adamw, "random": generators}
    for name, tensor in found.tensors.items():
        kind, _, rest = name.partition("/")
        kinds[kind][rest] = tensor
    classifier.restore(weights)
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in adamw.items():
        index, _, moment = name.partition("/")
        moments.setdefault(int(index), {})[moment] = tensor
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    if workers.rank() == 0:  # whose state it was
        torch.set_rng_state(generators[""])
    device = classifier.head.weight.device
    if device.type == "cuda" and "cuda" in generators:  # it may have begun where there is none
        torch.cuda.set_rng_state(generators["cuda"], device)
    place: dict[str, object] = dict(found.place)
    best_loss = place.pop("best_loss")
    return _State(**place, best_loss=math.inf if best_loss is None else best_loss, best=best)  # type: ignore[arg-type]
