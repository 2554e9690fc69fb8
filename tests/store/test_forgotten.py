"""A row that is forgotten is gone with all that belongs to it, and its message is known again without its text."""

import uuid

import pytest
from sqlalchemy import func, insert, select

from spamctl.store import forgotten, labels, queries, tables, truth
from spamctl.store.database import open_store
from spamctl.store.rows import ShadowVerdict, values
from tests.store.made_rows import ODD_TEXTS, row


def keep(store, *made):
    with store.writing() as connection:
        connection.execute(insert(tables.data), [values(one) for one in made])


def rows_of(store, table):
    with store.reading() as connection:
        return connection.scalar(select(func.count()).select_from(table))


@pytest.fixture
def full(store):
    """Fill a store with a row that everything is known of, and one that stays."""
    gone, stays = row("Call 0900 111 now", 0), row("see you at eight", 1)
    keep(store, gone, stays)
    for one in (gone, stays):
        labels.feedback(store, one.uuid, "spam", annotator="ada")
        truth.remember(store, [truth.TrueRow(one.uuid, "spam", "test part", "", "none", 0.0, 0, "run")])
        with store.writing() as connection:
            shadow = ShadowVerdict(one.uuid, "2", "spam", 0.5)
            connection.execute(insert(tables.shadow_verdicts).values(values(shadow)))
    return store, gone, stays


def test_a_row_goes_with_all_that_belongs_to_it_and_the_others_stay(full):
    store, gone, stays = full
    removal = forgotten.forget(store, gone.uuid.upper())
    assert (removal.already, removal.related, removal.copies) == (False, 3, 0)
    assert (removal.model_name, removal.model_version) == ("spam", "1")
    for table in (tables.data, tables.labels, tables.shadow_verdicts, tables.truth):
        assert rows_of(store, table) == 1
    assert list(queries.find(store, [gone.uuid, stays.uuid])) == [stays.uuid]


def test_its_near_duplicates_are_known_from_then_on(full):
    store, gone, stays = full
    assert not forgotten.tombstones(store).hold(gone.text)
    forgotten.forget(store, gone.uuid)
    found = forgotten.tombstones(store)
    assert found.hold("CALL  0900 222 now")
    assert found.hold("C\u200bALL 0900 222 \uff4eow")
    assert not found.hold("CALL  0900 222 later")
    assert not found.hold(stays.text)


def test_tombstones_of_an_older_release_hold_too():
    old = forgotten.Tombstones(frozenset({("salt", forgotten._digest("salt", "c\u200ball 0000"))}))
    assert old.hold("C\u200bALL 0900")
    assert not old.hold("CALL 0900")


def test_who_is_forgotten_twice_is_told_when(full):
    store, gone, _ = full
    first = forgotten.forget(store, gone.uuid)
    again = forgotten.forget(store, gone.uuid)
    assert (again.already, again.date) == (True, first.date)
    assert rows_of(store, tables.forgotten) == 1


@pytest.mark.parametrize("unknown", ["no uuid", str(uuid.UUID(int=7))])
def test_what_never_was_leaves_no_tombstone(full, unknown):
    store, *_ = full
    assert forgotten.forget(store, unknown) is None
    assert rows_of(store, tables.forgotten) == 0


def test_rows_that_say_the_same_are_counted(store):
    first, *others = (row("WIN", index) for index in range(3))
    keep(store, first, *others)
    assert forgotten.forget(store, first.uuid).copies == 2


def test_all_tombstones_of_a_store_have_one_salt(store):
    made = [row(text, index) for index, text in enumerate(ODD_TEXTS.values())]
    keep(store, *made)
    for one in made:
        forgotten.forget(store, one.uuid)
    found = forgotten.tombstones(store)
    assert len({salt for salt, _ in found.digests}) == 1
    assert all(found.hold(text) for text in ODD_TEXTS.values())


def test_tombstones_of_two_stores_add_up(tmp_path):
    found = forgotten.Tombstones()
    for name in ("one", "other"):
        with open_store(str(tmp_path / f"{name}.db"), create=True) as store:
            keep(store, made := row(f"of {name}"))
            forgotten.forget(store, made.uuid)
            found |= forgotten.tombstones(store)
    assert [found.hold(text) for text in ("of one", "of other", "of a third")] == [True, True, False]


def test_no_byte_of_a_forgotten_text_is_left_in_the_file(sqlite_store, tmp_path):
    texts = ["a secret that nobody may find again", "what is kept is found"]
    made = [row(text, index) for index, text in enumerate(texts)]
    keep(sqlite_store, *made)
    forgotten.forget(sqlite_store, made[0].uuid)
    sqlite_store.close()
    content = b"".join(path.read_bytes() for path in tmp_path.glob("spam.db*"))
    assert texts[1].encode() in content
    assert texts[0].encode() not in content


def test_a_repeated_request_is_kept_again_and_known_as_forgotten(sqlite_store):
    made = row("again and again")
    keep(sqlite_store, made)
    forgotten.forget(sqlite_store, made.uuid)
    keep(sqlite_store, made)
    assert forgotten.tombstones(sqlite_store).hold(made.text)
    assert not forgotten.forget(sqlite_store, made.uuid).already
    assert rows_of(sqlite_store, tables.forgotten) == 1
