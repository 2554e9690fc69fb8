"""A row that is forgotten is gone with all that belongs to it, and its message is known again without its text."""

import random
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, func, insert, select

from spamctl.store import deletion, labels, queries, tables, truth
from spamctl.store.database import fold_log, open_store
from spamctl.store.tables import ShadowVerdict, values
from spamctl.store.text_locations import Sweep, Wanted
from tests.store.made_rows import ODD_TEXTS, row
from tests.ticks import last


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
    removal = deletion.forget(store, gone.uuid.upper())
    assert (removal.already, removal.related, removal.copies) == (False, 3, 0)
    assert (removal.model_name, removal.model_version) == ("spam", "1")
    for table in (tables.data, tables.labels, tables.shadow_verdicts, tables.truth):
        assert rows_of(store, table) == 1
    assert list(queries.find(store, [gone.uuid, stays.uuid])) == [stays.uuid]


def test_its_near_duplicates_are_known_from_then_on(full):
    store, gone, stays = full
    assert not deletion.tombstones(store).hold(gone.text)
    deletion.forget(store, gone.uuid)
    found = deletion.tombstones(store)
    assert found.hold("CALL  0900 222 now")
    assert found.hold("C\u200bALL 0900 222 \uff4eow")
    assert not found.hold("CALL  0900 222 later")
    assert not found.hold(stays.text)


def test_tombstones_of_an_older_release_hold_too():
    old = deletion.Tombstones(frozenset({("salt", deletion._digest("salt", "c\u200ball 0000"))}))
    assert old.hold("C\u200bALL 0900")
    assert not old.hold("CALL 0900")


def test_who_is_forgotten_twice_is_told_when(full):
    store, gone, _ = full
    first = deletion.forget(store, gone.uuid)
    again = deletion.forget(store, gone.uuid)
    assert (again.already, again.date) == (True, first.date)
    assert rows_of(store, tables.forgotten) == 1


@pytest.mark.parametrize("unknown", ["no uuid", str(uuid.UUID(int=7))])
def test_what_never_was_leaves_no_tombstone(full, unknown):
    store, *_ = full
    assert deletion.forget(store, unknown) is None
    assert rows_of(store, tables.forgotten) == 0


def test_rows_that_say_the_same_are_counted(store):
    first, *others = (row("WIN", index) for index in range(3))
    keep(store, first, *others)
    assert deletion.forget(store, first.uuid).copies == 2


def test_all_tombstones_of_a_store_have_one_salt(store):
    made = [row(text, index) for index, text in enumerate(ODD_TEXTS.values())]
    keep(store, *made)
    for one in made:
        deletion.forget(store, one.uuid)
    found = deletion.tombstones(store)
    assert len({salt for salt, _ in found.digests}) == 1
    assert all(found.hold(text) for text in ODD_TEXTS.values())


def test_tombstones_of_two_stores_add_up(tmp_path):
    found = deletion.Tombstones()
    for name in ("one", "other"):
        with open_store(str(tmp_path / f"{name}.db"), create=True) as store:
            keep(store, made := row(f"of {name}"))
            deletion.forget(store, made.uuid)
            found |= deletion.tombstones(store)
    assert [found.hold(text) for text in ("of one", "of other", "of a third")] == [True, True, False]


def test_no_byte_of_a_forgotten_text_is_left_in_the_file(sqlite_store, tmp_path):
    texts = ["a secret that nobody may find again", "what is kept is found"]
    made = [row(text, index) for index, text in enumerate(texts)]
    keep(sqlite_store, *made)
    deletion.forget(sqlite_store, made[0].uuid)
    sqlite_store.close()
    content = b"".join(path.read_bytes() for path in tmp_path.glob("spam.db*"))
    assert texts[1].encode() in content
    assert texts[0].encode() not in content


def test_no_part_of_one_is_left_where_its_row_was_moved(tmp_path):
    chance = random.Random(1)
    with open_store(str(tmp_path / "spam.db"), create=True) as store:
        event.listen(store.engine, "connect", lambda connection, _: connection.execute("PRAGMA secure_delete = OFF"))
        store.close()  # its connections are made anew, as an older release made them
        made = [row(f"CANARY{index:05d} {'x' * chance.randint(5, 300)}", index) for index in range(2_000)]
        keep(store, *made)
        for start in range(0, len(made), 100):
            labels.set_labels(store, {one.uuid: "spam" for one in made[start : start + 100 : 2]}, "a longer row")
        gone = {one.text for one in made[::7]}
        last(deletion.forget_rows(store, sorted(gone)))
        assert list(deletion.purge(store, gone)) == []
        assert queries.count(store) == len(made) - len(gone)
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert {one.text for one in made if one.text[:11].encode() in content} == {one.text for one in made} - gone


def test_what_a_reader_holds_up_is_said_and_done_at_the_next_opening(tmp_path):
    made = row("a secret that nobody may find again")

    def found():
        return any(made.text.encode() in path.read_bytes() for path in tmp_path.iterdir())

    with open_store(str(tmp_path / "spam.db"), create=True) as store:
        keep(store, made)
        fold_log(store)
    reading = [sys.executable, "-c", READER, str(tmp_path / "spam.db")]
    with subprocess.Popen(reading, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdout.readline() == b"1\n"
        with open_store(str(tmp_path / "spam.db")) as store:
            deletion.forget(store, made.uuid)
            (told,) = deletion.purge(store, [made.text], patience_s=0.3)
        assert "spam.db: a reader holds on" in told
        assert found()
        reader.stdin.close()
    open_store(str(tmp_path / "spam.db")).close()
    assert not found()


READER = """
import sqlite3, sys
reader = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
reader.execute("BEGIN")
print(reader.execute("SELECT COUNT(*) FROM data").fetchone()[0], flush=True)
sys.stdin.read()
"""


def test_wishes_are_uuids_and_texts_and_those_that_name_nothing_are_told(store):
    twice, once, stays = [row("WIN now", 0), row("WIN now", 1)], row("a list", 2), row("see you at eight", 3)
    keep(store, *twice, once, stays)
    labels.feedback(store, once.uuid, "spam")
    found = last(deletion.forget_rows(store, ["WIN now", once.uuid.upper(), "no such text", str(uuid.UUID(int=7))]))
    assert (found.rows, found.related, found.already, found.unknown, found.copies) == (3, 1, 0, [3, 4], 0)
    assert found.texts == {"WIN now", "a list"}
    assert found.labelled is not None
    assert list(deletion.purge(store, found.texts)) == []
    again = last(deletion.forget_rows(store, ["WIN now", once.uuid]))
    assert (again.rows, again.already, again.unknown) == (0, 2, [])
    assert list(queries.find(store, [stays.uuid])) == [stays.uuid]


def test_a_copy_that_stays_keeps_its_text_out_of_what_is_searched_for(store):
    gone, copy = row("the same", 0), row("the same", 1)
    keep(store, gone, copy)
    found = last(deletion.forget_rows(store, [gone.uuid]))
    assert (found.rows, found.copies, found.texts) == (1, 1, set())


def test_retention_takes_the_old_batch_by_batch_and_leaves_no_tombstones(store, monkeypatch):
    monkeypatch.setattr(deletion, "BATCH", 7)
    now = datetime.now(UTC)
    made = [row(f"message {index}", index, date=now - timedelta(days=index)) for index in range(40)]
    keep(store, *made)
    labels.feedback(store, made[30].uuid, "spam")
    found = last(deletion.forget_before(store, now - timedelta(days=9, hours=12)))
    assert (found.rows, found.related, queries.count(store)) == (30, 1, 10)
    assert found.texts == {one.text for one in made[10:]}
    assert rows_of(store, tables.forgotten) == 0


def test_a_repeated_request_is_kept_again_and_known_as_forgotten(sqlite_store):
    made = row("again and again")
    keep(sqlite_store, made)
    deletion.forget(sqlite_store, made.uuid)
    keep(sqlite_store, made)
    assert deletion.tombstones(sqlite_store).hold(made.text)
    assert not deletion.forget(sqlite_store, made.uuid).already
    assert rows_of(sqlite_store, tables.forgotten) == 1


def test_runs_whose_values_are_kept_elsewhere_are_named(tmp_path):
    flow = tmp_path / ".metaflow" / "TrainFlow"
    for run in ("17", "18", "19"):
        (flow / run / "_meta").mkdir(parents=True)
    (flow / "19" / "start" / "1").mkdir(parents=True)
    (flow / "19" / "start" / "1" / "0.data.json").write_text('{"objects": {}}')
    (tmp_path / ".metaflow" / "LabelFlow" / "20" / "_meta").mkdir(parents=True)  # which keeps counts alone
    sweep = Sweep(tmp_path, Wanted(frozenset({"a message that was forgotten"})), frozenset())
    sweep.run()
    assert sweep.left == ["TrainFlow, runs 17 to 18: values are kept elsewhere (--datastore): delete those runs there"]
