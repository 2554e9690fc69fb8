"""A server whose store cannot be used does not start, and says what to do."""

import re
from datetime import UTC, datetime

import pytest
from sqlalchemy import insert

from spamctl.store import tables
from spamctl.store.database import open_store
from spamctl.store.migrations import MIGRATIONS
from tests.faults.clients import once
from tests.faults.processes import PATIENCE_S, a_server, refused
from tests.store.test_database import DAMAGE, closed_store
from tests.store.test_migrations import ALL, older_store, versions

__all__ = ["closed_store"]
pytestmark = pytest.mark.timeout(2 * PATIENCE_S)


def from_tomorrow(file):
    with open_store(str(file)) as store, store.writing() as connection:
        newer = {"version": len(MIGRATIONS) + 1, "name": "unheard_of", "date": datetime.now(UTC)}
        connection.execute(insert(tables.spamctl_store).values(newer))


CURES = DAMAGE | {from_tomorrow: "written by a newer spamctl .* upgrade spamctl"}


@pytest.mark.parametrize("damage", CURES, ids=lambda damage: damage.__name__)
def test_a_file_that_cannot_be_used_is_refused_with_its_cure_and_stays_as_it_is(damage, package, closed_store):
    damage(closed_store)
    before = closed_store.read_bytes()
    code, line = refused(package, str(closed_store))
    assert code == 2
    assert re.search(f"spam.db: .*({CURES[damage]})", line)
    assert closed_store.read_bytes() == before


@pytest.mark.parametrize(
    ("address", "cure"),
    [
        ("nowhere/spam.db", "its folder does not exist: create the folder, or choose another address"),
        ("/proc/spam.db", "give this user the right to write there, or choose another address|look at the disk"),
    ],
)
def test_a_place_where_no_file_can_be_is_refused_with_its_cure(address, cure, package):
    code, line = refused(package, address)
    assert code == 2
    assert re.search(f"{address}: .*({cure})", line)


def test_an_older_store_is_brought_up_to_date_and_served_from(package):
    older_store("spam.db", 1)
    with a_server(package) as server:
        assert once(server.port, "hello").is_captured
    with open_store("spam.db") as store:
        assert versions(store) == ALL
