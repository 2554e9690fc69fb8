"""Lend stores in both databases, and the root of the repository, to those who attack them."""

from tests.house.conftest import root
from tests.store.conftest import address, postgres, store

__all__ = ["address", "postgres", "root", "store"]
