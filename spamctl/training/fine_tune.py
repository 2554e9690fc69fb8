"""Load a base model, and fine-tune a truncated trunk and a head: frozen pass, probe, training."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save
from tokenizers import Tokenizer

from spamctl.data import cleaning
from spamctl.engine.ngrams import Vocabulary
from spamctl.engine.tokens import MessageTokenizer, TokenRow, unknown_ids
from spamctl.errors import DataError
from spamctl.progress import ProgressGenerator, ProgressUpdate, ticks
from spamctl.training import model, probe, workers
from spamctl.training.base_model import BaseModel, load_tokenizer, load_trunk
from spamctl.training.features import (
    HiddenStates,
    TokenIds,
    frozen,
    frozen_dtype,
    frozen_pass,
    length_batches,
    pooled_pass,
)
from spamctl.training.loop import Checkpoints, Part, Progress, TrainingConfig, fine_tune
from spamctl.training.model import SpamClassifier, Trunk, Tune
from spamctl.training.probe import fit_probe

Rows = Sequence[Sequence[int]]
Row = TypeVar("Row")
Features = NDArray[np.float32]
Bools = NDArray[np.bool_]
STOPPING_ROWS = 1_200  # of validation: enough to tell which epoch is best, and each row more costs a frozen pass
MOST_SCORES = 2**21  # of attention, a head, in one batch: 32 rows of 256 tokens


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Token ids and labels of the training rows and of the validation rows for early stopping.

    `train_weights` says how much each row to learn from counts; without any, all count the same. `train_groups` names
    the family of kinds of each, where kinds are known: what is right on unseen kinds is then measured, too.
    """

    train: Rows
    train_is_spam: Sequence[bool]
    validation: Rows
    validation_is_spam: Sequence[bool]
    train_weights: Sequence[float] = ()
    train_groups: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Recipe:
    """Which weights are trained, how, and at which precision the frozen blocks run.

    `features` computes the features (rows, 2D) of token ids with another engine than PyTorch, in the name of a task; it
    is asked where the head alone is trained.
    """

    tune: Tune
    lora_rank: int
    plan: TrainingConfig
    frozen_dtype: torch.dtype
    features: Callable[[Rows, str], ProgressGenerator[Features]] | None = None


@dataclass(slots=True)
class History:
    """Training curves: (step, loss in nats per row), and logits (rows,) of probes on held-out families."""

    steps: int = 0
    unseen: list[float] = field(default_factory=list)
    training: list[tuple[int, float]] = field(default_factory=list)
    validation: list[tuple[int, float]] = field(default_factory=list)

    def add(self, progress: Progress) -> None:
        """Take one progress of the training loop."""
        self.steps = progress.steps
        if progress.validation_loss is not None:
            self.validation.append((progress.step, progress.validation_loss))
        elif not math.isnan(progress.loss):
            self.training.append((progress.step, progress.loss))


def tune(
    classifier: SpamClassifier, lesson: TrainingSet, recipe: Recipe, checkpoints: Checkpoints
) -> ProgressGenerator[tuple[bytes, History]]:
    """Train a classifier in place; yield progress; return the trained weights as safetensors bytes, and the losses."""
    torch.manual_seed(recipe.plan.seed)  # adapters start at random
    still = classifier.prepare(recipe.tune, lora_rank=recipe.lora_rank)
    if recipe.tune == "head" and classifier.hidden is not None:
        history = yield from _fit_hidden_head(classifier, lesson, recipe)
        return _weights(classifier), history
    _choose_attention(classifier, lesson, recipe)
    inputs = []
    for rows, name in ((lesson.train, "training"), (lesson.validation, "validation")):
        inputs.append((yield from _inputs(classifier, rows, still, recipe, name)))
    classifier.trunk.window(still, classifier.trunk.depth)
    features = yield from _pooled(classifier, inputs[0], recipe.frozen_dtype)
    history, truth = History(), np.array(lesson.train_is_spam)
    yield ProgressUpdate("head", 0, 2, "parts")
    if lesson.train_groups:
        history.unseen = _out_of_fold(classifier, features, truth, lesson.train_groups, recipe.plan.seed)
    yield ProgressUpdate("head", 1, 2, "parts")
    _start(classifier, features, truth, lesson.train_weights, recipe.plan.seed)
    workers.share(list(classifier.learnt().values()))
    yield ProgressUpdate("head", 2, 2, "parts")
    train = Part(inputs[0], lesson.train_is_spam, lesson.train_weights)
    validation = Part(inputs[1], lesson.validation_is_spam)
    plan = replace(recipe.plan, bfloat16=recipe.frozen_dtype == torch.bfloat16)
    reached = 0  # what was found out before a training went on is told again, of earlier steps
    for progress in fine_tune(classifier, train, validation, plan, checkpoints):
        history.add(progress)
        reached = max(reached, progress.step)
        yield Training("fine-tuning", reached, progress.steps, "steps", progress=progress)
    return _weights(classifier), history


def choose_tune(asked: Literal["auto"] | Tune, groups: Sequence[str]) -> Tune:
    """Return which weights are trained; `groups` names the family of kinds of each training row, where it is known.

    On families held out whole, two passes over the last block brought .0006 of ROC AUC in a third of the time of a
    training, where the head had been fitted well. Where no kinds are known, this cannot be seen, and rows are few.
    """
    if asked != "auto":
        return asked
    return "head" if groups else "last-block"


def _weights(classifier: SpamClassifier) -> bytes:
    """Return the trained weights as safetensors bytes."""
    return save({name: weight.detach().cpu().contiguous() for name, weight in classifier.learnt().items()})


@dataclass(frozen=True, slots=True)
class Training(ProgressUpdate):
    """One training step and its loss."""

    progress: Progress | None = None


def _fit_hidden_head(classifier: SpamClassifier, lesson: TrainingSet, recipe: Recipe) -> ProgressGenerator[History]:
    """Fit a hidden head on the features of frozen blocks, and leave it so; no token's states are kept for that.

    More steps lower the loss on more of the same kinds, where early stopping looks, and lose .002 of ROC AUC on kinds
    that are unseen.
    """
    history, truth = History(), np.array(lesson.train_is_spam)
    found: list[Features] = []
    for rows, name in ((lesson.train, "training"), (lesson.validation, "validation")):
        found.append((yield from _frozen_features(classifier, rows, recipe, f"frozen blocks, {name}")))
    yield ProgressUpdate("head", 0, 2, "parts")
    if lesson.train_groups:
        history.unseen = _out_of_fold(classifier, found[0], truth, lesson.train_groups, recipe.plan.seed)
    yield ProgressUpdate("head", 1, 2, "parts")
    _start(classifier, found[0], truth, lesson.train_weights, recipe.plan.seed)
    workers.share(list(classifier.learnt().values()))
    progress = Progress(0, 0, 1, math.nan, _loss(classifier, found[1], lesson.validation_is_spam))
    history.add(progress)
    yield Training("head", 2, 2, "parts", progress=progress)
    return history


def _frozen_features(classifier: SpamClassifier, rows: Rows, recipe: Recipe, task: str) -> ProgressGenerator[Features]:
    """Return the features (rows, 2D) that leave the frozen blocks, by the recipe's engine or by PyTorch."""
    if recipe.features:
        return (yield from recipe.features(rows, task))
    features = np.zeros((len(rows), 2 * classifier.trunk.width), np.float32)
    passes = pooled_pass(classifier.trunk, rows, features, dtype=recipe.frozen_dtype)
    yield from ticks(passes, task, len(rows))
    return workers.add_up_array(features)


def _loss(classifier: SpamClassifier, features: Features, is_spam: Sequence[bool]) -> float:
    """Return the mean loss in nats per row of a hidden head on features (rows, 2D)."""
    head = {name.replace("head.", "out."): weight.detach().cpu() for name, weight in classifier.learnt().items()}
    logits = model.logits_of(head, features)
    return float(np.logaddexp(0, np.where(is_spam, -logits, logits)).mean())


def _start(classifier: SpamClassifier, features: Features, truth: Bools, weights: Sequence[float], seed: int) -> None:
    """Initialise the head from the best fit on the features of the frozen model."""
    if classifier.hidden is None:
        classifier.start_head(*fit_probe(features, truth, weights))
    else:
        classifier.start_hidden(
            model.fit_head(features, truth, classifier.hidden.out_features, seed=seed, weights=weights)
        )


def _out_of_fold(
    classifier: SpamClassifier, features: Features, truth: Bools, groups: Sequence[str], seed: int
) -> list[float]:
    """Return the logits (rows,) of heads like the classifier's that never saw the family of a row."""
    if classifier.hidden is None:
        return list(map(float, probe.out_of_fold(features, truth, groups, seed)))
    return list(map(float, model.out_of_fold(features, truth, groups, classifier.hidden.out_features, seed)))


def thinned(rows: Sequence[Row]) -> list[Row]:
    """Return every k-th row, and so at most STOPPING_ROWS; all where there are no more."""
    return list(rows[:: max(1, math.ceil(len(rows) / STOPPING_ROWS))])


def restore(classifier: SpamClassifier, recipe_tune: Tune, lora_rank: int, learnt: bytes) -> None:
    """Load trained weights into a fresh classifier of the same shape, adapters folded in."""
    classifier.prepare(recipe_tune, lora_rank=lora_rank)
    classifier.restore(load(learnt))
    if recipe_tune == "lora":
        classifier.merge_lora()
    classifier.trunk.window(0, classifier.trunk.depth)


def _choose_attention(classifier: SpamClassifier, lesson: TrainingSet, recipe: Recipe) -> None:
    """Compute all attention scores of a block at once, on a CPU, where they fit into memory.

    PyTorch's fused attention never does; backwards, it multiplies head by head, which takes a seventh of each step.
    """
    longest = max(map(len, (*lesson.train, *lesson.validation)))
    fits = recipe.plan.batch_size * longest**2 <= MOST_SCORES
    if recipe.tune == "last-block" and classifier.head.weight.device.type == "cpu" and fits:
        classifier.trunk.model.set_attn_implementation("eager")


def _inputs(
    classifier: SpamClassifier, rows: Rows, still: int, recipe: Recipe, name: str
) -> ProgressGenerator[HiddenStates | TokenIds]:
    """Return token ids if every block learns, else what leaves the frozen blocks, computed once."""
    if recipe.tune in ("lora", "full"):
        return TokenIds(rows)
    states = HiddenStates([len(row) for row in rows], classifier.trunk.width, recipe.frozen_dtype)
    passes = frozen_pass(classifier.trunk, rows, states, blocks=still, dtype=recipe.frozen_dtype)
    yield from ticks(passes, f"frozen blocks, {name}", len(rows))
    return states


def _pooled(
    classifier: SpamClassifier, inputs: HiddenStates | TokenIds, dtype: torch.dtype
) -> ProgressGenerator[NDArray[np.float32]]:
    """Return the features (rows, 2D) that the head sees before anything is trained, its blocks run in `dtype`."""
    lengths = inputs.lengths.tolist()
    features = np.zeros((len(lengths), 2 * classifier.trunk.width), np.float32)
    done = 0
    with frozen(classifier.trunk, dtype) as device:
        for rows in length_batches(lengths):
            states, row_lengths = inputs.batch(rows, device)
            normed = classifier.trunk(states).float()
            features[rows] = classifier.trunk.pool(normed, row_lengths).cpu().numpy()
            done += len(rows)
            yield ProgressUpdate("features of the probe", min(done * workers.count(), len(lengths)), len(lengths))
    return workers.add_up_array(features)


# Load the base model's tokenizer and trunk for training, on a device, with bounded threads.

KERNELS_KEPT = 128  # of oneDNN's, one for each shape of a product: the 1,024 that it keeps take up to half a GiB


@dataclass(frozen=True, slots=True)
class Workbench:
    """Base model ready to be truncated, tuned and exported."""

    trunk: Trunk
    tokenizer: MessageTokenizer
    device: torch.device
    dtype: torch.dtype

    def tokenize(self, rows: Sequence[Sequence[str]]) -> list[TokenRow]:
        """Return the token ids of [text, label] rows."""
        return self.tokenizer.encode([text for text, _ in rows])

    def learn_words(self, rows: Sequence[Sequence[str]]) -> None:
        """Fit the tokenizer's vocabulary to these [text, label] rows, so that it measures the novelty of a message."""
        self.tokenizer.vocabulary = Vocabulary.of(self.tokenizer.cleaned([text for text, _ in rows]))

    def classifier(self, depth: int, units: int = 0) -> SpamClassifier:
        """Truncate the trunk to `depth` blocks and put a head on it, with a hidden layer of that many units."""
        self.trunk.cut(depth)
        return SpamClassifier(self.trunk, units).to(self.device)


def open_workbench(
    base_model: BaseModel,
    *,
    max_tokens: int,
    device: str = "cpu",
    threads: int = 0,
    precision: str = "auto",
    prompt: str = "",
) -> Workbench:
    """Load a base model; `threads` 0 leaves their number to OMP_NUM_THREADS, or else to the machine.

    Each message is put into `prompt`, where there is one.

    Raises DataError if `device` is cuda and there is none, if the model reads fewer than `max_tokens` tokens, or if its
    tokenizer is another model's.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise DataError("--device cuda: PyTorch sees no GPU here; use --device auto or cpu")
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(KERNELS_KEPT))  # read when the first is made
    if threads:
        torch.set_num_threads(threads)
    where = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
    trunk = load_trunk(base_model.folder)
    window = int(getattr(trunk.config, "max_position_embeddings", max_tokens))
    if max_tokens > window:
        raise DataError(f"--max-tokens {max_tokens}: {base_model.name} reads at most {window}")
    backend, empty_id = load_tokenizer(base_model.folder)
    _refuse_unknown_tokens(base_model, backend, empty_id, trunk.model.get_input_embeddings().weight.shape[0])
    tokenizer = MessageTokenizer.of_base(
        backend,
        max_tokens=max_tokens,
        empty_id=empty_id,
        lookalikes=cleaning.lookalike_table(),
        prompt=prompt,
    )
    trunk.opening, trunk.closing = tokenizer.prompt_tokens()
    return Workbench(trunk.to(where), tokenizer, where, frozen_dtype(precision, where))


def _refuse_unknown_tokens(base_model: BaseModel, tokenizer: Tokenizer, empty_id: int, embeddings: int) -> None:
    """Refuse a tokenizer with tokens that the model has no embedding for, before a message holds one of them."""
    if tokenizer.get_vocab_size(with_added_tokens=False) > embeddings:
        raise DataError(
            f"{base_model.folder}: the tokenizer knows more tokens than the model; they belong to two models"
        )
    if unknown := unknown_ids(tokenizer, empty_id, embeddings):
        raise DataError(
            f"{base_model.folder}: the tokenizer has {len(unknown)} tokens that the model does not know (ids "
            f"{unknown[0]} to {unknown[-1]}, embeddings {embeddings}): save it without the tokens that were added, or "
            f"the model after resize_token_embeddings({unknown[-1] + 1})"
        )
