"""Lend what tests at scale share: a real S3 server."""

import pytest

from tests.scale.swift import MISSING, an_s3_server, programs


@pytest.fixture(scope="session")
def s3():
    """Lend one S3 server to all tests; each makes buckets of its own."""
    if programs() is None:
        pytest.skip(MISSING)
    with an_s3_server() as server:
        yield server
