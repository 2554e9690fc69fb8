"""Save what spamctl's server is compared with where `mlflow models serve` finds it.

python tests/bench/other_ways.py FOLDER

FOLDER/seed       the seed's way (seeds_way.py)
FOLDER/pipeline   a text-classification pipeline of Transformers in MLflow's own flavour, around all blocks of the
                  bundled language model in float32, with a head of random weights and its own padding
"""

from __future__ import annotations

import sys
from pathlib import Path

import mlflow
import torch
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from spamctl.training.base_model import BUNDLED, find_base_model


def save_seed(folder: Path, backbone: Path) -> None:
    """Save the seed's way; the tokenizer of the bundled model will do, all its tokens are in GPT-2's range."""
    mlflow.pyfunc.save_model(
        folder,
        python_model=str(Path(__file__).with_name("seeds_way.py")),
        artifacts={"tokenizer": str(backbone / "tokenizer.json")},
        signature=ModelSignature(inputs=Schema([ColSpec("string", "text")])),
        pip_requirements=[],
    )


def save_pipeline(folder: Path, backbone: Path) -> None:
    """Save the pipeline."""
    tokenizer = AutoTokenizer.from_pretrained(backbone)
    model = AutoModelForSequenceClassification.from_pretrained(backbone, num_labels=2, dtype=torch.float32)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    made = pipeline("text-classification", model=model, tokenizer=tokenizer)
    mlflow.transformers.save_model(made, path=str(folder), pip_requirements=[])


if __name__ == "__main__":
    found = find_base_model(BUNDLED, "none").folder
    save_seed(Path(sys.argv[1], "seed"), found)
    save_pipeline(Path(sys.argv[1], "pipeline"), found)
