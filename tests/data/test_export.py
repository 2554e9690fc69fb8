"""What was exported is read back by training as it was, or nothing is written."""

import csv
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spamctl.data import export, score_input
from spamctl.data.cleaning import clean
from spamctl.data.corpus import CorpusRequest, ReplayRequest, read_corpus, read_replay
from spamctl.data.export import LabelledRow
from spamctl.data.files import is_mail, parts_of, read_rows
from spamctl.data.label_file import LabelRequest, read_label_file
from spamctl.data.rows import Columns
from spamctl.data.tables import EXPORTED
from spamctl.errors import DataError
from spamctl.schema.message import NOT_SPAM, SPAM
from tests.each import each
from tests.store.made_rows import ODD_TEXTS

NOON = datetime(2026, 11, 23, 12, 0, 0, 250, tzinfo=UTC)
FORMULAS = ["=1+1", "+44 7700 900123", "-5", "@me", "\tx", "\rx", '=HYPERLINK("http://x";"y")', "=cmd|' /C calc'!A0"]
KINDS = ["csv", "tsv", "jsonl", "ndjson", "parquet"]
MARKS = st.text("'\"=+-@\t\r\n\\,; a", min_size=1)
HELD = {name: text for name, text in ODD_TEXTS.items() if clean(text).strip()}


def row(text, label=SPAM, number=0):
    return LabelledRow(text, label, f"00000000-0000-4000-8000-{number:012}", "file", NOON)


def written(path, *pages):
    return [*export.export(path, pages)][-1]


def read_back(path):
    return [(one.text, one.label) for one in read_rows(path, Columns())]


def whole(text):
    """Return a text as UTF-8 can hold it."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


@each("kind", KINDS)
@each("name", HELD)
def test_what_people_write_comes_back_as_it_was(tmp_path, kind, name):
    written(tmp_path / f"out.{kind}", [row(HELD[name])])
    ((text, label),) = read_back(tmp_path / f"out.{kind}")
    assert label == SPAM
    assert whole(text) == whole(HELD[name])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.text(min_size=1) | MARKS, st.sampled_from([SPAM, NOT_SPAM])), min_size=1))
@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_any_text_comes_back_as_it_was(tmp_path, kind, messages):
    path = tmp_path / f"out.{kind}"
    kept = [(text, label) for text, label in messages if clean(text).strip()]
    counts = written(path, [row(text, label) for text, label in messages])
    assert (counts.rows, counts.empty) == (len(kept), len(messages) - len(kept))
    assert (read_back(path) if kept else []) == kept
    path.unlink(missing_ok=True)


@pytest.mark.parametrize("kind", KINDS)
def test_training_reads_the_same_messages(tmp_path, kind):
    path = tmp_path / f"out.{kind}"
    texts = [*dict.fromkeys(text.strip() for text in FORMULAS), 'He said "hi", she left', "a;b", "plain"]
    written(path, [row(text, SPAM if place % 2 else NOT_SPAM) for place, text in enumerate(texts)])
    corpus = read_corpus(CorpusRequest(str(path)))
    assert {(one.text, one.label) for one in corpus.messages} == {
        (clean(text), SPAM if place % 2 else NOT_SPAM) for place, text in enumerate(texts)
    }
    assert corpus.notes == (("quotation marks enclose cells",) if kind == "tsv" else ())


@pytest.mark.parametrize(("kind", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_no_cell_of_a_table_begins_like_a_formula_and_all_of_them_are_read_back(tmp_path, kind, delimiter):
    path = tmp_path / f"out.{kind}"
    texts = [*FORMULAS, "'=1", "''@x", "'quoted'", "plain"]
    rows = [LabelledRow(text, SPAM, row("x", SPAM, place).uuid, "=source", NOON) for place, text in enumerate(texts)]
    counts = written(path, rows)
    assert counts.guarded == len(texts)
    assert "have a ' before it, so that no spreadsheet computes them" in counts.notes[0]
    with path.open(newline="", encoding="utf-8") as file:
        cells = [cell for record in csv.reader(file, delimiter=delimiter) for cell in record]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert read_back(path) == [(text, SPAM) for text in texts]
    assert {one.text for one in read_rows(path, Columns("source"))} == {"=source"}
    assert [text for text, _ in read_replay(ReplayRequest(str(path))).rows] == texts
    assert read_label_file(LabelRequest(str(path))).rows == len(texts)


def test_apostrophes_of_other_files_are_text(tmp_path):
    path = tmp_path / "other.csv"
    path.write_text("text,label\n'=1+1,spam\n", encoding="utf-8")
    assert read_back(path) == [("'=1+1", SPAM)]


def test_the_reader_knows_the_columns_of_an_export():
    assert export.COLUMNS == EXPORTED


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_says_which_row_it_was_who_labelled_it_and_when_it_came(tmp_path, kind):
    written(tmp_path / f"out.{kind}", [row("hello", NOT_SPAM, 7)])
    found = {column: next(read_rows(tmp_path / f"out.{kind}", Columns(column))).text for column in ("uuid", "source")}
    assert found == {"uuid": "00000000-0000-4000-8000-000000000007", "source": "file"}
    if kind != "parquet":  # where a moment is one
        assert next(read_rows(tmp_path / f"out.{kind}", Columns("date"))).text == "2026-11-23T12:00:00.000250+00:00"


def test_halves_of_characters_are_counted(tmp_path):
    counts = written(tmp_path / "out.csv", [row("half \ud83d"), row("whole 😀")])
    assert counts.halves == 1
    assert "U+FFFD" in counts.notes[0]
    assert read_back(tmp_path / "out.csv")[0][0] == "half \ufffd"


@pytest.mark.parametrize("text", ["a\tb", "a\nb", "a\rb", '"a"', '"a', 'a ""b""', '"a"\t"b"'], ids=ascii)
def test_tsv_holds_every_text(tmp_path, text):
    written(tmp_path / "out.tsv", [row("fine")], [row(text, number=3)])
    assert read_back(tmp_path / "out.tsv") == [("fine", SPAM), (text, SPAM)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_appears_whole_or_not_at_all(tmp_path, kind):
    path = tmp_path / f"out.{kind}"
    path.write_text("before")
    writing = export.export(path, [[row("one")], [row("two")]])
    next(writing)
    assert path.read_text() == "before"
    writing.close()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    written(path, [row("one")], [row("two")])
    assert [text for text, _ in read_back(path)] == ["one", "two"]


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_row_there_is_no_file(tmp_path, kind):
    assert written(tmp_path / f"out.{kind}", [], [row(" ")]).rows == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("out.xlsx", "not a file of a known kind"),
        ("out", "not a file of a known kind"),
        ("nowhere/out.csv", "its folder does not exist"),
        ("folder.csv", "is a folder"),
        ("there.csv", "is there already"),
    ],
)
def test_a_file_that_cannot_be_made_is_refused(tmp_path, name, words):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "there.csv").touch()
    with pytest.raises(DataError, match=words):
        export.check_target(tmp_path / name, overwrite=False)
    export.check_target(tmp_path / "there.csv", overwrite=True)


def test_a_disk_that_refuses_is_a_refusal():
    with pytest.raises(DataError, match="cannot be written"):
        written(export.Path("/proc/out.csv"), [row("one")])


def parts_written(path, *pages):
    return [*export.export_parts(path, pages)][-1]


def test_a_folder_of_parts_is_read_back_by_training_and_scoring(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "ROWS_OF_A_PART", 2)
    pages = [[row(f"Win prize {number}", number=number)] for number in range(5)]
    pages += [[row(f"See you at {number}", NOT_SPAM, number) for number in range(5, 8)], [], [row(" ")]]
    counts = parts_written(tmp_path / "rows", *pages)
    assert (counts.rows, counts.empty) == (8, 1)
    parts = sorted(tmp_path.joinpath("rows").iterdir())
    assert [part.name for part in parts] == [f"part-{number:05}.parquet" for number in range(3)]
    assert [len(read_back(part)) for part in parts] == [2, 2, 4]
    written = [(one.text, one.label) for page in pages for one in page if one.text.strip()]
    assert read_back(tmp_path / "rows") == written
    (tmp_path / "rows" / "_SUCCESS").touch()  # as Spark leaves one
    corpus = read_corpus(CorpusRequest(str(tmp_path / "rows")))
    assert [(one.text, one.label) for one in corpus.messages] == written
    before = corpus.sha256
    scored = list(score_input.read(score_input.InputRequest(str(tmp_path / "rows"))))
    assert [(one.text, one.label) for one in scored] == written
    (tmp_path / "rows" / "part-00000.parquet").unlink()
    assert read_corpus(CorpusRequest(str(tmp_path / "rows"))).sha256 != before


def test_a_row_of_a_part_is_named_with_its_part(tmp_path):
    folder = tmp_path / "rows"
    folder.mkdir()
    (folder / "a.csv").write_text("text,label\nhello,not spam\n", encoding="utf-8")
    (folder / "b.csv").write_text("text,label\nwin,spam\n,spam\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"no text \(b\.csv 3\)"):
        read_corpus(CorpusRequest(str(folder)))


def test_a_folder_with_something_else_in_it_is_no_folder_of_parts(tmp_path):
    written(tmp_path / "part-00000.parquet", [row("one")])
    assert parts_of(tmp_path)
    (tmp_path / "mail.eml").write_text("Subject: x\n\ny", encoding="utf-8")
    assert not parts_of(tmp_path)
    assert is_mail(tmp_path)


def test_a_folder_of_parts_appears_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "rows"
    parts_written(folder, [row("before")])
    writing = export.export_parts(folder, [[row("one")], [row("two")]])
    next(writing)
    writing.close()
    assert read_back(folder) == [("before", SPAM)]
    assert parts_written(folder, [row(" ")]).rows == 0
    parts_written(folder, [row("after")])
    assert read_back(folder) == [("after", SPAM)]
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()
    (tmp_path / "file").touch()
    parts_written(tmp_path / "rows", [row("one")])
    for name, words in {
        "nowhere/rows": "the folder around it does not exist",
        "other": "holds something else",
        "file": "holds something else",
        "rows": "is there already.*--overwrite",
    }.items():
        with pytest.raises(DataError, match=words):
            export.check_folder(tmp_path / name, overwrite=False)
    export.check_folder(tmp_path / "rows", overwrite=True)
    export.check_folder(tmp_path / "new", overwrite=False)


def test_a_forgotten_row_is_taken_out_of_its_part(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "ROWS_OF_A_PART", 1)
    parts_written(tmp_path / "rows", *([row(f"text {number}", number=number)] for number in range(3)))
    gone = export.RowsToRemove({"00000000-0000-4000-8000-000000000001"}, set())
    assert export.remove_rows(tmp_path / "rows", gone) == 1
    assert [text for text, _ in read_back(tmp_path / "rows")] == ["text 0", "text 2"]
    with pytest.raises(FileNotFoundError):
        export.remove_rows(tmp_path / "gone", gone)
