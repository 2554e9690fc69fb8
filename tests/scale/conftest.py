"""Lend what tests at scale share: a real S3 server, and a registry for many machines."""

import pytest

from tests.flows.conftest import lay, lay_trained, tiny_gpt2
from tests.scale.servers import an_mlflow_server
from tests.scale.swift import MISSING, an_s3_server, programs
from tests.store.conftest import postgres

__all__ = ["lay", "lay_trained", "postgres", "tiny_gpt2"]


@pytest.fixture(scope="session")
def s3():
    """Lend one S3 server to all tests; each makes buckets of its own."""
    if programs() is None:
        pytest.skip(MISSING)
    with an_s3_server() as server:
        yield server


@pytest.fixture(scope="session")
def registry(s3, postgres, tmp_path_factory):
    """Lend one registry of many machines to all tests: MLflow over PostgreSQL, with its artefacts in S3."""
    bucket = s3.bucket("registry")
    folder = tmp_path_factory.mktemp("registry")
    places = {"database": postgres.new_database(), "artefacts": f"s3://{bucket}/mlflow"}
    with an_mlflow_server(folder, **places, **s3.variables(bucket)) as address:
        yield address
