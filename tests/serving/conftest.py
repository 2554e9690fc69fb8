"""Register a tiny model in a store of its own, as a training does."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from spamctl.engine.engine import GOLDEN
from spamctl.registry import registration, tracking
from spamctl.registry.registration import Record
from tests import tiny_packages
from tests.made_once import lay_store
from tests.mlflow_loaded import load_mlflow


@dataclass(frozen=True)
class Registered:
    """Hold the folder of a store and where its model's files lie."""

    folder: Path
    model: Path

    @property
    def uri(self) -> str:
        """Return the address of the store."""
        return f"sqlite:///{self.folder}/mlflow.db"


@pytest.fixture(scope="package")
def registered(tmp_path_factory):
    """Return a store that holds version 1 of the model spam, a bag of tokens in OpenVINO."""
    return register(tmp_path_factory.mktemp("registered"), tiny_packages.files("", *GOLDEN))


def register(folder, files):
    """Make a package version 1 of the model spam, in a store of its own."""
    load_mlflow()
    import mlflow

    record = Record({}, {}, dataset=("own file", "tiny", "ab" * 32))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        lay_store(folder)
        with tracking.open_tracking("sqlite:///mlflow.db") as client:
            run_id = registration.log_run(client, "spam", "sqlite:///mlflow.db", record)
            model_uri = registration.log_model(run_id, files)
            registration.register(client, "spam", model_uri, run_id, {})
            return Registered(folder, Path(mlflow.artifacts.download_artifacts(model_uri)))
