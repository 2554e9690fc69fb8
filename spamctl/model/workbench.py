"""Load the base model's tokenizer and trunk for training, on a device, with bounded threads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer

from spamctl.data import lookalikes
from spamctl.errors import DataError
from spamctl.model.backbone import BaseModel, load_tokenizer, load_trunk
from spamctl.model.classifier import SpamClassifier
from spamctl.model.features import frozen_dtype
from spamctl.model.novelty import Vocabulary
from spamctl.model.tokens import MessageTokenizer, TokenRow, unknown_ids
from spamctl.model.trunk import Trunk

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
    base_model: BaseModel, *, max_tokens: int, device: str = "cpu", threads: int = 0, precision: str = "auto"
) -> Workbench:
    """Load a base model; `threads` 0 leaves their number to OMP_NUM_THREADS, or else to the machine.

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
        backend, max_tokens=max_tokens, empty_id=empty_id, lookalikes=lookalikes.table()
    )
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
