"""A registered language model answers, and captures, in an environment of its own requirements, without torch."""

import json
import os
import subprocess
import sys

import pytest

from tests import tiny_models, trained
from tests.serving.conftest import register

REQUEST = [{"text": message.text} for message in tiny_models.messages(2)]
ANSWER = f"""
import importlib.util, json, mlflow
model = mlflow.pyfunc.load_model("models:/spam/1")
answers = model.predict({REQUEST!r})
import psycopg, spamctl
from spamctl.store import queries
from spamctl.store.database import open_store
with open_store("spam.db") as store:
    kept = queries.find(store, [answer["uuid"] for answer in answers])
names = ("torch", "transformers", "metaflow", "nncf", "openvino", "onnx")
here = [name for name in names if importlib.util.find_spec(name)]
print(json.dumps({{"answers": answers, "kept": len(kept), "installed": here, "code": spamctl.__file__}}))
"""


@pytest.fixture
def registered(tmp_path):
    """Return a store that holds a tiny Llama in int8, for the runtime that the bundled model is served by."""
    (tmp_path / "registered").mkdir()
    return register(tmp_path / "registered", trained.files("llama", "auto"))


@pytest.fixture
def python(tmp_path):
    """Return the interpreter of an empty environment."""
    folder = tmp_path / "fresh"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=120)
    return folder / "bin" / "python"


def pip(python, *words, timeout):
    return subprocess.run(
        [python, "-m", "pip", "--disable-pip-version-check", *words],
        capture_output=True, text=True, check=False, timeout=timeout,
    )  # fmt: skip


@pytest.fixture
def installed(python, registered, tmp_path):
    """Return the interpreter of an environment that holds what the model asks for, and nothing else."""
    needs = registered.model / "requirements.txt"
    first = next(line for line in needs.read_text().split() if line.startswith("annotated-types"))
    asked = pip(python, "download", "--no-deps", "--dest", tmp_path / "asked", "--retries", "0", first, timeout=120)
    if asked.returncode:
        pytest.skip(f"pip reaches no package index here: {asked.stderr.strip().splitlines()[-1]}")
    done = pip(python, "install", "--quiet", "--no-compile", "--requirement", needs, timeout=400)
    assert done.returncode == 0, done.stderr
    return python


@pytest.mark.long
def test_a_model_answers_with_nothing_but_its_own_requirements(installed, registered, tmp_path):
    done = subprocess.run(
        [installed, "-W", "error::DeprecationWarning:spamctl", "-c", ANSWER],
        env=os.environ | {"MLFLOW_TRACKING_URI": registered.uri},
        capture_output=True, text=True, check=False, timeout=200, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert [answer["classification"] for answer in told["answers"]] == ["spam", "not spam"]
    assert told["answers"][0]["model_version"] == "1"
    assert [answer["captured"] for answer in told["answers"]] == [True, True]
    assert told["kept"] == 2
    assert told["installed"] == []
    assert told["code"].startswith(str(registered.model))
