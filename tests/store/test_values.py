from dataclasses import asdict
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select
from sqlalchemy.exc import StatementError

from spamctl.store import tables
from tests.store.made_rows import ODD_TEXTS, row

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=50)


def write(store, *made):
    with store.writing() as connection:
        connection.execute(insert(tables.data), [asdict(one) for one in made])


def read(store, column, uuid):
    with store.reading() as connection:
        return connection.scalar(select(column).where(tables.data.c.uuid == uuid))


def test_texts_of_all_kinds_come_back(store):
    made = {name: row(text, request_id=text[:50]) for name, text in ODD_TEXTS.items()}
    write(store, *made.values())
    texts = {name: read(store, tables.data.c.text, one.uuid) for name, one in made.items()}
    request_ids = {name: read(store, tables.data.c.request_id, one.uuid) for name, one in made.items()}
    assert texts == ODD_TEXTS
    assert request_ids == {name: text[:50] for name, text in ODD_TEXTS.items()}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(ANY_TEXT, min_size=1, max_size=20, unique=True))
def test_any_texts_come_back_and_can_be_looked_up(store, texts):
    with store.writer.connect() as connection:
        made = {text: row(text) for text in texts}
        connection.execute(insert(tables.data), [asdict(one) for one in made.values()])
        for text, one in made.items():
            assert connection.scalars(select(tables.data.c.uuid).where(tables.data.c.text == text)).all() == [one.uuid]
        assert set(connection.scalars(select(tables.data.c.text))) == set(texts)
        connection.rollback()


def test_a_date_comes_back_in_utc_to_the_microsecond(store):
    east = timezone(timedelta(hours=9))
    date = datetime(2026, 11, 23, 5, 51, 58, 123456, tzinfo=east)
    made = row(date=date)
    write(store, made)
    found = read(store, tables.data.c.date, made.uuid)
    assert found == date
    assert found.tzinfo == UTC


def test_a_date_without_a_zone_is_refused(store):
    with store.reading() as connection, pytest.raises(StatementError, match="time zone"):
        connection.scalar(select(tables.data.c.uuid).where(tables.data.c.date == datetime(2026, 1, 1)))  # noqa: DTZ001


def test_sql_shows_plain_messages_whole_uuids_and_utc_dates(sqlite_store):
    made = row("Win £1000 now 😀", date=datetime(2026, 11, 23, 5, 51, 58, tzinfo=UTC))
    write(sqlite_store, made)
    with sqlite_store.reading() as connection:
        shown = connection.exec_driver_sql("SELECT uuid, date, text FROM data").one()
    assert tuple(shown) == (made.uuid, "2026-11-23 05:51:58.000000", "Win £1000 now 😀")
