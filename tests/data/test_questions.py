"""A person is asked about each message once."""

from hypothesis import given
from hypothesis import strategies as st

from spamctl.data.cleaning import cluster, questions


def test_copies_get_one_answer_and_near_duplicates_none():
    rows = [("a", "Win 100 now"), ("b", "hello"), ("c", "Win 100 now"), ("d", "WIN 999  now"), ("e", "Hello there")]
    found = questions(rows)
    assert [(one.text, one.uuids, one.twins) for one in found] == [
        ("Win 100 now", ["a", "c"], 1),
        ("hello", ["b"], 0),
        ("Hello there", ["e"], 0),
    ]


def test_what_is_settled_is_not_asked():
    assert [one.text for one in questions([("a", "Win 1"), ("b", "hi")], {cluster("win  7")})] == ["hi"]
    assert questions([]) == []


@given(st.lists(st.tuples(st.uuids().map(str), st.text(max_size=5)), unique_by=lambda row: row[0]))
def test_every_row_is_asked_about_or_is_like_one_that_is(rows):
    found = questions(rows)
    assert len({cluster(one.text) for one in found}) == len(found) == len({cluster(text) for _, text in rows})
    assert sum(len(one.uuids) + one.twins for one in found) == len(rows)
