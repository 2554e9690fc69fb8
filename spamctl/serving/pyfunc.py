"""Wrap a packaged model as a plain MLflow pyfunc, which any MLflow server can load."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd  # MLflow reads the hint, and warns of any other
from mlflow.pyfunc.model import PythonModel

from spamctl.errors import DataError
from spamctl.model.artefact import PACKAGE
from spamctl.model.engine import Engine
from spamctl.serving.version import registered_version

TEXT = "text"


class SpamModel(PythonModel):
    """Answer each message with a classification, a probability, and an id of its own."""

    def load_context(self, context: Any) -> None:
        """Verify and compile the package, and refuse it if a golden message gets another verdict here."""
        folder = Path(context.artifacts[PACKAGE])
        self.engine = Engine(folder)
        self.engine.replay_golden()
        self.version = registered_version(folder)

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Return one answer a row of a DataFrame; raise DataError if its column text holds anything else."""
        verdicts = self.engine.classify(texts_of(model_input))
        return [
            {
                "classification": verdict.classification,
                "probability": verdict.probability,
                "uuid": str(uuid.uuid4()),
                "model_version": self.version,
                "captured": False,
                "truncated": verdict.truncated,
            }
            for verdict in verdicts
        ]


def texts_of(model_input: pd.DataFrame) -> Sequence[str]:
    """Return the texts of a DataFrame; raise DataError, naming the row, where one is not text."""
    if TEXT not in getattr(model_input, "columns", ()):
        raise DataError(f"the input has no column {TEXT!r}; send {{'inputs': [{{'text': '...'}}]}}")
    texts = model_input[TEXT].tolist()
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"row {row}: column {TEXT!r} holds {type(text).__name__}, not text")
    return texts
