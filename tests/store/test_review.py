"""What is most doubtful comes first, and every decision keeps who made it, until it is taken back."""

from dataclasses import asdict

import pytest
from sqlalchemy import insert

from spamctl.schema.message import NOT_SPAM, SPAM
from spamctl.store import labels, queries, tables
from spamctl.store.queries import Window
from tests.store.made_rows import row

# (probability, threshold) in the order of doubt
DOUBT = [(0.9, 0.9), (0.905, 0.9), (0.5, 0.6), (0.99, 0.9), (0.0, 0.5)]
UNLABELLED = Window(labelled=False)


@pytest.fixture
def made(store):
    """Store five rows, the most doubtful last."""
    made = [row(f"message {n}", n, probability=p, threshold=t) for n, (p, t) in reversed(list(enumerate(DOUBT)))]
    with store.writing() as connection:
        connection.execute(insert(tables.data), [asdict(one) for one in made])
    return made[::-1]


def found(store, one):
    at = queries.find(store, [one.uuid])[one.uuid]
    return at.ground_truth, at.label_source


def texts(rows):
    return [one.text for one in rows]


def test_doubt_is_nearness_to_the_threshold_on_either_side(store, made):
    assert texts(labels.most_doubtful(store, UNLABELLED, 10)) == [f"message {n}" for n in range(5)]
    assert texts(labels.most_doubtful(store, UNLABELLED, 2)) == ["message 0", "message 1"]
    labels.record_decision(store, [made[0].uuid], SPAM, "ann", replace=False)
    assert texts(labels.most_doubtful(store, UNLABELLED, 1)) == ["message 1"]


def test_a_message_out_of_reach_is_as_doubtful_as_one_at_its_threshold(store, made):
    beyond = row("beyond", 9, probability=1.0, classification="not spam", in_reach=False)
    known = row("known", 10, probability=1.0, in_reach=True)
    with store.writing() as connection:
        connection.execute(insert(tables.data), [asdict(beyond), asdict(known)])
    assert set(texts(labels.most_doubtful(store, UNLABELLED, 2))) == {"beyond", "message 0"}
    assert "known" in texts(labels.most_doubtful(store, UNLABELLED, 7))[-2:]


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_a_threshold_at_the_end_divides_by_nothing(store, threshold):
    made = [row(str(n), n, probability=p, threshold=threshold) for n, p in enumerate((0.0, 0.3, 1.0))]
    with store.writing() as connection:
        connection.execute(insert(tables.data), [asdict(one) for one in made])
    assert texts(labels.most_doubtful(store, UNLABELLED, 3)) == (["0", "1", "2"] if threshold == 0 else ["2", "1", "0"])


def test_a_decision_labels_rows_and_keeps_who_and_when(store, made):
    decision = labels.record_decision(store, [made[0].uuid, made[1].uuid], NOT_SPAM, "ann", replace=False)
    assert len(decision.before) == 2
    for one in made[:2]:
        assert found(store, one) == (NOT_SPAM, "review")
        (kept,) = labels.history(store, one.uuid)
        assert (kept.label, kept.source, kept.annotator, kept.date) == (NOT_SPAM, "review", "ann", decision.date)


def test_what_others_labelled_meanwhile_is_left_alone(store, made):
    labels.set_labels(store, {made[0].uuid: SPAM}, "file")
    decision = labels.record_decision(store, [made[0].uuid, made[1].uuid], NOT_SPAM, "ann", replace=False)
    assert [one.uuid for one in decision.before] == [made[1].uuid]
    assert found(store, made[0]) == (SPAM, "file")
    assert labels.history(store, made[0].uuid) == []
    assert labels.record_decision(store, [made[1].uuid], SPAM, "bob", replace=False).before == ()


def test_a_decision_taken_back_leaves_what_was_there(store, made):
    labels.set_labels(store, {made[0].uuid: SPAM}, "file")
    before = queries.find(store, [one.uuid for one in made])
    decision = labels.record_decision(store, [made[0].uuid, made[1].uuid], NOT_SPAM, "ann", replace=True)
    assert labels.take_back(store, decision) == 2
    assert queries.find(store, [one.uuid for one in made]) == before
    assert labels.history(store, made[0].uuid) == []
    assert labels.take_back(store, decision) == 0


def test_what_was_decided_since_stays(store, made):
    first = labels.record_decision(store, [made[0].uuid], SPAM, "ann", replace=False)
    labels.record_decision(store, [made[0].uuid], NOT_SPAM, "bob", replace=True)
    assert labels.take_back(store, first) == 0
    assert found(store, made[0]) == (NOT_SPAM, "review")
    assert [one.annotator for one in labels.history(store, made[0].uuid)] == ["bob"]


def test_people_settle_a_text_and_files_do_not(store, made):
    labels.record_decision(store, [made[0].uuid], SPAM, "ann", replace=False)
    labels.feedback(store, made[1].uuid, SPAM)
    labels.set_labels(store, {made[2].uuid: SPAM}, "file")
    assert sorted(labels.judged_texts(store)) == ["message 0", "message 1"]


def test_invented_labels_are_not_suspected(store, made):
    labels.set_labels(store, {made[0].uuid: SPAM}, "simulated")
    labels.set_labels(store, {made[1].uuid: NOT_SPAM}, "oracle")
    (scored,) = labels.scored_labels(store, Window())
    assert (scored.uuid, scored.probability, scored.label, scored.source) == (made[1].uuid, 0.905, NOT_SPAM, "oracle")


def test_a_second_opinion_is_asked_of_somebody_else(store, made):
    for one in made[:3]:
        labels.record_decision(store, [one.uuid], SPAM, "ann", replace=False)
    labels.record_decision(store, [made[1].uuid], NOT_SPAM, "bob", replace=True)
    assert texts(labels.awaiting_second(store, Window(), "bob", 10)) == ["message 0", "message 2"]
    assert texts(labels.awaiting_second(store, Window(), "ann", 10)) == []
    assert len(labels.awaiting_second(store, Window(), "cleo", 2)) == 2


def test_the_last_word_of_each_annotator_counts(store, made):
    labels.record_decision(store, [made[0].uuid], SPAM, "ann", replace=False)
    labels.record_decision(store, [made[0].uuid], NOT_SPAM, "ann", replace=True)
    labels.record_decision(store, [made[0].uuid], SPAM, "bob", replace=True)
    labels.feedback(store, made[1].uuid, SPAM)  # of nobody that could be named
    assert labels.opinions(store) == {"ann": {made[0].uuid: NOT_SPAM}, "bob": {made[0].uuid: SPAM}}
