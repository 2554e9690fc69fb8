"""A database that takes rows and does not keep them is found out before anyone is told that they are stored."""

import contextlib

import pytest
from sqlalchemy import text

from spamctl.errors import UnavailableError
from spamctl.store import labels, queries, sampling, truth
from spamctl.store.capture import Capture
from spamctl.store.database import NotKeptError, open_store
from spamctl.store.tables import ShadowVerdict
from tests.store.made_rows import row
from tests.store.test_monitoring import FIRST
from tests.store.test_truth import true_row

WHEN = {
    "before": ("BEFORE", "SELECT RAISE(IGNORE);", "RETURN NULL;"),
    "after": (
        "AFTER",
        "DELETE FROM {table} WHERE uuid = NEW.uuid;",
        "DELETE FROM {table} WHERE uuid = NEW.uuid; RETURN NEW;",
    ),
}


def swallow(address, table, when, condition):
    """Let a trigger take the rows that come into a table, as another program might."""
    moment, sqlite, postgres = WHEN[when]
    with open_store(address, create=True) as store, store.writing() as connection:
        if store.address.file:
            body = sqlite.format(table=table)
            connection.execute(
                text(f"CREATE TRIGGER foreign_one {moment} INSERT ON {table} WHEN {condition} BEGIN {body} END")
            )
            return
        body = postgres.format(table=table)
        connection.execute(
            text(f"CREATE FUNCTION swallow() RETURNS trigger AS $$ BEGIN {body} END $$ LANGUAGE plpgsql")
        )
        connection.execute(
            text(
                f"CREATE TRIGGER foreign_one {moment} INSERT ON {table} "
                f"FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION swallow()"
            )
        )


@pytest.mark.postgres
def test_a_trigger_on_a_partition_is_found_out_too(postgres):
    address = postgres.empty_database()
    swallow(address, "data_0", "after", "true")
    capture, kept = Capture(address, timeout_s=30), []
    try:
        requests = {one.uuid: capture.submit([one]) for one in (row(f"{n}", request_id=f"{n}") for n in range(40))}
        for uuid, future in requests.items():
            with contextlib.suppress(UnavailableError):
                assert future.result(60)
                kept.append(uuid)
    finally:
        capture.close()
    assert 0 < len(kept) < 40
    with open_store(address) as store:
        assert queries.find(store, list(requests)).keys() == set(kept)


@pytest.mark.parametrize("when", WHEN)
def test_a_row_that_a_trigger_takes_is_not_acknowledged_and_the_others_are(address, when, caplog):
    swallow(address, "data", when, "NEW.text LIKE 'lost%'")
    capture = Capture(address, timeout_s=30)
    try:
        requests = {
            name: capture.submit([row(name, request_id=name)]) for name in ("one", "lost one", "two", "lost two")
        }
        for name, future in requests.items():
            if name.startswith("lost"):
                with pytest.raises(UnavailableError, match="it takes rows and does not keep them"):
                    future.result(60)
            else:
                assert future.result(60) is True
        assert capture.submit([row("one", request_id="one")]).result(60) is True  # a retry is no loss
        assert capture.stats().failed == 2
    finally:
        capture.close(60)
    with open_store(address) as store:
        assert sorted(found.text for found in queries.newest(store, 9)) == ["one", "two"]
    assert "table data: it takes rows and does not keep them" in caplog.text
    assert "remove the trigger" in caplog.text


def test_a_trigger_that_is_made_while_rows_are_written_is_found_out(address):
    capture = Capture(address, timeout_s=30)
    try:
        assert capture.submit([row("before", request_id="before")]).result(60)
        swallow(address, "data", "before", "NEW.text LIKE 'lost%'")
        with pytest.raises(UnavailableError):
            capture.submit([row("lost", request_id="after")]).result(60)
    finally:
        capture.close(60)


@pytest.mark.parametrize("when", WHEN)
def test_a_shadows_verdict_that_a_trigger_takes_is_not_acknowledged(address, when):
    swallow(address, "shadow_verdicts", when, "NEW.model_version = '3'")
    capture, served = Capture(address, timeout_s=30), row()
    try:
        assert capture.submit([served], [ShadowVerdict(served.uuid, "2", "spam", 0.75)]).result(60)
        with pytest.raises(UnavailableError):
            capture.submit([], [ShadowVerdict(served.uuid, "3", "spam", 0.75)]).result(60)
    finally:
        capture.close(60)


@pytest.mark.parametrize("table", ["labels", "truth", "monitoring"])
def test_what_else_is_written_is_looked_for_as_well(address, table):
    capture, served = Capture(address), row()
    assert capture.submit([served]).result(60)
    assert capture.close(60)
    with open_store(address) as store:
        write = {
            "labels": lambda: labels.feedback(store, served.uuid, "spam"),
            "truth": lambda: truth.remember(store, [true_row()]),
            "monitoring": lambda: sampling.append_monitoring(store, FIRST),
        }[table]
        swallow(address, table, "before", "NEW.uuid IS NOT NULL" if table != "monitoring" else "NEW.rows > 0")
        with pytest.raises(NotKeptError, match=f"table {table}: it takes rows and does not keep them"):
            write()
        assert queries.newest(store, 1)[0].ground_truth is None
