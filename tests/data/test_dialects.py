"""What spreadsheets, databases and libraries call csv or tsv is read as they meant it, and what was found is said."""

import csv
import gzip
import io

import pandas as pd
import pytest

from spamctl.data import tables
from spamctl.data.files import open_rows
from spamctl.data.rows import Columns
from spamctl.errors import DataError

# Marks, separators and line ends of every kind, and words, in an order in which any of them may come first.
TEXTS = [
    "see you at noon",
    'he said "hi", then left',
    "two\nlines, one message",
    "a; b | c",
    '"quoted as a whole"',
    "C:\\new folder\\",
    "tab\there",
    'it ends in a "mark"',
    "Sure. See you",
]
LABELS = ["ham" if number % 3 else "spam" for number in range(len(TEXTS))]
FRAME = pd.DataFrame({"text": TEXTS, "label": LABELS})


def read(tmp_path, content, name="a.csv", **columns):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    reading = open_rows(path, Columns(**columns))
    return [(row.text, row.label) if not row.fault else row.fault for row in reading.rows], reading.notes


def written(**dialect):
    """Write the messages with Python's own writer."""
    paper = io.StringIO()
    csv.writer(paper, **dialect).writerows([("text", "label"), *zip(TEXTS, LABELS, strict=True)])
    return paper.getvalue()


def of_r(*, names, **dialect):
    """Write as R's write.table does: strings in marks, and names of rows without a name above them."""
    rows = written(quoting=csv.QUOTE_ALL, lineterminator="\r\n", **dialect).split('\r\n"')
    mark = dialect.get("delimiter", ",")
    return "\r\n".join([rows[0], *(f'"{n}"{mark}"{row}' if names else f'"{row}' for n, row in enumerate(rows[1:], 1))])


ESCAPED = {"quoting": csv.QUOTE_ALL, "doublequote": False, "lineterminator": "\n"}
WAYS = {
    "pandas csv": ("a.csv", FRAME.to_csv(index=False), ()),
    "pandas csv with an index": ("a.csv", FRAME.to_csv(), ()),
    "pandas tsv": ("a.tsv", FRAME.to_csv(sep="\t", index=False), ("quotation marks enclose cells",)),
    "pandas tsv, all in marks": (
        "a.tsv",
        FRAME.to_csv(sep="\t", index=False, quoting=csv.QUOTE_ALL),
        ("quotation marks enclose cells",),
    ),
    "LibreOffice": ("a.csv", written(delimiter=";", lineterminator="\n"), ("columns are separated by semicolons",)),
    "Excel in Germany": (
        "a.csv",
        "\ufeff" + written(delimiter=";"),
        ("columns are separated by semicolons",),
    ),
    "Excel with a first line": (
        "a.csv",
        "sep=;\r\n" + written(delimiter=";"),
        ("columns are separated by semicolons, as its first line says",),
    ),
    "Excel with a first line of commas": ("a.csv", '"sep=,"\r\n' + written(), ()),
    "Excel's Unicode text": (
        "a.csv",
        written(delimiter="\t").encode("utf-16"),
        ("columns are separated by tabs",),
    ),
    "bars": ("a.csv", written(delimiter="|"), ("columns are separated by vertical bars",)),
    "tabs in a csv": ("a.csv", written(delimiter="\t"), ("columns are separated by tabs",)),
    "commas in a tsv": ("a.tsv", written(), ("columns are separated by commas",)),
    "MySQL": ("a.csv", written(escapechar="\\", **ESCAPED), ('\\" is a quotation mark inside a cell',)),
    "R's write.csv without names": ("a.csv", of_r(names=False), ()),
    "R's write.table": ("a.csv", of_r(names=True), ()),
    "R's write.table with tabs": ("a.tsv", of_r(names=True, delimiter="\t"), ("quotation marks enclose cells",)),
    "spaces after commas": (
        "a.csv",
        "\n".join(", ".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in
                  [("text", "label"), *zip(TEXTS, LABELS, strict=True)]),
        (),
    ),
    "gzip": ("a.csv.gz", gzip.compress(written().encode(), mtime=0), ()),
    "gzip under another name": ("a.csv", gzip.compress(written().encode(), mtime=0), ()),
    "unpacked on its way": ("a.csv.gz", written(), ()),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_each_way_gives_the_messages_as_they_were(tmp_path, way):
    name, content, notes = WAYS[way]
    if way == "R's write.csv without names":
        assert content.startswith('"text","label"\r\n"see')
    assert read(tmp_path, content, name) == (list(zip(TEXTS, LABELS, strict=True)), notes)


def test_rows_may_end_in_a_separator_as_long_as_nothing_follows_it(tmp_path):
    content = "text,label\n" + "see you,ham,\n" * 250
    assert read(tmp_path, content)[0] == [("see you", "ham")] * 250
    assert read(tmp_path, content + "win,spam,now\n")[0][-1] == "more or fewer fields than the header"


def test_spark_leaves_backslashes_alone_but_before_a_mark(tmp_path):
    texts = ['say \\"hi\\", then', "C:\\new", 'it is \\"so\\"', "plain"]
    content = "text,label\n" + "".join(f'"{text}",ham\n' for text in texts)
    rows, notes = read(tmp_path, content)
    assert rows == [(text.replace('\\"', '"'), "ham") for text in texts]
    assert notes == ('\\" is a quotation mark inside a cell',)


def test_a_backslash_before_the_last_mark_is_text_where_all_else_agrees(tmp_path):
    content = 'text,label\n"C:\\dir\\",ham\n"say ""hi"" \\",spam\n"x",ham\n'
    assert read(tmp_path, content) == ([("C:\\dir\\", "ham"), ('say "hi" \\', "spam"), ("x", "ham")], ())


@pytest.mark.parametrize(
    "texts",
    [
        ['"so', 'call "now"', "fine"],
        ['"Hello" she said', "fine, really", '"done"'],
        ['"Hello, you"', "fine, really"],
        ['"so', '"and so', 'so on"'],
        ["'single'", 'a "b" c'],
    ],
)
def test_marks_of_a_tsv_that_enclose_nothing_are_text(tmp_path, texts):
    content = "text\tlabel\n" + "".join(f"{text}\tham\n" for text in texts)
    assert read(tmp_path, content, "a.tsv") == ([(text, "ham") for text in texts], ())


def test_excel_encloses_the_cells_of_a_tsv_that_have_commas(tmp_path):
    content = 'text\tlabel\r\n"Hello, you"\tham\r\nfine\tham\r\n"Win, now"\tspam\r\n'
    rows, notes = read(tmp_path, content, "a.tsv")
    assert rows == [("Hello, you", "ham"), ("fine", "ham"), ("Win, now", "spam")]
    assert notes == ("quotation marks enclose cells",)


def test_marks_are_looked_for_in_the_whole_file(tmp_path):
    content = "text\tlabel\n" + "plain words\tham\n" * 50_000 + '"two\nlines ""here"""\tspam\n'
    rows, _ = read(tmp_path, content, "a.tsv")
    assert rows[-1] == ('two\nlines "here"', "spam")
    assert len(rows) == 50_001


def test_no_half_of_a_broken_row_is_a_message(tmp_path):
    rows = "".join(f'"one {n}\ntwo ""{n}"""\tham\n' for n in range(5))
    content = f'text\tlabel\n{rows}"three\nfour" five\tham\nsix\tspam\n'
    found, _ = read(tmp_path, content, "a.tsv")
    assert found[:5] == [(f'one {n}\ntwo "{n}"', "ham") for n in range(5)]
    assert found[5:] == [tables.BROKEN, tables.BROKEN, ("six", "spam")]


def test_a_mark_that_is_never_closed_names_its_row_and_the_backslashes(tmp_path):
    with pytest.raises(DataError, match=r"the row that begins in line 2: unexpected end of data: mend its quotation"):
        read(tmp_path, 'text,label\n"open,ham\nok,ham\n')


@pytest.mark.parametrize(
    ("content", "numbers"),
    [
        ("ham,see you later\nspam,win a cruise now\nham,ok then\n", "--text-column 2 --label-column 1"),
        ("see you later\tham\nwin a cruise now\tspam\nok then\tham\n", "--text-column 1 --label-column 2"),
        ('0;"see you, later alligator, in a while"\n1;win\n0;ok\n0;yes\n', "--text-column 2 --label-column 1"),
        ("1,ham,see you later\n2,spam,win a cruise now\n3,ham,ok then\n4,ham,no\n5,ham,fine\n", ""),
        ("nobody named the columns of this one\nwin a cruise now\n", ""),
    ],
)
def test_a_first_line_that_is_a_message_is_no_header(tmp_path, content, numbers):
    words = f"its first line looks like a message, not like the names of columns: add --no-header {numbers}"
    with pytest.raises(DataError) as refusal:
        read(tmp_path, content)
    assert words.rstrip() in str(refusal.value)
    assert "or put a line such as label,text above it" in str(refusal.value)
    assert "cruise" not in str(refusal.value)
    if numbers:
        text, label = numbers.split()[1::2]
        named, _ = read(tmp_path, content, header=False, text=text, label=label)
        found, notes = read(tmp_path, content, header=False)
        assert found == named
        assert ("ok then", "ham") in found or ("ok", "0") in found
        assert f"column {text} holds the messages, column {label} the labels" in notes


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("text;label\nsee you;spam\n", "but 'text', 'label': name one of them with --text-column"),
        ("message,spam\nsee you,spam\nbye,ham\n", "has no column 'text' (--text-column), but 'message', 'spam'"),
        ("text,spam\nsee you later,0\nwin a cruise,1\n", "has no column 'label' (--label-column), but 'text', 'spam'"),
        ("v1,v2,,,\nham,see you later,,,\n", "has no column 'text' (--text-column), but 'v1', 'v2'"),
        ('"text,label"\n"hello,ham"\n', "its first line, 'text,label', is one cell: separate the columns by commas"),
        ("text^label\nhello^ham\n", "its first line, 'text^label', is one cell: separate the columns by commas"),
        ("subject line,spam?\na,0\nb,0\n", "but 'subject line', 'spam?'"),
    ],
)
def test_short_names_of_columns_are_no_message(tmp_path, content, words):
    with pytest.raises(DataError) as refusal:
        read(tmp_path, content, text="text;label" if ";" in content else "text")
    assert words in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "a,b\nc,d\n", "which of the 2 columns of .* is not clear: number them, such as --text-column 2"),
        ("a.csv", "text,label\nhello you,ham\nbye you,ham\n", "names its columns: leave --no-header out"),
        ("a.csv", "body,spam\nhello you,ham\nbye you,spam\n", "names its columns: leave --no-header out"),
        ("a.jsonl", '{"text": "a"}', "names its columns in each row: leave --no-header out"),
    ],
)
def test_no_header_where_it_cannot_be_meant_is_refused(tmp_path, name, content, words):
    with pytest.raises(DataError, match=words):
        read(tmp_path, content, name, header=False)


def test_texts_alone_need_neither_header_nor_label(tmp_path):
    rows, _ = read(tmp_path, "hello you\nsee you\n", text="text", label="text", header=False)
    assert [text for text, _ in rows] == ["hello you", "see you"]
    rows, _ = read(tmp_path, "text\nhello you\nsee you; later\n", text="text", label="text")
    assert [text for text, _ in rows] == ["hello you", "see you; later"]


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"PK\x03\x04", "is a zip archive or a spreadsheet, whatever its name says: unpack it, or save it as CSV"),
        (b"PAR1", "is a parquet file, whatever its name says: let its name end in .parquet"),
        (b"SQLite format 3\0", "is a SQLite database"),
        (gzip.compress(b"text,label\na,ham\n" * 999, mtime=0)[:-30], "cannot be unpacked by gzip"),
        (b"\x1f\x8b\x08\x00" + b"\xff" * 90, "cannot be unpacked by gzip"),
    ],
)
def test_what_is_no_table_is_told(tmp_path, head, words):
    with pytest.raises(DataError) as refusal:
        read(tmp_path, head)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_the_first_lines_are_looked_at_however_long_they_are(tmp_path):
    content = "text;label\n" + ('"' + ("a" * 100_000 + "\n") * 70 + '";ham\n') * 3
    rows, notes = read(tmp_path, content)
    assert [len(text) for text, _ in rows] == [7_000_070] * 3
    assert notes == ("columns are separated by semicolons",)
    with pytest.raises(DataError, match="the row that begins in line 2: field larger than field limit"):
        read(tmp_path, "text;label\n" + '"' + ("a" * 100_000 + "\n") * 90)


def test_a_separator_that_cannot_be_one_is_a_line(tmp_path):
    for line in ('sep="', "sep=a", "sep=", "sep=\r"):
        with pytest.raises(DataError, match=r"has no column 'text'|looks like a message|is one cell"):
            read(tmp_path, f"{line}\ntext,label\nhi,ham\n")
