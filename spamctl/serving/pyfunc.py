"""Wrap a packaged model as a plain MLflow pyfunc, which any MLflow server can load."""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd  # MLflow reads the hint, and warns of any other
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE
from mlflow.pyfunc.model import PythonModel

from spamctl.engine import manifest
from spamctl.engine.engine import Engine
from spamctl.engine.manifest import PACKAGE, UNSEALED
from spamctl.errors import DataError, UnavailableError
from spamctl.schema.codec import JsonObject
from spamctl.schema.message import OutOfReach, Prediction, Verdict
from spamctl.serving import mlflow_model
from spamctl.serving.mlflow_model import UNREGISTERED, registered_as, registered_digest
from spamctl.store.tables import CapturedRow, row_uuid

TEXT, DATA_CAPTURE = "text", "data_capture"
SOURCE = "mlflow"
CURES = (
    f"{mlflow_model.ADDRESS_VARIABLE} sets the store; {mlflow_model.MODE_VARIABLE}=best-effort answers all the same, "
    f"and so does params={{'{DATA_CAPTURE}': False}}"
)

logger = logging.getLogger(__name__)


class InputError(DataError, MlflowException):
    """Invalid input; MLflow's server returns its text with status 400, and any other exception as its trace."""

    def __init__(self, words: str) -> None:
        MlflowException.__init__(self, words, INVALID_PARAMETER_VALUE)


class NotStoredError(UnavailableError, MlflowException):
    """Answer withheld because it could not be stored; MLflow's server makes it status 503.

    Who runs the model reads why, and what to type; a client of the server, who may be anyone, reads neither.
    """

    def __init__(self, why: str) -> None:
        MlflowException.__init__(self, "the answer could not be stored; try again", TEMPORARILY_UNAVAILABLE)
        self.args = (f"{why} ({CURES})",)


class SpamModel(PythonModel):
    """MLflow model that returns a classification, a probability and an id for each message, and stores the answer."""

    def load_context(self, context: Any) -> None:
        """Verify and compile the package; refuse one that is not the registered one, or gives other verdicts here."""
        folder = Path(context.artifacts[PACKAGE])
        self.target, out_of_reach = mlflow_model.CaptureTarget.of_environment(), mlflow_model.out_of_reach_rule()
        self.registration = registered_as(folder)
        registered = registered_digest(folder, self.registration)
        if not registered and self.registration != UNREGISTERED:
            logger.warning("%s version %s: %s", *self.registration, UNSEALED)
        self.engine = _engine(folder, registered, out_of_reach)

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None
    ) -> list[JsonObject]:
        """Return one answer a row of a DataFrame; `captured` is True if the row is on the disk. Thread-safe.

        Raises InputError, which is a DataError, if the column text holds anything else; NotStoredError, which is an
        UnavailableError, if an answer must be stored and is not known to be.
        """
        began = time.perf_counter()
        texts = texts_of(model_input)
        verdicts = self.engine.classify(texts)
        rows = self._rows(texts, verdicts, latency_ms=1000 * (time.perf_counter() - began))
        captured = bool((params or {}).get(DATA_CAPTURE, True)) and self._keep(rows)
        return [
            Prediction(
                row.classification,
                row.probability,
                row.uuid,
                row.model_version,
                captured,
                verdict.truncated,
                verdict.in_reach,
            ).to_wire()
            for row, verdict in zip(rows, verdicts, strict=True)
        ]

    def _rows(self, texts: Sequence[str], verdicts: Sequence[Verdict], latency_ms: float) -> list[CapturedRow]:
        """Return the answers as they are stored; MLflow tells no model who asked, so each call is a request anew."""
        request_id, now = str(uuid.uuid4()), datetime.now(UTC)
        return [
            CapturedRow(
                uuid=row_uuid(request_id, index, text),
                date=now,
                text=text,
                classification=verdict.classification,
                probability=verdict.probability,
                model_name=self.registration.name,
                model_version=self.registration.version,
                threshold=self.engine.threshold,
                request_id=request_id,
                latency_ms=latency_ms,
                source=SOURCE,
                package_sha256=self.engine.digest,
                in_reach=verdict.in_reach,
            )
            for index, (text, verdict) in enumerate(zip(texts, verdicts, strict=True))
        ]

    def _keep(self, rows: Sequence[CapturedRow]) -> bool:
        try:
            return mlflow_model.captures_of_process.keep(self.target, rows)
        except UnavailableError as error:
            raise NotStoredError(str(error)) from error


_engines: dict[tuple[str, OutOfReach], Engine] = {}  # of a worker of Spark: its last one


def _engine(folder: Path, registered: str, out_of_reach: OutOfReach) -> Engine:
    """Return an engine that has given the golden messages their verdicts.

    Spark loads a model anew for each partition of a table. Its worker keeps the engine, which has as many threads as
    Spark gives a task; the package is verified each time.
    """
    if not mlflow_model.in_spark():
        engine = Engine(folder, registered=registered, out_of_reach=out_of_reach)
        engine.replay_golden()
        return engine
    manifest.verify(folder, registered)
    key = manifest.digest(folder), out_of_reach
    if key not in _engines:
        _engines.clear()
        threads = int(os.environ.get("OMP_NUM_THREADS", "1").partition(",")[0] or 1)
        engine = Engine(folder, threads=threads, registered=registered, out_of_reach=out_of_reach)
        engine.replay_golden()
        _engines[key] = engine
    return _engines[key]


def texts_of(model_input: pd.DataFrame) -> list[str]:
    """Return the texts of a DataFrame; raise InputError, naming the row, where one is not text."""
    if TEXT not in getattr(model_input, "columns", ()):
        raise InputError(f"the input has no column {TEXT!r}; send {{'inputs': [{{'text': '...'}}]}}")
    texts = model_input[TEXT].tolist()
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"row {row}: column {TEXT!r} holds {type(text).__name__}, not text")
    return [str(text) for text in texts]  # numpy has a kind of text of its own
