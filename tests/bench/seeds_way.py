"""Answer as a well-known exercise deploys GPT-2: each message padded to 1024 tokens, one at a time, in PyTorch.

MLflow runs this file as a model's code. Of 124M weights in float32, random ones: only time is measured. The label is
read at the last place of the row. Nothing is captured.
"""

from __future__ import annotations

import os
from typing import Any

import pandas as pd
import torch
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel
from tokenizers import Tokenizer
from transformers import GPT2Config, GPT2Model

PADDED_TO, PAD = 1024, 50256  # GPT-2's window, and its end-of-text token


class SeedsWay(PythonModel):
    """Be the whole of GPT-2 with a head of two labels."""

    def load_context(self, context: Any) -> None:
        """Make the weights up."""
        torch.manual_seed(0)
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        self.tokenizer = Tokenizer.from_file(context.artifacts["tokenizer"])
        self.body = GPT2Model(GPT2Config()).eval()
        self.head = torch.nn.Linear(self.body.config.hidden_size, 2)

    def predict(self, context: Any, model_input: pd.DataFrame) -> list[str]:  # noqa: ARG002 - MLflow's own order
        """Label one message after the other."""
        return [self.label(text) for text in model_input["text"]]

    def label(self, text: str) -> str:
        """Return what one message is called."""
        ids = self.tokenizer.encode(text).ids[:PADDED_TO]
        row = torch.tensor([ids + [PAD] * (PADDED_TO - len(ids))])  # (1, 1024)
        with torch.inference_mode():
            logits = self.head(self.body(row).last_hidden_state[:, -1])  # (1, 2)
        return "spam" if logits.argmax() else "not spam"


set_model(SeedsWay())
