"""A file of labels is read by uuid or by text, and refused before anything is labelled."""

import json
import uuid

import pytest

from spamctl.data import label_file
from spamctl.data.label_file import LabelRequest, read_label_file
from spamctl.errors import DataError
from spamctl.schema.message import NOT_SPAM, SPAM

FIRST, SECOND = (str(uuid.UUID(int=number)) for number in (1, 2))


@pytest.fixture
def write(tmp_path):
    def write(text, name="labels.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8", newline="")
        return str(path)

    return write


def chunks(found):
    return {key: label for chunk in found.chunks() for key, label in chunk.items()}


def test_a_column_uuid_is_what_counts_though_texts_stand_beside_it(write):
    found = read_label_file(LabelRequest(write(f"text,label,uuid\nhi,spam,{FIRST}\nhi,ham,{SECOND.upper()}\n")))
    assert (found.key, found.rows, found.notes) == ("uuid", 2, [])
    assert chunks(found) == {FIRST: SPAM, SECOND: NOT_SPAM}


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_every_kind_of_file_is_read(tmp_path, kind):
    path = tmp_path / f"labels.{kind}"
    if kind == "parquet":
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.table({"uuid": [FIRST, SECOND], "label": [True, False]}), path)
        request = LabelRequest(str(path), spam_label="true")
    else:
        lines = {
            "csv": f"uuid,label\n{FIRST},spam\n{SECOND},not spam\n",
            "tsv": f"uuid\tlabel\n{FIRST}\tspam\n{SECOND}\tnot spam\n",
            "jsonl": "\n".join(
                json.dumps({"uuid": one, "label": word}) for one, word in ((FIRST, "SPAM"), (SECOND, "Ham"))
            ),
        }
        path.write_text(lines[kind])
        request = LabelRequest(str(path))
    assert chunks(read_label_file(request)) == {FIRST: SPAM, SECOND: NOT_SPAM}


def test_texts_are_looked_up_whatever_their_line_ends_and_outer_spaces(write):
    found = read_label_file(LabelRequest(write('text,label\nWin!,spam\n"Bring \n milk\n",0\nwin! ,no\n')))
    assert (found.key, found.rows) == ("text", 3)
    asked = ["Win!", "win!", " Win! \r\n", "Bring\nmilk", "Bring\r\nmilk", "Bring\rmilk", "", "Bring milk", "Win !"]
    assert found.labels_of(asked) == [SPAM, NOT_SPAM, SPAM, NOT_SPAM, NOT_SPAM, NOT_SPAM, None, None, None]
    assert found.labels_of([]) == []


def test_labels_whose_text_nobody_asked_for_are_named_by_their_rows(write):
    found = read_label_file(LabelRequest(write('text,label\na,spam\n"b\nb",ham\nc,ham\n"b\nb",ham\nd,spam\n')))
    assert found.unmet() == [2, 3, 5, 6, 8]
    found.labels_of(["c", "nobody", "a"])
    assert found.unmet() == [3, 6, 8]
    found.labels_of(["d", "b\r\nb"])
    assert found.unmet() == []


def test_many_texts_are_told_apart(write):
    rows = "".join(f"message {number},{'spam' if number % 3 else 'ham'}\n" for number in range(3000))
    found = read_label_file(LabelRequest(write(f"text,label\n{rows}")))
    asked = found.labels_of([f"message {number}" for number in range(4000)])
    assert asked == [SPAM if number % 3 else NOT_SPAM for number in range(3000)] + [None] * 1000


def test_columns_and_the_label_for_spam_may_be_named(write):
    request = LabelRequest(
        write("body,verdict\nWin!,junk\nHi,ham\n"), text_column="body", label_column="verdict", spam_label=" Junk"
    )
    assert read_label_file(request).labels_of(["Win!", "Hi"]) == [SPAM, NOT_SPAM]


BAD = f"uuid,label\n{FIRST},spam\nnone,spam\n{SECOND},maybe\n,spam\n{SECOND},\n"
ENOUGH = "".join(f"{uuid.UUID(int=number)},spam\n" for number in range(100, 140))


def test_rows_that_cannot_be_used_are_counted_and_named(write):
    words = r"1 row with a uuid that is none \(3\); 1 row with a label that is neither .*\(4\); .*no uuid.*; .*no label"
    with pytest.raises(DataError, match=words):
        read_label_file(LabelRequest(write(BAD)))
    with pytest.raises(DataError, match=r"skip would leave out 2 of 3 rows that are spam \(66.7%\)"):
        read_label_file(LabelRequest(write(BAD), bad_rows="skip"))
    found = read_label_file(LabelRequest(write(BAD + ENOUGH), bad_rows="skip"))
    assert chunks(found)[FIRST] == SPAM
    assert SECOND not in chunks(found)
    assert found.notes[0] == "left out: 1 row with a uuid that is none (3)"
    assert found.notes[-1] == "left out by label: 2 of 43 rows that are spam (4.7%)"


def test_several_words_mean_spam_and_numbers_may_have_decimals(write):
    found = read_label_file(LabelRequest(write("text,label\na,junk\nb,Phish\nc,ham\n"), spam_label="junk,phish"))
    assert found.labels_of(["a", "b", "c"]) == [SPAM, SPAM, NOT_SPAM]
    found = read_label_file(LabelRequest(write("text,label\na,1.0\nb,0.0\n"), spam_label="1"))
    assert found.labels_of(["a", "b"]) == [SPAM, NOT_SPAM]


def test_without_a_header_uuids_are_known_by_what_they_are(write):
    found = read_label_file(LabelRequest(write(f"{FIRST},spam\n{SECOND},ham\n"), header=False))
    assert (found.key, chunks(found)) == ("uuid", {FIRST: SPAM, SECOND: NOT_SPAM})
    assert found.notes == ["column 1 holds the messages, column 2 the labels"]
    found = read_label_file(LabelRequest(write("spam,Win!\nham,Hi there\nham,Bye\n"), header=False))
    assert (found.key, found.labels_of(["Win!", "Bye"])) == ("text", [SPAM, NOT_SPAM])


@pytest.mark.parametrize(
    "text", [f"uuid,label\n{FIRST},spam\n{SECOND},ham\n{FIRST},ham\n", "text,label\na,spam\nb,ham\na,ham\n"]
)
def test_a_file_that_contradicts_itself_is_refused(write, text):
    with pytest.raises(DataError, match=r"2 rows with a \w+ that has both labels \(2, 4\): keep the true ones"):
        read_label_file(LabelRequest(write(text)))


def test_the_same_label_twice_is_no_contradiction(write):
    found = read_label_file(LabelRequest(write("text,label\na,spam\na,spam\n")))
    assert found.labels_of(["a"]) == [SPAM]


def test_labels_come_in_chunks(write, monkeypatch):
    monkeypatch.setattr(label_file, "_CHUNK", 2)
    found = read_label_file(LabelRequest(write("text,label\na,spam\nb,ham\nc,ham\n")))
    assert list(found.chunks()) == [{"a": SPAM, "b": NOT_SPAM}, {"c": NOT_SPAM}]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("labels.txt", "x", "not a file of a known kind"),
        ("labels.csv", None, "does not exist"),
        ("labels.csv", "", "--labels .* is empty"),
        ("labels.csv", "text,label\n", "no usable row"),
        ("labels.csv", "text,lable\na,spam\n", "has no column 'label'.*try --label-column 'lable'"),
        ("labels.csv", "body,label\na,spam\n", "has no column 'text'"),
        ("labels.jsonl", '{"body": "a", "label": "spam"}', "no text|has no column 'text'"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path, write, name, text, words):
    path = str(tmp_path / name) if text is None else write(text, name)
    with pytest.raises(DataError, match=words):
        read_label_file(LabelRequest(path))
