"""Labels of a file reach the rows that they are for; what stands there already is not overwritten in silence."""

from dataclasses import asdict

import pytest
from sqlalchemy import insert

from spamctl.schema.message import NOT_SPAM, SPAM
from spamctl.store import labels, queries, tables
from spamctl.store.labels import Assignment, Conflict
from spamctl.store.queries import Window
from spamctl.store.tables import row_uuid
from tests.store.made_rows import row

NOWHERE = row_uuid("never sent", 0, "")


@pytest.fixture
def made(store):
    """Store 12 rows of 6 texts, two of each; the first two are labelled."""
    made = [row(f"message {number % 6}", number, model_version=str(1 + number % 2)) for number in range(12)]
    with store.writing() as connection:
        connection.execute(insert(tables.data), [asdict(one) for one in made])
    labels.set_labels(store, {made[0].uuid: SPAM, made[1].uuid: NOT_SPAM}, "oracle")
    return made


def done(ticking):
    ticks = []
    while True:
        try:
            ticks.append(next(ticking))
        except StopIteration as end:
            return end.value, ticks


def counts(assignment):
    names = ("labelled", "replaced", "standing", "conflicts", "unknown")
    return tuple(getattr(assignment, name) for name in names)


def found(store, one):
    at = queries.find(store, [one.uuid])[one.uuid]
    return at.ground_truth, at.label_source


def given(made):
    """Label the first four rows spam, and one that is nowhere."""
    return [{made[0].uuid: SPAM, made[1].uuid: SPAM, NOWHERE: SPAM}, {made[2].uuid: SPAM, made[3].uuid: NOT_SPAM}]


def test_rows_are_labelled_by_uuid_and_conflicts_reported(store, made):
    outcome, ticks = done(labels.assign_by_uuid(store, Window(), given(made), Assignment(100, overwrite=False), 5))
    assert counts(outcome) == (2, 0, 1, 1, 1)
    assert outcome.first_conflicts == [Conflict(made[1].uuid, NOT_SPAM, "oracle", SPAM)]
    assert outcome.first_unknown == [NOWHERE]
    assert [found(store, one) for one in made[:4]] == [
        (SPAM, "oracle"), (NOT_SPAM, "oracle"), (SPAM, "file"), (NOT_SPAM, "file"),
    ]  # fmt: skip
    assert [(tick.done, tick.total) for tick in ticks] == [(3, 5), (5, 5)]


def test_the_file_wins_when_it_was_told_to(store, made):
    outcome, _ = done(labels.assign_by_uuid(store, Window(), given(made), Assignment(100, overwrite=True), 5))
    assert counts(outcome) == (2, 2, 0, 0, 1)
    assert [found(store, one) for one in made[:2]] == [(SPAM, "file"), (SPAM, "file")]
    again, _ = done(labels.assign_by_uuid(store, Window(), given(made), Assignment(100, overwrite=True), 5))
    assert counts(again) == (0, 0, 4, 0, 1)


def test_rows_outside_the_window_are_unknown(store, made):
    window = Window(model_version="2")
    outcome, _ = done(labels.assign_by_uuid(store, window, given(made), Assignment(100, overwrite=False), 5))
    assert counts(outcome) == (1, 0, 0, 1, 3)


def test_no_more_than_asked_for(store, made):
    outcome, _ = done(labels.assign_by_uuid(store, Window(), given(made), Assignment(1, overwrite=True), 5))
    assert outcome.written == 1


def test_every_row_of_a_text_gets_its_label(store, made):
    known = {"message 0": SPAM, "message 1": SPAM, "message 2": NOT_SPAM}
    outcome, ticks = done(
        labels.assign_by_text(
            store, Window(), lambda texts: [known.get(text) for text in texts], Assignment(100, False)
        )
    )
    assert counts(outcome) == (4, 0, 1, 1, 0)
    assert [found(store, made[place])[0] for place in (6, 7, 2, 8)] == [SPAM, SPAM, NOT_SPAM, NOT_SPAM]
    assert found(store, made[3]) == (None, None)
    assert ticks[-1].done == ticks[-1].total == 12


def test_five_conflicts_are_named_and_all_are_counted(store, made):
    labels.set_labels(store, {one.uuid: NOT_SPAM for one in made}, "oracle")
    outcome, _ = done(
        labels.assign_by_uuid(store, Window(), [{one.uuid: SPAM for one in made}], Assignment(100, overwrite=False), 12)
    )
    assert (outcome.conflicts, len(outcome.first_conflicts)) == (11, 5)
