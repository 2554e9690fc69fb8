"""Make two versions of a tiny model, and the databases that their servers keep answers in."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from spamctl.engine.engine import GOLDEN
from tests import tiny_packages
from tests.store.conftest import address, mortal_postgres, postgres, small_disk

__all__ = ["address", "mortal_postgres", "postgres", "small_disk"]


@dataclass(frozen=True)
class Package:
    """Hold a package, and the scale by which its probabilities are told from those of the other."""

    folder: Path
    scale: float

    def probability(self, text):
        return tiny_packages.probability(text, self.scale)

    def __str__(self):
        return str(self.folder)


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    """Return two packages that give every message another probability."""
    folder = tmp_path_factory.mktemp("packages")
    return [
        Package(tiny_packages.write(folder / f"version-{number}", "", *GOLDEN, scale=scale), scale)
        for number, scale in enumerate((4.0, 2.0), 1)
    ]


@pytest.fixture(scope="session")
def package(packages):
    """Return the package of version 1."""
    return packages[0]
