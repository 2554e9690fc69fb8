"""What traffic knows of its messages is kept beside the answers, once, and found again by uuid."""

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import IntegrityError

from spamctl.errors import UnavailableError
from spamctl.store import labels, queries, tables, truth
from spamctl.store.database import open_store
from spamctl.store.queries import Window
from spamctl.store.tables import row_uuid
from spamctl.store.truth import TrueRow, TruthBook
from tests.each import each
from tests.store.made_rows import ODD_TEXTS, rows

NOWHERE = row_uuid("never sent", 0, "")


def true_row(uuid=NOWHERE, **changes):
    values = {"label": "spam", "origin": "test part", "family": "test part", "drift_type": "none", "dose": 0.0}
    return TrueRow(uuid=uuid, **(values | {"seed": 7, "traffic_run": "run"} | changes))


def true_rows(made, **changes):
    """Return the truth of stored rows: every third is spam."""
    return [true_row(one.uuid, label="not spam" if index % 3 else "spam", **changes) for index, one in enumerate(made)]


@pytest.fixture
def made(store):
    """Store 30 rows, a minute apart, and return them."""
    now = datetime.now(UTC)
    made = [replace(one, date=now - timedelta(minutes=index)) for index, one in enumerate(rows(30))]
    with store.writing() as connection:
        connection.execute(insert(tables.data), [asdict(one) for one in made])
    return made


def kept(store):
    with store.reading() as connection:
        return connection.scalar(select(func.count()).select_from(tables.truth))


def test_what_is_remembered_is_found_by_uuid_in_any_spelling(store):
    row = true_row(origin="synthetic", family="parcel fee", drift_type="zero-width", dose=0.25, seed=2**31 - 1)
    assert truth.remember(store, [row]) == 1
    assert truth.find(store, [row.uuid.upper(), "no uuid", row_uuid("other", 0, "")]) == {row.uuid: row}


def test_any_words_come_back_as_they_were(store):
    odd = [
        true_row(row_uuid("odd", index, ""), family=words, origin=words, drift_type=words, traffic_run=words)
        for index, words in enumerate(ODD_TEXTS.values())
    ]
    assert truth.remember(store, odd) == len(odd)
    assert truth.find(store, [row.uuid for row in odd]) == {row.uuid: row for row in odd}


def test_what_is_remembered_twice_is_kept_once_and_as_it_was(store):
    first, again = true_row(), true_row(label="not spam", traffic_run="a later run")
    assert truth.remember(store, [first, first]) == 1
    assert truth.remember(store, [again, true_row(row_uuid("new", 0, ""))]) == 1
    assert truth.find(store, [NOWHERE]) == {NOWHERE: first}
    assert truth.remember(store, []) == 0


@each(
    "fault", [{"uuid": "no uuid"}, {"uuid": NOWHERE.upper()}, {"label": "ham"}, {"dose": 1.5}, {"dose": float("nan")}]
)
def test_what_the_database_would_refuse_is_no_true_row(fault):
    with pytest.raises(ValueError, match=r"uuid|label|dose"):
        true_row(**fault)


@pytest.mark.parametrize("column", ["label = 'ham'", "dose = 1.5", "label = NULL"])
def test_the_database_itself_refuses_what_is_no_truth(column, store):
    truth.remember(store, [true_row()])
    with pytest.raises(IntegrityError), store.writer.begin() as connection:
        connection.execute(text(f"UPDATE truth SET {column}"))


def test_the_answered_rows_of_a_run_are_counted_by_truth_verdict_and_origin(store, made):
    truth.remember(store, true_rows(made[:12], drift_type="leet", origin="synthetic", dose=0.5))
    truth.remember(store, [*true_rows(made[12:], traffic_run="another"), true_row()])  # the last was never captured
    counted = {(found.label, found.classification, found.origin, found.drift_type): found.rows
               for found in truth.tally(store, "run")}  # fmt: skip
    assert counted == {("spam", "spam", "synthetic", "leet"): 4, ("not spam", "spam", "synthetic", "leet"): 8}
    assert sum(found.rows for found in truth.tally(store, "another")) == 18
    assert truth.tally(store, "none such") == []


def test_truths_are_counted_with_and_without_an_answer_beside_them(store, made):
    truth.remember(store, [*true_rows(made[:12]), true_row(), *true_rows(made[12:], traffic_run="another")])
    assert truth.count(store, "run") == (13, 12)
    assert truth.count(store, "another") == (18, 18)
    assert truth.count(store, "none such") == (0, 0)


def test_a_table_of_its_own_leaves_data_as_it_was(store, made):
    before = queries.newest(store, 50)
    truth.remember(store, true_rows(made))
    assert queries.newest(store, 50) == before


def test_what_may_be_revealed_is_what_has_truth_and_no_label(store, made):
    truth.remember(store, true_rows(made[:20]))
    labels.set_labels(store, {made[0].uuid: "spam", made[1].uuid: "spam"}, "user")
    pages = list(truth.revealable(store, size=7))
    oldest_first = [(one.uuid, one.label) for one in reversed(true_rows(made[:20])[2:])]
    assert [row for page in pages for row in page] == oldest_first
    assert [len(page) for page in pages] == [7, 7, 4]


def test_a_wrong_label_or_one_from_elsewhere_may_be_revealed_too(store, made):
    right, wrong, elsewhere, bare = made[:4]  # spam, not spam, not spam, spam
    truth.remember(store, true_rows(made[:4]))
    labels.set_labels(store, {right.uuid: "spam", wrong.uuid: "spam"}, "oracle")
    labels.set_labels(store, {elsewhere.uuid: "not spam"}, "simulated")
    found = [uuid for page in truth.revealable(store, source="oracle", labelled_too=True) for uuid, _ in page]
    assert found == [bare.uuid, elsewhere.uuid, wrong.uuid]


def test_what_may_be_revealed_keeps_to_the_window(store, made):
    truth.remember(store, true_rows(made))
    (page,) = truth.revealable(store, Window(since=made[4].date, model_version="1"))
    assert [uuid for uuid, _ in page] == [one.uuid for one in reversed(made[:5])]
    assert list(truth.revealable(store, Window(model_version="2"))) == []


def test_rows_may_be_labelled_while_they_are_read(store, made):
    truth.remember(store, true_rows(made))
    seen = []
    for page in truth.revealable(store, size=4):
        labels.set_labels(store, dict(page), "oracle")
        seen += page
    assert len(seen) == len(dict(seen)) == 30
    assert queries.count(store, Window(labelled=False)) == 0


def test_a_book_writes_many_at_once_and_the_rest_at_the_end(store):
    every = [true_row(row_uuid("book", index, "")) for index in range(truth._BOOK_ROWS + 40)]
    with TruthBook(store) as book:
        book.add(every[:20])
        assert kept(store) == 0
        book.add(every[20:-20])
        assert kept(store) == truth._BOOK_ROWS + 20
        book.add(every[-20:])
    assert kept(store) == book.rows == len(every)


def test_a_book_writes_what_has_waited_for_a_second(store, monkeypatch):
    book = TruthBook(store)
    monkeypatch.setattr(truth, "_BOOK_S", 0.0)
    book.add([true_row()])
    assert kept(store) == 1


def stopped(book):
    book.add([true_row()])
    raise ZeroDivisionError


def test_a_book_closed_by_an_error_keeps_what_it_was_given(store):
    with pytest.raises(ZeroDivisionError), TruthBook(store) as book:
        stopped(book)
    assert kept(store) == 1


def test_a_locked_store_is_said_and_nothing_of_the_rows_is_written(tmp_path):
    address = str(tmp_path / "spam.db")
    with open_store(address, create=True, patience_s=0.05) as store, open_store(address) as other:
        with other.writing(), pytest.raises(UnavailableError, match=r"spam\.db: it is locked by another program"):
            truth.remember(store, [true_row()])
        assert kept(store) == 0
