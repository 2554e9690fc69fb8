import hashlib
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime

import pytest
from sqlalchemy import create_engine, create_mock_engine, delete, insert, inspect, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.pool import NullPool

from spamctl.errors import UsageError
from spamctl.store import labels, queries, tables
from spamctl.store.address import parse
from spamctl.store.capture import Capture
from spamctl.store.database import open_store
from spamctl.store.migrations import MIGRATIONS
from tests.store.made_rows import row, rows

# What a step says to a database never changes: stores out there were made by it. A new step adds a line.
HISTORY = {
    "create_data": "81c76535ef8da3e8",
    "create_shadow_verdicts": "51c08dd4dda483e3",
    "create_labels": "fb4094ffd0cd1e05",
    "create_truth": "f02b2f7bc3865c6f",
    "create_monitoring": "0a73b9970076795e",
    "create_forgotten": "af15bd2cd8aef3ec",
    "tell_packages_apart": "51a0219062b338c1",
    "keep_reach": "c603b0279f478395",
    "keep_twin_digests": "73e9d427cd5794e4",
}


def said(step):
    """Return what a step says to both databases."""
    lines = []
    for dialect in (sqlite.dialect(), postgresql.dialect()):

        def note(statement, *_args, dialect=dialect, **_more):
            lines.append(str(statement.compile(dialect=dialect)))

        step(create_mock_engine(f"{dialect.name}://", note))
    return "\n".join(sorted(" ".join(line.split()) for line in lines))


def test_history_only_grows():
    told = {step.__name__: hashlib.sha256(said(step).encode()).hexdigest()[:16] for step in MIGRATIONS}
    assert told == HISTORY


def shape(connection):
    """Describe our tables as a database has them."""
    found = inspect(connection)
    return {
        name: (
            [(column["name"], str(column["type"]), column["nullable"]) for column in found.get_columns(name)],
            found.get_pk_constraint(name)["constrained_columns"],
            sorted((index["name"], index["column_names"]) for index in found.get_indexes(name)),
            sorted((check["name"], check["sqltext"]) for check in found.get_check_constraints(name)),
        )
        for name in tables.metadata.tables
    }


def plain_engine(address):
    return create_engine(parse(address).url, poolclass=NullPool)


def older_store(address, version):
    """Make a store as a spamctl of an earlier day left it."""
    with plain_engine(address).begin() as connection:
        tables.spamctl_store.create(connection)
        for number, step in enumerate(MIGRATIONS[:version], 1):
            step(connection)
            made = {"version": number, "name": step.__name__, "date": datetime.now(UTC)}
            connection.execute(insert(tables.spamctl_store).values(made))


def versions(store):
    with store.reading() as connection:
        return connection.scalars(select(tables.spamctl_store.c.version).order_by("version")).all()


ALL = list(range(1, len(MIGRATIONS) + 1))


def test_the_history_leads_to_the_tables_of_today(address):
    with open_store(address, create=True) as store, store.reading() as connection:
        by_history = shape(connection)
        assert versions(store) == ALL
    with plain_engine(address).begin() as connection:
        tables.metadata.drop_all(connection)
        tables.metadata.create_all(connection)
        assert shape(connection) == by_history


@pytest.mark.parametrize("version", ALL)
def test_an_older_store_is_brought_up_to_date_and_keeps_its_rows(address, version):
    older_store(address, version)
    made = row("from an earlier day")
    known = {name: value for name, value in asdict(made).items() if value is not None}  # not to which package it is due
    with plain_engine(address).begin() as connection:
        connection.execute(insert(tables.data).values(known))
    with open_store(address) as store:
        assert versions(store) == ALL
        assert [(found.uuid, found.package_sha256) for found in queries.newest(store, 5)] == [(made.uuid, None)]
        with store.reading() as connection, plain_engine(address).connect() as other:
            assert shape(connection) == shape(other)


KILLED = """
import os, signal, sys
from sqlalchemy import text
from spamctl.store.database import open_store
from spamctl.store.migrations import MIGRATIONS

def half(connection):
    connection.execute(text("CREATE TABLE half_done (number INTEGER)"))
    connection.execute(text("ALTER TABLE data ADD COLUMN half TEXT"))
    os.kill(os.getpid(), signal.SIGKILL)

MIGRATIONS.append(half)
open_store(sys.argv[1], create=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("version", [0, 1])
def test_a_migration_killed_midway_leaves_the_store_as_it_was(address, version):
    if version:
        older_store(address, version)
    killed = subprocess.run([sys.executable, "-c", KILLED, address], timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    with plain_engine(address).connect() as connection:
        found = inspect(connection)
        assert found.has_table("data") == bool(version)
        assert not found.has_table("half_done")
        assert not found.has_table("labels")
    with open_store(address, create=True) as store:
        assert versions(store) == ALL


def test_a_migration_that_fails_leaves_the_store_as_it_was(address):
    def broken(connection):
        connection.execute(text("CREATE TABLE half_done (number INTEGER)"))
        connection.execute(text("ALTER TABLE no_such_table ADD COLUMN half TEXT"))

    older_store(address, 1)
    MIGRATIONS.append(broken)
    try:
        with pytest.raises(UsageError, match="refused the statement"):
            open_store(address)
    finally:
        MIGRATIONS.pop()
    with open_store(address) as store, store.reading() as connection:
        assert not inspect(connection).has_table("half_done")
        assert versions(store) == ALL


def test_many_who_start_at_once_migrate_once(address):
    older_store(address, 1)
    with ThreadPoolExecutor(6) as pool:
        stores = list(pool.map(lambda _: open_store(address), range(6)))
    assert [versions(store) for store in stores] == [ALL] * 6
    for store in stores:
        store.close()


@pytest.mark.slow
def test_processes_that_start_at_once_make_one_store(address):
    code = "import sys; from spamctl.store.database import open_store; open_store(sys.argv[1], create=True).close()"
    started = [subprocess.Popen([sys.executable, "-c", code, address]) for _ in range(2)]
    assert [process.wait(60) for process in started] == [0, 0]
    with open_store(address) as store:
        assert versions(store) == ALL


def refused(address, words):
    """Hold that an address is refused in one line, whether a store may be created there or not."""
    for create in (False, True):
        with pytest.raises(UsageError, match=words) as refusal:
            open_store(address, create=create)
        assert str(refusal.value).isprintable()


def schema(address):
    """Return everything that a database holds, as far as its catalogue tells."""
    with plain_engine(address).connect() as connection:
        found = inspect(connection)
        return {name: [column["name"] for column in found.get_columns(name)] for name in found.get_table_names()}


def test_another_programs_table_data_is_refused_and_not_touched(address):
    with plain_engine(address).begin() as connection:
        connection.execute(text("CREATE TABLE data (id INTEGER, secret TEXT)"))
    before = schema(address)
    refused(address, "belongs to another program .it has a table data.: choose another address")
    assert schema(address) == before


def test_a_newer_store_is_refused_and_not_touched(address):
    with open_store(address, create=True) as store, store.writing() as connection:
        newer = {"version": len(MIGRATIONS) + 1, "name": "unheard_of", "date": datetime.now(UTC)}
        connection.execute(insert(tables.spamctl_store).values(newer))
    before = schema(address)
    refused(address, "written by a newer spamctl .* upgrade spamctl")
    assert schema(address) == before


def test_a_store_whose_history_has_gaps_is_refused(address):
    with open_store(address, create=True) as store, store.writing() as connection:
        connection.execute(delete(tables.spamctl_store).where(tables.spamctl_store.c.version == 2))
    refused(address, "its history has gaps")


def test_a_store_whose_history_is_empty_is_refused(address):
    with open_store(address, create=True) as store, store.writing() as connection:
        connection.execute(delete(tables.spamctl_store))
    refused(address, "its history has gaps")


@pytest.mark.parametrize("damage", ["ALTER TABLE data DROP COLUMN threshold", "DROP TABLE data"])
def test_a_store_that_lost_a_table_or_a_column_is_refused(address, damage):
    with open_store(address, create=True) as store, store.writing() as connection:
        connection.execute(text(damage))
    refused(address, "is damaged .data.(threshold|uuid) is missing.")


def partitions(store):
    """Count the partitions of `data`."""
    with store.reading() as connection:
        return connection.scalar(text("SELECT count(*) FROM pg_inherits WHERE inhparent = 'data'::regclass"))


@pytest.mark.postgres
def test_a_new_store_in_postgresql_is_partitioned_by_the_hash_of_the_uuid(postgres):
    address, made = postgres.empty_database(), rows(200)
    capture = Capture(address, timeout_s=30)
    try:
        assert capture.submit(made).result(60)
        assert capture.submit(made).result(60)  # a retry
        assert (capture.stats().stored, capture.stats().repeated) == (200, 200)
    finally:
        capture.close()
    with open_store(address) as store, store.reading() as connection:
        assert partitions(store) == 8
        parts = connection.execute(text("SELECT tableoid, count(*) FROM data GROUP BY 1")).all()
        assert len(parts) == 8
        assert sum(count for _, count in parts) == 200
        names = connection.scalars(text("SELECT indexname FROM pg_indexes WHERE tablename = 'data'"))
        assert sorted(names) == sorted(["data_pkey", *(index.name for index in tables.data.indexes)])


@pytest.mark.postgres
def test_an_older_store_in_postgresql_stays_in_one_piece(postgres):
    address = postgres.empty_database()
    older_store(address, len(MIGRATIONS) - 1)
    with open_store(address) as store:
        assert partitions(store) == 0
        assert versions(store) == ALL


@pytest.mark.slow
@pytest.mark.postgres
def test_an_older_store_is_moved_into_partitions_as_the_help_says(postgres):
    old, new, made = postgres.new_database(), postgres.new_database(), rows(300)
    older_store(old, len(MIGRATIONS) - 1)
    with open_store(old) as store:
        with store.writing() as connection:
            connection.execute(insert(tables.data), [asdict(one) for one in made])
        assert labels.feedback(store, made[0].uuid, "spam") == "recorded"
    open_store(new, create=True).close()
    dump, load = (postgres.programs / name for name in ("pg_dump", "psql"))
    command = [dump, "-a", "-T", "spamctl_store", old]
    dumped = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    subprocess.run([load, "--quiet", "-v", "ON_ERROR_STOP=1", new], input=dumped, check=True, timeout=60)
    with open_store(new) as store:
        assert partitions(store) == 8
        assert queries.find(store, [one.uuid for one in made]).keys() == {one.uuid for one in made}
        assert labels.feedback(store, made[1].uuid, "spam") == "recorded"  # its number is none that was given before
    capture = Capture(new, timeout_s=30)
    try:
        assert capture.submit(made).result(60)
        assert (capture.stats().stored, capture.stats().repeated) == (0, 300)
    finally:
        capture.close()


@pytest.mark.slow
@pytest.mark.postgres
def test_a_migration_that_waits_for_a_reader_holds_up_no_writer_for_long(postgres):
    address, waited = postgres.empty_database(), []
    older_store(address, len(MIGRATIONS) - 1)
    with ThreadPoolExecutor() as pool, plain_engine(address).connect() as reader:
        reader.execute(select(tables.data.c.uuid)).all()  # its transaction, and its lock, last
        opening = pool.submit(open_store, address, patience_s=60.0)
        with plain_engine(address).connect() as writer:
            until = time.monotonic() + 4
            while time.monotonic() < until:
                began = time.monotonic()
                writer.execute(text("UPDATE data SET source = source WHERE false"))
                writer.commit()
                waited.append(time.monotonic() - began)
        assert not opening.done()
        reader.rollback()
        opening.result(60).close()
    assert 0.1 < max(waited) < 2  # it did wait for the step, and the step gave way


@pytest.mark.postgres
def test_in_postgresql_the_tables_of_others_are_no_concern_of_ours(postgres):
    address = postgres.empty_database()
    with plain_engine(address).begin() as connection:
        connection.execute(text("CREATE TABLE customers (id INTEGER)"))
    with open_store(address, create=True) as store:
        assert versions(store) == ALL


@pytest.mark.postgres
def test_a_database_that_cannot_hold_every_language_is_refused(postgres):
    refused(postgres.new_database("LATIN1"), "create the database with ENCODING 'UTF8'")
