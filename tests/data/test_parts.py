"""Parts pass between steps as plain rows, and are known by their digest."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamctl.schema.message import NOT_SPAM, SPAM, Message, digest, from_rows, to_rows
from tests.each import each

messages = st.lists(st.builds(Message, st.text(st.characters(codec=None)), st.sampled_from([SPAM, NOT_SPAM])))


@given(messages)
def test_rows_bring_back_the_messages(some):
    assert from_rows(json.loads(json.dumps(to_rows(some)))) == tuple(some)


def test_a_row_of_an_unknown_label_is_refused():
    with pytest.raises(KeyError, match="ham"):
        from_rows([["hello", "ham"]])


@given(messages)
def test_a_digest_does_not_depend_on_order(some):
    assert digest(some) == digest(reversed(some))


@each(
    "changed",
    [
        [Message("a", SPAM)],
        [Message("a", SPAM), Message("b", SPAM)],
        [Message("a", SPAM), Message("b", NOT_SPAM), Message("b", NOT_SPAM)],
        [Message("a", SPAM), Message("B", NOT_SPAM)],
        [Message('a", "spam"]\n["b', NOT_SPAM)],
    ],
)
def test_a_digest_tells_parts_apart(changed):
    assert digest(changed) != digest([Message("a", SPAM), Message("b", NOT_SPAM)])


def test_a_digest_is_the_same_on_every_machine():
    known = "202203b98fb8494ef8b3c6cbb4689e43eba4a6efaa9270bcdef4a6d4a46b03e0"
    assert digest([Message("free £5", SPAM), Message("hi", NOT_SPAM)]) == known
