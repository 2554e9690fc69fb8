"""MLflow's own way to an image works with a registered model: its Dockerfile is written, its packages are available."""

import os
import re
import subprocess
import sys

import pytest

from tests import registered
from tests.mlflow_loaded import load_mlflow

pytestmark = [pytest.mark.scale, pytest.mark.image, pytest.mark.long, pytest.mark.timeout(1800)]


@pytest.fixture
def dockerfile(tmp_path):
    """Register a model, have MLflow write what builds its image, and return the folder."""
    load_mlflow()
    registered.register(0.5, "champion")
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", "models", "generate-dockerfile", "-m", "models:/spam@champion", "-d", "image"],
        env={**os.environ, "MLFLOW_TRACKING_URI": registered.URI}, capture_output=True, text=True, check=False,
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return tmp_path / "image"


def test_the_dockerfile_serves_the_model_with_its_own_packages(dockerfile):
    told = (dockerfile / "Dockerfile").read_text(encoding="utf-8")
    assert "COPY model_dir /opt/ml/model" in told
    assert re.search(r"^ENTRYPOINT .*_serve", told, re.MULTILINE)
    assert (dockerfile / "model_dir" / "MLmodel").is_file()
    assert (dockerfile / "model_dir" / "requirements.txt").is_file()


def test_the_packages_of_the_image_can_be_resolved(dockerfile, pip):
    needs = dockerfile / "model_dir" / "requirements.txt"
    named = {re.match(r"[\w.-]+", line)[0] for line in needs.read_text(encoding="utf-8").split() if line[0].isalpha()}
    assert {"mlflow", "sqlalchemy", "tokenizers"} <= named
    assert {"torch", "transformers"}.isdisjoint(named)
    done = pip("install", "--dry-run", "--ignore-installed", "--requirement", needs)
    assert done.code == 0, done.err
    assert "Would install" in done.out
    assert not re.search(r"\btorch-\d", done.out)
