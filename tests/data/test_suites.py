"""Suites are written apart from the corpus, and a user's own lines join them."""

from collections import Counter

import pytest

from spamctl.data.bundled_sets import MUST_CATCH, MUST_DELIVER, read_everyday, read_suites
from spamctl.data.cleaning import seen_key
from spamctl.errors import DataError


def test_every_line_has_forty_messages_and_one_label():
    suites = read_suites()
    for suite, messages in suites.items():
        lines = Counter(message.traits.kind for message in messages)
        assert len(lines) >= 9
        assert min(lines.values()) >= 40
        assert {message.is_spam for message in messages} == {suite == MUST_CATCH}


def test_no_message_of_a_suite_stands_in_the_corpus():
    corpus = {seen_key(message.text) for message in read_everyday()[1]}
    assert not [
        message for messages in read_suites().values() for message in messages if seen_key(message.text) in corpus
    ]


def test_a_file_of_ones_own_becomes_a_line(tmp_path):
    path = tmp_path / "club mails.csv"
    path.write_text("text\nTraining is at 7\nBring boots\n", encoding="utf-8")
    own = [message for message in read_suites(must_deliver=str(path))[MUST_DELIVER] if "yours" in message.traits.kind]
    assert [message.text for message in own] == ["Training is at 7", "Bring boots"]
    assert {message.traits.kind for message in own} == {"club mails (yours)"}


@pytest.mark.parametrize(
    ("content", "said"), [("words\nhello\n", "text"), ("text\n", "no message"), ("text\n \n", "row")]
)
def test_a_file_that_cannot_be_used_is_refused_by_its_option(tmp_path, content, said):
    path = tmp_path / "own.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=said) as refused:
        read_suites(must_catch=str(path))
    assert str(refused.value).startswith(f"--must-catch {path}")
