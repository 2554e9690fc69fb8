"""Files of four formats are read row by row, and every row that cannot be read is named."""

import json

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from spamctl.data.files import read_rows
from spamctl.data.rows import Columns, Row, shown
from spamctl.errors import DataError

ROWS = [("hello, you", "ham"), ('say "WIN" £5 😀', "spam"), ("two\u2028parts", "ham")]
FRAME = pd.DataFrame({"id": [1, 2, 3], "text": [text for text, _ in ROWS], "label": [label for _, label in ROWS]})
UNREADABLE = "unreadable bytes (save the file as UTF-8)"
BROKEN = "quotation marks that do not match"
FIELDS = "more or fewer fields than the header"


def read(path, text="text", label="label"):
    return list(read_rows(path, Columns(text, label)))


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a file, and returns its path."""

    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


WRITERS = {
    "a.csv": lambda path: FRAME.to_csv(path, index=False),
    "b.CSV": lambda path: FRAME.to_csv(path, index=False, encoding="utf-8-sig", lineterminator="\r\n"),
    "c.csv": lambda path: FRAME.to_csv(path, index=False, encoding="utf-16"),
    "d.tsv": lambda path: path.write_text("id\ttext\tlabel\n" + "".join(f"0\t{t}\t{c}\n" for t, c in ROWS), "utf-8"),
    "e.jsonl": lambda path: FRAME.to_json(path, orient="records", lines=True),
    "f.jsonl": lambda path: FRAME.to_json(path, orient="records", lines=True, force_ascii=False),
    "g.parquet": FRAME.to_parquet,
    "h.parquet": lambda path: FRAME.astype({"text": "category", "label": "category"}).to_parquet(path),
    "i.parquet": lambda path: FRAME.to_parquet(path, row_group_size=1),
}


@pytest.mark.parametrize("name", WRITERS)
def test_each_format_gives_the_same_rows(tmp_path, name):
    WRITERS[name](tmp_path / name)
    first = 1 if name.endswith(("jsonl", "parquet")) else 2
    assert read(tmp_path / name) == [Row(place, text, label) for place, (text, label) in enumerate(ROWS, start=first)]


def test_a_row_is_named_by_the_line_it_begins_in(write):
    path = write("a.csv", 'text,label\n"two\n\nlines",ham\n\n"one",spam\n')
    assert read(path) == [Row(2, "two\n\nlines", "ham"), Row(6, "one", "spam")]


def test_quotation_marks_of_a_tsv_are_text(write):
    path = write("a.tsv", 'label\ttext\nham\t"so\nspam\tcall "now"\n')
    assert read(path) == [Row(2, '"so', "ham"), Row(3, 'call "now"', "spam")]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", b"text,label\nfree \xff5,spam\nok,ham\n", [Row(2, None, "spam", UNREADABLE), Row(3, "ok", "ham")]),
        ("a.tsv", b"text\tlabel\nok\tham\xff\n", [Row(2, fault=UNREADABLE)]),
        ("a.jsonl", b'{"text":"\xff","label":"ham"}\n', [Row(1, None, "ham", UNREADABLE)]),
        ("a.jsonl", b'{"text":"a","label":"\xff"}\n', [Row(1, fault=UNREADABLE)]),
        ("a.csv", 'text,label\n"a" b,ham\nok,ham\n', [Row(2, fault=BROKEN), Row(3, "ok", "ham")]),
        (
            "a.csv",
            'text,label\n"a\nb" c,ham\nok,ham\n',
            [Row(2, fault=BROKEN), Row(3, fault=BROKEN), Row(4, "ok", "ham")],
        ),
        ("a.csv", "text,label\na,1.0\nb,0.00\nc,0.5\n", [Row(2, "a", "1"), Row(3, "b", "0"), Row(4, "c", "0.5")]),
        ("a.csv", b"text,label,n\nok,ham,\xff\n", [Row(2, "ok", "ham")]),
        (
            "a.csv",
            "text,label\nwin, now,spam\nok\n",
            [Row(2, label="spam", fault=FIELDS), Row(3, fault=FIELDS)],
        ),
        ("a.csv", "text,label\nok,\n,ham\n a , b \n", [Row(2, "ok"), Row(3, "", "ham"), Row(4, " a ", "b")]),
        ("a.csv", "text,label\na\x00b,ham\n", [Row(2, "a\x00b", "ham")]),
        ("a.jsonl", '{"text":"a","label":1}\n\n{"text":"b","label":true}\n', [Row(1, "a", "1"), Row(3, "b", "true")]),
        ("a.jsonl", '{"text":"a","label":1.0}\n{"text":null,"label":0.5}', [Row(1, "a", "1"), Row(2, None, "0.5")]),
        ("a.jsonl", '{"text":"a","label":null}\n{"label":NaN}\n', [Row(1, "a"), Row(2)]),
        ("a.jsonl", '{"text":"\\ud800","label":"ham"}\n', [Row(1, "\ud800", "ham")]),
    ],
)
def test_what_a_row_lacks_is_told(write, name, content, expected):
    assert read(write(name, content)) == expected


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{'text': 1}", "no valid JSON"),
        ('{"text": "a', "no valid JSON"),
        ("[" * 100_000, "no valid JSON"),
        ("9" * 5000, "no valid JSON"),
        ('["a", "ham"]', "JSON that is no object"),
        ('{"text": 5, "label": null}', "a text that is not a string"),
        ('{"text": ["a"], "label": null}', "a text that is not a string"),
        ('{"text": "a", "label": ["ham"]}', "a label that is neither string nor number"),
    ],
)
def test_a_line_that_is_no_message_is_named(write, line, fault):
    path = write("a.jsonl", f'{{"text": "a", "label": "ham"}}\n{line}\n')
    assert read(path) == [Row(1, "a", "ham"), Row(2, fault=fault)]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (pa.array([1, 0, None]), ["1", "0", None]),
        (pa.array([1.0, 0.0, float("nan")]), ["1", "0", None]),
        (pa.array([True, False, None]), ["true", "false", None]),
        (pa.array(["a", " ", None]), ["a", None, None]),
        (pa.array([b"a", b"\xff", None]), ["a", UNREADABLE, None]),
        (pa.array(["a", "b", None], pa.large_string()), ["a", "b", None]),
        (pa.array([["a"], None, None]), ["a label that is neither string nor number", None, None]),
    ],
)
def test_labels_of_a_parquet_file_are_read_as_a_user_would_type_them(tmp_path, labels, words):
    parquet.write_table(pa.table({"text": ["x", "y", "z"], "label": labels}), tmp_path / "a.parquet")
    assert [row.fault or row.label for row in read(tmp_path / "a.parquet")] == words


def test_unreadable_texts_of_a_parquet_file_are_named(tmp_path):
    texts = pa.array([b"ok", b"\xff", None]).view(pa.string())
    parquet.write_table(pa.table({"text": texts, "label": ["ham"] * 3}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [Row(1, "ok", "ham"), Row(2, None, "ham", UNREADABLE), Row(3, None, "ham")]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet"])
@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        (
            ("message", "label"),
            r"no column 'message' \(--text-column\), but 'Message', 'label': try --text-column 'Message'",
        ),
        (("Message", "lable"), r"no column 'lable' \(--label-column\), but .*: try --label-column 'label'"),
        (("Message", "xyz"), r"no column 'xyz' \(--label-column\), but .*: name one of them with --label-column"),
    ],
)
def test_a_missing_column_is_refused_by_those_there_are(tmp_path, name, columns, complaint):
    frame = pd.DataFrame({"Message": ["a"], "label": ["ham"]})
    path = tmp_path / name
    {
        "a.csv": lambda: frame.to_csv(path, index=False),
        "a.tsv": lambda: frame.to_csv(path, index=False, sep="\t"),
        "a.jsonl": lambda: frame.to_json(path, orient="records", lines=True),
        "a.parquet": lambda: frame.to_parquet(path),
    }[name]()
    with pytest.raises(DataError, match=complaint):
        read(path, *columns)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.csv", "", "is empty: give --dataset"),
        ("a.jsonl", "", "is empty: give --dataset"),
        ("a.csv", "\n\n", "no column 'text' (--text-column), but none"),
        ("a.csv", "text,text,label\na,b,ham\n", "more than one column 'text' (--text-column)"),
        ("a.csv", 'text,label\nok,ham\n"open,ham\nok,ham\n', "the row that begins in line 3: unexpected end of data"),
        ("a.csv", b"\xff\xfet\x00e", "is not utf-16"),
        ("a.csv", "text,label\n" + "a" * (8 * 2**20 + 1), "line 2: longer than 8,388,608 characters"),
        ("a.jsonl", '{"text": "' + "a" * (8 * 2**20), "line 1: longer than 8,388,608 characters"),
        (
            "a.csv",
            'text,label\n"' + ("a" * 999 + "\n") * 9000,
            "the row that begins in line 2: field larger than field limit",
        ),
        ("a.csv", ",".join(f"c{n}" for n in range(5000)), "'c9', …: name one of them"),
        ("a.csv", "te\x1b[2Jxt,label\n", r"'te\x1b[2Jxt'"),
        ("a.parquet", "no parquet", "is no parquet file that can be read"),
        ("a.parquet", b"PAR1\x00\x00\x00\x00PAR1", "read"),
        (
            "a.xlsx",
            "PK",
            "neither sms-spam nor a file of a known kind: convert it to .csv, .tsv, .jsonl, .ndjson, .json, .parquet",
        ),
        ("messages", "text,label", "is neither sms-spam nor a file of a known kind"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(write, name, content, complaint):
    with pytest.raises(DataError) as refusal:
        read(write(name, content))
    assert complaint in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert "\x1b" not in str(refusal.value)
    assert len(str(refusal.value)) < 600


def test_a_file_cut_short_is_refused(tmp_path):
    path = tmp_path / "a.parquet"
    FRAME.to_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="read"):
        read(path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv does not exist: give it a file that ends in \.csv"):
        read(tmp_path / "none.csv")


def test_a_folder_is_refused(tmp_path):
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(DataError, match=r"a\.csv is a folder"):
        read(tmp_path / "a.csv")


def test_what_a_file_holds_is_quoted_for_a_terminal():
    assert shown("a\x1b]0;x\n") == r"'a\x1b]0;x\n'"
    assert shown("ü" * 100) == f"'{'ü' * 39}…'"


def test_a_jsonl_may_lack_a_column_in_some_rows(write):
    path = write("a.jsonl", json.dumps({"label": "ham"}) + "\n" + json.dumps({"text": "a", "label": "ham"}))
    assert read(path) == [Row(1, None, "ham"), Row(2, "a", "ham")]
