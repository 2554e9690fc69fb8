from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import pytest
from sqlalchemy import insert

from spamctl.store import labels, queries, tables
from spamctl.store.database import open_store
from spamctl.store.queries import Window
from spamctl.store.tables import row_uuid
from tests.store.made_rows import rows

NOWHERE = row_uuid("never sent", 0, "")


@pytest.fixture
def made(store):
    """Store 30 rows and return them."""
    made = rows(30)
    with store.writing() as connection:
        connection.execute(insert(tables.data), [asdict(one) for one in made])
    return made


def found(store, one):
    row = queries.find(store, [one.uuid])[one.uuid]
    return row.ground_truth, row.label_source


def test_many_rows_are_labelled_at_once(store, made):
    given = {one.uuid: "spam" if index % 2 else "not spam" for index, one in enumerate(made)}
    assert labels.set_labels(store, given, "file") == 30
    assert {found(store, one) for one in made[1::2]} == {("spam", "file")}
    assert {found(store, one) for one in made[::2]} == {("not spam", "file")}
    assert queries.newest(store, 1)[0].labeled_at >= made[0].date


def test_a_label_that_stands_is_kept_unless_told_otherwise(store, made):
    first, second = made[:2]
    assert labels.set_labels(store, {first.uuid: "spam"}, "oracle") == 1
    assert labels.set_labels(store, {first.uuid: "not spam", second.uuid: "not spam"}, "simulated") == 1
    assert (found(store, first), found(store, second)) == (("spam", "oracle"), ("not spam", "simulated"))
    assert labels.set_labels(store, {first.uuid: "not spam"}, "file", overwrite=True) == 1
    assert found(store, first) == ("not spam", "file")


def test_an_unknown_uuid_changes_nothing(store, made):
    assert labels.set_labels(store, {NOWHERE: "spam"}, "file") == 0
    assert labels.set_labels(store, {}, "file") == 0
    assert queries.count(store, Window(labelled=True)) == 0


@pytest.mark.parametrize("given", [{"no uuid": "spam"}, {NOWHERE: "ham"}, {NOWHERE: None}], ids=str)
def test_what_is_no_label_is_refused_before_any_is_written(given, store, made):
    with pytest.raises(ValueError, match=r"is no uuid|a label is spam or not spam"):
        labels.set_labels(store, {made[0].uuid: "spam"} | given, "file")
    assert queries.count(store, Window(labelled=True)) == 0


def test_two_who_label_the_same_rows_label_none_twice(address, made, store, monkeypatch):
    monkeypatch.setattr(labels, "_CHUNK", 3)
    given = {one.uuid: "spam" for one in made}
    with open_store(address) as other, ThreadPoolExecutor(2) as pool:
        first = pool.submit(labels.set_labels, store, given, "one")
        second = pool.submit(labels.set_labels, other, dict.fromkeys(given, "not spam"), "other")
        counts = first.result(), second.result()
    sources = [source for _, source in (found(store, one) for one in made)]
    assert sum(counts) == 30
    assert counts == (sources.count("one"), sources.count("other"))


def test_feedback_labels_corrects_and_repeats(store, made):
    uuid = made[0].uuid
    assert labels.feedback(store, uuid, "spam") == "recorded"
    assert labels.feedback(store, uuid, "spam") == "unchanged"
    assert labels.feedback(store, uuid.upper(), "not spam", annotator="ann") == "recorded"
    assert found(store, made[0]) == ("not spam", "user")
    history = labels.history(store, uuid)
    assert [(given.label, given.source, given.annotator) for given in history] == [
        ("spam", "user", ""),
        ("not spam", "user", "ann"),
    ]
    assert history[0].date <= history[1].date
    assert labels.history(store, made[1].uuid) == []


def test_feedback_corrects_a_label_from_elsewhere(store, made):
    labels.set_labels(store, {made[0].uuid: "spam"}, "simulated")
    assert labels.feedback(store, made[0].uuid, "spam") == "recorded"
    assert found(store, made[0]) == ("spam", "user")


@pytest.mark.parametrize("uuid", [NOWHERE, "no uuid", "", "' OR 1=1 --", "\0", "\ud83d"], ids=ascii)
def test_feedback_for_what_was_never_stored_is_unknown(uuid, store, made):
    assert labels.feedback(store, uuid, "spam") == "unknown"
    assert labels.history(store, uuid) == []
    assert queries.count(store, Window(labelled=True)) == 0


def test_feedback_takes_only_labels(store, made):
    with pytest.raises(ValueError, match="spam or not spam"):
        labels.feedback(store, made[0].uuid, "ham")


def test_feedback_of_many_at_once_is_kept_once(address, store, made):
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda _: labels.feedback(store, made[0].uuid, "spam"), range(16)))
    assert sorted(outcomes) == ["recorded"] + ["unchanged"] * 15
    assert len(labels.history(store, made[0].uuid)) == 1


def test_a_label_is_taken_back_by_its_own_source_alone_and_its_history_stays(store, made):
    first, second = made[:2]
    labels.feedback(store, first.uuid, "spam", annotator="jo")
    labels.set_labels(store, {second.uuid: "spam"}, "file")
    assert labels.withdraw(store, first.uuid.upper(), annotator="jo")
    assert found(store, first) == (None, None)
    assert queries.find(store, [first.uuid])[first.uuid].labeled_at is None
    assert [(one.label, one.source) for one in labels.history(store, first.uuid)] == [
        ("spam", "user"),
        ("spam", labels.WITHDRAWN),
    ]
    assert not labels.withdraw(store, first.uuid)
    assert not labels.withdraw(store, second.uuid)
    assert found(store, second) == ("spam", "file")
    assert not labels.withdraw(store, NOWHERE)
    assert not labels.withdraw(store, "none")


def test_versions_are_named_once(store, made):
    assert queries.versions(store) == sorted({one.model_version for one in made})
