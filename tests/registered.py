"""Register tiny models in the MLflow store of the working folder, as a training does."""

import json
from dataclasses import replace
from pathlib import Path

from spamctl.engine.engine import GOLDEN
from spamctl.registry import registration, tracking
from spamctl.registry.registration import Record
from tests import tiny_models, tiny_packages
from tests.made_once import lay_store

URI = "sqlite:///mlflow.db"
RECORD = Record({}, {}, dataset=("own file", "tiny", "ab" * 32))


def package(threshold):
    """Return the files of a package that differs by its threshold."""
    return tiny_packages.files("", *GOLDEN, threshold=threshold)


def scored_part(rows=300, seed=1):
    """Return the test part of a tiny package as a training records it."""
    return [
        {"text": one.text, "label": one.label, "probability": tiny_packages.probability(one.text)}
        for one in tiny_models.messages(rows, seed)
    ]


def register(threshold, *aliases, name="spam", part=None):
    """Register one more version of a model, with a test part if given, and return its number; MLflow must be loaded."""
    record = RECORD if part is None else replace(RECORD, files={"evaluation/test_part.json": json.dumps(part).encode()})
    lay_store(Path.cwd())
    with tracking.open_tracking(URI) as client:
        run_id = registration.log_run(client, name, URI, record)
        model_uri = registration.log_model(run_id, package(threshold))
        version = registration.register(client, name, model_uri, run_id, {})
        for alias in aliases:
            client.set_registered_model_alias(name, alias, version)
    return version


def point(alias, version, name="spam"):
    """Move an alias to a version."""
    with tracking.open_tracking(URI) as client:
        client.set_registered_model_alias(name, alias, version)
