"""A user's own messages are sent as they are, in their order, and no label is guessed."""

import json

import pytest

from spamctl.data.corpus import ReplayRequest, read_replay
from spamctl.errors import DataError


def written(tmp_path, content, name="mine.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def read(tmp_path, content, name="mine.csv", **changes):
    return read_replay(ReplayRequest(written(tmp_path, content, name), **changes))


def refusal(*given, **changes):
    with pytest.raises(DataError) as refused:
        read(*given, **changes)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_messages_are_read_as_they_are_and_in_their_order(tmp_path):
    replay = read(tmp_path, 'text,label\n"  b &amp; c ",spam\na,ham\na,ham\n"fr\u200bee",SPAM\n')
    assert replay.rows == (("  b &amp; c ", "spam"), ("a", "not spam"), ("a", "not spam"), ("fr\u200bee", "spam"))
    assert replay.notes == ()


def test_without_truth_no_label_column_is_needed(tmp_path):
    assert read(tmp_path, "text\nhello\nfree\n", truth=False).rows == (("hello", None), ("free", None))
    lines = "".join(json.dumps({"body": text}) + "\n" for text in ("hello", "free"))
    found = read(tmp_path, lines, "mine.jsonl", truth=False, text_column="body")
    assert [text for text, _ in found.rows] == ["hello", "free"]


def test_with_truth_a_label_column_is(tmp_path):
    said = refusal(tmp_path, "text\nhello\n")
    assert "has no column 'label' (--label-column)" in said
    assert said.endswith("if your messages have no labels, add --no-truth")


@pytest.mark.parametrize("words", ["ham\nham", "junk\nham", "junk\nfine", "junk\njunk", "1\n0", "junk\nham\nnot spam"])
def test_labels_that_are_clear_are_taken(words, tmp_path):
    spam = "1" if "1" in words else "junk"
    content = "text,label\n" + "".join(f"m,{word}\n" for word in words.split("\n"))
    labels = [label for _, label in read(tmp_path, content, spam_label=spam).rows]
    assert labels == ["spam" if word == spam else "not spam" for word in words.split("\n")]


@pytest.mark.parametrize("words", ["junk\njunk", "junk\nfine", "spam\njunk\nfine"])
def test_labels_that_are_not_are_not_guessed(words, tmp_path):
    content = "text,label\n" + "".join(f"m,{word}\n" for word in words.split("\n"))
    assert "which labels mean spam is not clear" in (said := refusal(tmp_path, content))
    assert "'junk'" in said
    assert "--spam-label, all of them by commas, or send them without truth: --no-truth" in said


def test_rows_that_cannot_be_sent_are_refused_or_left_out_and_counted(tmp_path):
    content = "text,label\nhello,ham\nno label,\nfree,spam\none,too,many\n" + "bye,ham\n" * 20 + '"x" y,ham\n'
    said = refusal(tmp_path, content)
    assert "1 row with no label (3)" in said
    assert "1 row with more or fewer fields than the header (5)" in said
    assert "--bad-rows skip" in said
    replay = read(tmp_path, content, bad_rows="skip")
    assert replay.rows == (("hello", "not spam"), ("free", "spam"), *[("bye", "not spam")] * 20)
    assert replay.notes == (
        "left out: 1 row with no label (3)",
        "left out: 1 row with more or fewer fields than the header (5)",
        "left out: 1 row with quotation marks that do not match (26)",
    )


def test_a_replay_without_half_of_its_spam_is_refused(tmp_path):
    content = b"text\tlabel\n" + b"fr\xffee\tspam\n" + "free £\tspam\nbye £\tham\n".encode() * 2
    words = "skip would leave out 1 of 3 rows that are spam (33.3%), more than 5% of a label"
    assert words in refusal(tmp_path, content, "mine.tsv", bad_rows="skip")
    assert len(read(tmp_path, content, "mine.tsv", bad_rows="skip", truth=False).rows) == 4


def test_several_words_mean_spam(tmp_path):
    replay = read(tmp_path, "text,label\na,spam\nb,Phishing\nc,news\n", spam_label="spam,phishing")
    assert [label for _, label in replay.rows] == ["spam", "spam", "not spam"]


def test_an_empty_message_is_a_message(tmp_path):
    assert read(tmp_path, 'text,label\n"",ham\n"",spam\n').rows == (("", "not spam"), ("", "spam"))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("mine.txt", "x", "is not of a known kind: convert it to .csv, .tsv, .jsonl, .ndjson, .json, .parquet"),
        ("mine.csv", "text,label\n", "has no usable row"),
    ],
)
def test_what_holds_no_messages_is_refused(name, content, said, tmp_path):
    assert said in refusal(tmp_path, content, name)


def test_a_file_that_is_not_there_is_refused_in_the_words_of_its_option(tmp_path):
    for path, said in ((tmp_path / "nowhere.csv", "does not exist"), (tmp_path / "folder.csv", "is no file")):
        if "folder" in path.name:
            path.mkdir()
        with pytest.raises(DataError, match=rf"^--replay {path}: {said}"):
            read_replay(ReplayRequest(str(path)))
