import tracemalloc
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, insert, text

from spamctl.store import labels, queries, tables, truth
from spamctl.store.queries import SourceTally, Tally, Window
from tests.store.made_rows import row, rows

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def minutes(number):
    return NOON + timedelta(minutes=number)


@pytest.fixture
def filled(store):
    """Store 20 rows: one a minute, versions 1 and 2 in turn, every third not spam."""
    made = [
        row(
            f"message {number}",
            number,
            date=minutes(number),
            model_version=str(1 + number % 2),
            classification="spam" if number % 3 else "not spam",
        )
        for number in range(20)
    ]
    with store.writing() as connection:
        connection.execute(insert(tables.data), [asdict(one) for one in made])
    labels.set_labels(store, {one.uuid: "spam" for one in made[:6]}, "oracle")
    return store


def numbers(found):
    return [int(one.text.split()[1]) for one in found]


WINDOWS = {
    "all": (Window(), range(20)),
    "since": (Window(since=minutes(15)), range(15, 20)),
    "until": (Window(until=minutes(5)), range(5)),
    "between": (Window(since=minutes(5), until=minutes(8)), range(5, 8)),
    "version": (Window(model_version="2"), range(1, 20, 2)),
    "labelled": (Window(labelled=True), range(6)),
    "unlabelled": (Window(labelled=False), range(6, 20)),
    "everything at once": (Window(minutes(2), minutes(9), "1", labelled=True), [2, 4]),
    "nothing": (Window(model_version="7"), []),
}


@pytest.mark.parametrize(("window", "expected"), WINDOWS.values(), ids=WINDOWS)
def test_a_window_chooses_the_same_rows_everywhere(window, expected, filled):
    expected = list(expected)
    assert queries.count(filled, window) == len(expected)
    assert sum(tally.rows for tally in queries.tally(filled, window)) == len(expected)
    assert numbers(queries.newest(filled, 100, window)) == expected[::-1]
    assert numbers(queries.newest(filled, 3, window)) == expected[::-1][:3]
    for size in (1, 3, 100):
        assert [number for page in queries.pages(filled, window, size=size) for number in numbers(page)] == expected
    every = [one for page in queries.pages(filled) for one in page]
    standing = {one.uuid for one in queries.standing(filled, [one.uuid for one in every], window)}
    assert numbers([one for one in every if one.uuid in standing]) == expected
    backwards = queries.pages(filled, window, size=4, newest_first=True)
    assert [number for page in backwards for number in numbers(page)] == expected[::-1]


def test_a_row_is_read_as_it_was_written(filled):
    found = queries.newest(filled, 1)[0]
    assert (found.date, found.text, found.classification, found.model_version) == (
        minutes(19),
        "message 19",
        "spam",
        "2",
    )
    assert (found.probability, found.threshold, found.latency_ms, found.source) == (0.75, 0.5, 1.5, "invocations")
    assert (found.ground_truth, found.label_source, found.labeled_at) == (None, None, None)
    assert queries.find(filled, [found.uuid, found.uuid.upper(), "no uuid", "0" * 32]) == {found.uuid: found}


def test_rows_are_counted_by_verdict_label_and_source(filled):
    assert queries.tally(filled, Window(model_version="1", labelled=True)) == [
        Tally("1", "not spam", "spam", "oracle", 1),
        Tally("1", "spam", "spam", "oracle", 2),
    ]


def test_labels_are_counted_by_source_with_those_that_equal_the_verdict(filled):
    labels.set_labels(filled, {one.uuid: "spam" for one in queries.newest(filled, 3)}, "file")
    assert queries.by_source(filled) == [SourceTally("file", 3, 2), SourceTally("oracle", 6, 4)]
    assert queries.by_source(filled, Window(labelled=False)) == []


def test_labelled_rows_are_read_with_all_that_an_export_tells(filled):
    labels.set_labels(filled, {one.uuid: "spam" for one in queries.newest(filled, 3)}, "simulated")
    pages = list(queries.labelled_rows(filled, size=4, leave_out="simulated"))
    assert [row[0] for page in pages for row in page] == [f"message {number}" for number in range(6)]
    assert pages[0][0][1:] == ("spam", queries.newest(filled, 20)[-1].uuid, "oracle", minutes(0))
    assert sum(map(len, queries.labelled_rows(filled, size=4))) == 9


def test_rows_whose_truth_is_known_are_counted(filled):
    first = queries.newest(filled, 20)[-1]
    truth.remember(filled, [truth.TrueRow(first.uuid, "spam", "test part", "", "none", 0.0, 0, "run")])
    assert queries.count_known(filled) == 1
    assert queries.count_known(filled, Window(labelled=False)) == 0


def test_nothing_is_asked_for_and_nothing_comes(filled):
    assert queries.newest(filled, 0) == []
    assert queries.find(filled, []) == {}


def test_rows_of_one_date_are_read_once_each(store):
    made = rows(23, date=NOON)
    with store.writing() as connection:
        connection.execute(insert(tables.data), [asdict(one) for one in made])
    for newest_first in (False, True):
        read = [one.uuid for page in queries.pages(store, size=4, newest_first=newest_first) for one in page]
        assert len(read) == 23
        assert set(read) == {one.uuid for one in made}


def test_unlabelled_rows_may_be_labelled_while_they_are_read(filled):
    labelled = []
    for page in queries.unlabelled(filled, Window(until=minutes(18)), size=5):
        assert labels.set_labels(filled, dict(page), "simulated") == len(page)
        labelled += page
    assert len(labelled) == 12
    assert queries.count(filled, Window(labelled=False)) == 2


def test_rows_that_arrive_while_a_window_is_read_do_not_disturb(filled):
    seen = []
    for page in queries.pages(filled, Window(until=minutes(20)), size=6):
        seen += numbers(page)
        with filled.writing() as connection:
            late = row(f"message {100 + len(seen)}", len(seen) + 100, date=minutes(30))
            connection.execute(insert(tables.data), asdict(late))
    assert seen == list(range(20))


PLANS = {
    "newest": (Window(), True, "data_by_date"),
    "since": (Window(since=NOON), False, "data_by_date"),
    "version": (Window(model_version="1", since=NOON), False, "data_by_version"),
    "unlabelled": (Window(labelled=False), False, "data_unlabelled"),
    "labelled": (Window(labelled=True, since=NOON), False, "data_labelled"),
}


@pytest.mark.parametrize(("window", "newest_first", "index"), PLANS.values(), ids=PLANS)
def test_every_window_is_read_through_an_index(window, newest_first, index, sqlite_store):
    plans = []

    def explain(connection, _cursor, statement, parameters, *_more):
        if statement.startswith("SELECT data.uuid, data.date"):
            plans.append(
                connection.connection.dbapi_connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            )

    with sqlite_store.writing() as connection:
        connection.execute(insert(tables.data), [asdict(one) for one in rows(30)])
    event.listen(sqlite_store.engine, "before_cursor_execute", explain)
    list(queries.pages(sqlite_store, window, size=10, newest_first=newest_first))
    assert plans
    for plan in plans:
        assert index in str(plan)


@pytest.mark.slow
def test_memory_stays_flat(sqlite_store):
    with sqlite_store.writing() as connection:
        for start in range(0, 8000, 1000):
            made = [row(f"{number} " + "x" * 1000, number) for number in range(start, start + 1000)]
            connection.execute(insert(tables.data), [asdict(one) for one in made])
    sum(len(page) for page in queries.pages(sqlite_store, size=200))
    tracemalloc.start()
    assert sum(len(page) for page in queries.pages(sqlite_store, size=200)) == 8000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3_000_000


def test_the_tutorials_query_works(filled):
    with filled.reading() as connection:
        assert connection.scalar(text("SELECT COUNT(*) FROM data;")) == 20
