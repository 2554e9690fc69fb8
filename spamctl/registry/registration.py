"""Log a training to MLflow, register its package, and give a version its alias."""

from __future__ import annotations

import ast
import contextlib
import importlib.metadata
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import spamctl
from spamctl import folders
from spamctl.engine import manifest
from spamctl.engine.engine import Engine
from spamctl.engine.manifest import MANIFEST, PACKAGE, Files
from spamctl.engine.runtime import ONNX
from spamctl.errors import ArtefactError
from spamctl.registry import seals
from spamctl.registry.registry_file import CHAMPION, crown, require_there
from spamctl.registry.tracking import experiment_id
from spamctl.schema.message import SPAM

if TYPE_CHECKING:
    from mlflow import MlflowClient

SERVING_NEEDS = (
    "annotated-types", "mlflow", "numpy", "pandas", "psycopg[binary]", "pydantic", "pyyaml", "sqlalchemy", "tokenizers",
)  # fmt: skip
EXAMPLE = "You are a winner, you have been specially selected to receive $1000 cash or a $2000 award."
ANSWER = {
    "classification": "string",
    "probability": "double",
    "uuid": "string",
    "model_version": "string",
    "captured": "boolean",
    "truncated": "boolean",
    "in_reach": "boolean",
}  # what `serving/pyfunc.py` answers a row, in MLflow's types
FEEDBACK_TAG = "data.feedback"  # of a version that learnt from labelled answers: the store that held them
LOGGED = "models:/"  # before the id of what `log_model` returns
PACKAGE_FOLDER = Path(spamctl.__file__).parent


@dataclass(frozen=True, slots=True)
class TestRows:
    """Test rows, their labels, and the new version's predictions, each as long as the others."""

    texts: Sequence[str]
    is_spam: Sequence[bool]
    called_spam: Sequence[bool]

    @classmethod
    def of(cls, rows: Sequence[Sequence[str]], probabilities: Sequence[float], threshold: float) -> TestRows:
        """Make them of [text, label] rows and the probabilities of the new version."""
        called = [probability >= threshold for probability in probabilities]
        return cls([text for text, _ in rows], [label == SPAM for _, label in rows], called)


@dataclass(frozen=True, slots=True)
class Record:
    """What a training logs to MLflow: parameters, final metrics, curves by step, tags and files."""

    params: Mapping[str, object]
    metrics: Mapping[str, float]
    curves: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    dataset: tuple[str, str, str] = ("", "", "")  # name, origin, sha256


def log_run(client: MlflowClient, experiment: str, uri: str, record: Record) -> str:
    """Write a record as a finished MLflow run and return the run's id."""
    run_id: str = client.create_run(experiment_id(client, experiment, uri)).info.run_id
    finish_run(client, run_id, record)
    return run_id


def finish_run(client: MlflowClient, run_id: str, record: Record) -> None:
    """Write a record into a run that has begun, and end it."""
    from mlflow.entities import Dataset as DatasetEntity
    from mlflow.entities import DatasetInput, Metric, Param, RunTag

    now = int(time.time() * 1000)
    points = [Metric(name, value, now, 0) for name, value in record.metrics.items()]
    points += [Metric(name, value, now, step) for name, curve in record.curves.items() for step, value in curve]
    client.log_batch(
        run_id,
        params=[Param(name, str(value)) for name, value in record.params.items()],
        tags=[RunTag(name, value) for name, value in record.tags.items() if value],
    )
    for start in range(0, len(points), 1000):
        client.log_batch(run_id, metrics=points[start : start + 1000])
    name, origin, digest = record.dataset
    source = json.dumps({"origin": origin})
    client.log_inputs(run_id, [DatasetInput(DatasetEntity(name, digest[:36], "local", source))])
    with folders.temporary_folder() as place:
        for path, content in record.files.items():
            target = Path(place, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        client.log_artifacts(run_id, str(place))
    client.set_terminated(run_id)


def log_model(run_id: str, files: Files) -> str:
    """Log a package as a pyfunc of the run, which keeps the package's digest, and return the model's address.

    Raises ArtefactError if what MLflow stored is not, byte for byte, what was measured.
    """
    import mlflow
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    signature = ModelSignature(
        inputs=Schema([ColSpec("string", "text")]),
        outputs=Schema([ColSpec(kind, name) for name, kind in ANSWER.items()]),
        params=ParamSchema([ParamSpec("data_capture", "boolean", default=True)]),
    )
    with folders.temporary_folder() as place, mlflow.start_run(run_id=run_id):
        Path(place, PACKAGE).mkdir()
        manifest.write(files, Path(place, PACKAGE))
        shutil.copy(PACKAGE_FOLDER / "serving" / "entry.py", place)
        for module in served_modules():
            (copy := Path(place, "spamctl", module)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PACKAGE_FOLDER / module, copy)
        # Else MLflow notes this machine's paths, takes a uv.lock along, and keeps compiled code.
        with contextlib.chdir(place), _no_bytecode():
            logged = mlflow.pyfunc.log_model(
                name="model",
                python_model="entry.py",
                artifacts={PACKAGE: PACKAGE},
                code_paths=["spamctl"],  # what serving imports of it
                signature=signature,
                input_example=(pd.DataFrame({"text": [EXAMPLE]}), {"data_capture": False}),  # an example is no traffic
                pip_requirements=requirements(files),
                metadata=json.loads(files[MANIFEST])["manifest"]["about"] | {seals.TAG: manifest.digest_of(files)},
            )
        mlflow.set_tag(seals.TAG, manifest.digest_of(files))
    uri: str = logged.model_uri
    if manifest.read(_package_of(uri)) != files:
        raise ArtefactError(
            "the package that MLflow stored is not the one that was measured; look at its artifact store"
        )
    return uri


def served_modules() -> list[Path]:
    """Return the files of this package that a served model imports, also inside functions: a sixth of all.

    Whoever loads a model from afar, such as each worker of a cluster, fetches no others.
    """
    waiting, found = ["spamctl.serving.entry"], set[Path]()
    while waiting:
        *rooms, last = waiting.pop().split(".")[1:] or [""]
        inits = [Path(*rooms[:depth], "__init__.py") for depth in range(len(rooms) + 1)]
        for path in (*inits, Path(*rooms, f"{last}.py"), Path(*rooms, last, "__init__.py")):
            if path not in found and (PACKAGE_FOLDER / path).is_file():
                found.add(path)
                waiting += _imported(PACKAGE_FOLDER / path)
    return sorted(found)


def _imported(path: Path) -> Iterator[str]:
    """Yield what a file imports of this package, and the names that it takes from there, which may be modules."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in getattr(node, "names", ()) if isinstance(alias, ast.alias)]
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{name}" for name in names)]
        yield from (name for name in names if name.partition(".")[0] == "spamctl")


@contextlib.contextmanager
def _no_bytecode() -> Iterator[None]:
    """Keep Python from writing bytecode, which names local paths, beside the code that MLflow stores and imports."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _package_of(model_uri: str) -> Path:
    """Return a model's package folder, downloaded if its store is elsewhere."""
    import mlflow

    return Path(mlflow.artifacts.download_artifacts(model_uri), "artifacts", PACKAGE)


def requirements(files: Files) -> list[str]:
    """Return what a server needs to load a package, at the versions that measured it; there is no torch in it."""
    needs = sorted([*SERVING_NEEDS, "onnxruntime" if ONNX in files else "openvino"])
    return [f"{name}=={importlib.metadata.version(name.partition('[')[0])}" for name in needs]


def register(client: MlflowClient, name: str, model_uri: str, run_id: str, tags: Mapping[str, str]) -> str:
    """Create a version of the registered model `name`, sealed by the digest that the run keeps; return its number."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    digest = seals.of_run(client, run_id)
    tagged = {**tags, seals.TAG: digest} if digest else dict(tags)
    # An MLflow server takes a logged model as the source of a version only if its id stands beside the address.
    model_id = model_uri.removeprefix(LOGGED) if model_uri.startswith(LOGGED) else None
    version = client.create_model_version(name, model_uri, run_id, tags=tagged, model_id=model_id)
    return str(version.version)


def champion_files(client: MlflowClient, name: str) -> tuple[str, Path] | None:
    """Return the champion's version and its downloaded package folder, or None if there is no champion."""
    from mlflow.exceptions import MlflowException

    try:
        version = client.get_model_version_by_alias(name, CHAMPION).version
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    place = client.get_model_version_download_uri(name, version)  # by models:/…, MLflow would write a note there
    require_there(place, f"{name} version {version}")
    return str(version), _package_of(place)


def engine_of(client: MlflowClient, name: str, version: str, folder: Path) -> Engine:
    """Open a version's package; raise ArtefactError if it is damaged, or not the one that the registry knows."""
    return Engine(folder, registered=seals.registered(client, client.get_model_version(name, version)))


def enter(client: MlflowClient, name: str, alias: str, version: str) -> None:
    """Give a version its alias."""
    if alias == CHAMPION:
        crown(client, name, version)
    else:
        client.set_registered_model_alias(name, alias, version)


def git_commit() -> str:
    """Return the commit of the checkout that spamctl runs from, or nothing if it runs from an installed package."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(PACKAGE_FOLDER), "rev-parse", "HEAD"],
            capture_output=True, text=True, timeout=5, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
