"""Register tiny models in the MLflow store of the working folder, as a training does."""

from spamctl.model import registry, tracking
from spamctl.model.golden import GOLDEN
from spamctl.model.registry import Record
from tests import tiny_packages

URI = "sqlite:///mlflow.db"
RECORD = Record({}, {}, dataset=("own file", "tiny", "ab" * 32))


def package(threshold):
    """Return the files of a package that differs by its threshold."""
    return tiny_packages.files("", *GOLDEN, threshold=threshold)


def register(threshold, *aliases, name="spam"):
    """Register one more version of a model, and return its number; MLflow must be loaded."""
    with tracking.open_tracking(URI) as client:
        run_id = registry.log_run(client, name, URI, RECORD)
        model_uri = registry.log_model(run_id, package(threshold))
        version = registry.register(client, name, model_uri, run_id, {})
        for alias in aliases:
            client.set_registered_model_alias(name, alias, version)
    return version


def point(alias, version, name="spam"):
    """Move an alias to a version."""
    with tracking.open_tracking(URI) as client:
        client.set_registered_model_alias(name, alias, version)
