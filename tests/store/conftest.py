"""Make stores in both databases, in a PostgreSQL server that the tests start themselves, and a disk to fill."""

import subprocess

import pytest

from spamctl.store.database import open_store
from tests.store.servers import MISSING, a_server, server_programs


def lent_server(*settings):
    if server_programs() is None:
        pytest.skip(MISSING)
    with a_server(*settings) as server:
        yield server


@pytest.fixture(scope="session")
def postgres():
    """Lend one server to all tests; each makes databases of its own."""
    yield from lent_server("fsync = off")


@pytest.fixture
def mortal_postgres():
    """Lend a server that may be stopped."""
    yield from lent_server()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def address(request, tmp_path):
    """Name a store that does not exist yet, in both databases."""
    if request.param == "sqlite":
        return str(tmp_path / "spam.db")
    return request.getfixturevalue("postgres").empty_database()


@pytest.fixture
def store(address):
    """Open a fresh store, in both databases."""
    with open_store(address, create=True) as opened:
        yield opened


@pytest.fixture
def sqlite_store(tmp_path):
    """Open a fresh SQLite store."""
    with open_store(str(tmp_path / "spam.db"), create=True) as opened:
        yield opened


@pytest.fixture
def small_disk(tmp_path):
    """Mount a disk of 4 MiB, where this machine lets us."""
    place = tmp_path / "small"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    try:
        subprocess.run(words, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        told = getattr(error, "stderr", None) or str(error)
        pytest.skip(f"no disk can be mounted here, run as root with the right to mount: {told.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)
