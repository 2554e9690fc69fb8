"""Rows are labelled, reviewed and exported through the real command, which says where every label is from."""

import csv
from dataclasses import asdict

import pytest
from sqlalchemy import insert

from spamctl.data.corpus import CorpusRequest, read_corpus
from spamctl.schema.message import NOT_SPAM, SPAM
from spamctl.store import queries, tables, truth
from spamctl.store.database import open_store
from spamctl.store.queries import Window
from spamctl.store.truth import TrueRow
from tests.canary import leaks
from tests.flows.conftest import Desk
from tests.store.made_rows import row

PASSWORD = "hunter2"


@pytest.fixture
def desk(tmp_path_factory):
    """Stand in a folder with a store of 60 rows, the truth of 40 of them kept."""
    desk = Desk(tmp_path_factory.mktemp("label"))
    fill(str(desk.path("spam.db")))
    return desk


def fill(address):
    made = [
        row(f"={n} message {'abcdefghij'[n % 10] * n}", n, classification=SPAM if n % 3 else NOT_SPAM)
        for n in range(60)
    ]
    with open_store(address, create=True) as store:
        with store.writing() as connection:
            connection.execute(insert(tables.data), [asdict(one) for one in made])
        kept = [(one, SPAM if n < 10 else one.classification) for n, one in enumerate(made[:40])]
        truth.remember(store, [TrueRow(one.uuid, label, "test part", "", "none", 0.0, 0, "run") for one, label in kept])


def label(desk, *words, **variables):
    code = desk.ended(desk.start("-m", "spamctl", "label", *words, **variables))
    return code, desk.out, desk.err


def sources(desk):
    with open_store(str(desk.path("spam.db"))) as store:
        return {one.source: (one.rows, one.agreeing) for one in queries.by_source(store)}


def test_truth_then_verdicts_then_an_export_that_training_reads(desk):
    code, out, err = label(desk, "--source", "truth")
    assert code == 0, err
    assert "40 rows labelled with the truth saved by traffic" in out
    assert "SIMULATED" not in out
    with open_store(str(desk.path("spam.db"))) as store:
        right = sum(one.rows for one in truth.tally(store, "run") if one.label == one.classification)
    assert sources(desk) == {"oracle": (40, right)}
    assert (right, desk.told("result")[0]["left"]) == (36, 20)

    code, out, err = label(desk, "--ground-truth-quality", "1")
    assert code == 0, err
    assert "20 rows given labels simulated from their verdicts" in out
    assert "SIMULATED: 20 of 60 labels" in out.replace("\n", " ")
    assert sources(desk)["simulated"] == (20, 20)

    code, out, _ = label(desk)
    assert code == 0
    assert "Nothing to label: all 60 selected rows have a label" in out

    code, out, err = label(desk, "--export", "labelled.csv")
    assert code == 0, err
    assert "40 rows written to labelled.csv" in out
    assert "Next: spamctl train --dataset labelled.csv" in out
    with desk.path("labelled.csv").open(newline="", encoding="utf-8") as file:
        exported = list(csv.DictReader(file))
    corpus = read_corpus(CorpusRequest(str(desk.path("labelled.csv"))))
    assert all(one["text"].startswith("'=") for one in exported)
    assert {(one.text, one.label) for one in corpus.messages} == {(one["text"][1:], one["label"]) for one in exported}
    assert {one["source"] for one in exported} == {"oracle"}

    code, _, err = label(desk, "--export", "labelled.csv")
    assert code == 2
    assert err.splitlines()[-1].startswith("spamctl: --export labelled.csv: is there already")


def test_a_file_labels_by_uuid_and_its_card_tells_of_conflicts(desk):
    with open_store(str(desk.path("spam.db"))) as store:
        first, second, third = [one.uuid for one in queries.newest(store, 3)]
    desk.path("given.csv").write_text(f"uuid,label\n{first},junk\n{second},ham\n")
    assert label(desk, "--source", "file", "--labels", "given.csv", "--spam-label", "junk")[0] == 0
    desk.path("given.csv").write_text(f"uuid,label\n{first},ham\n{second},ham\n{third},junk\n")
    code, out, err = label(desk, "--source", "file", "--labels", "given.csv", "--spam-label", "junk")
    assert code == 0, err
    assert "1 row labelled from given.csv" in out
    assert f"{first} (spam by file, not spam in the file)" in " ".join(out.split())
    with open_store(str(desk.path("spam.db"))) as store:
        assert queries.count(store, Window(labelled=True)) == 3
        assert queries.find(store, [first])[first].ground_truth == SPAM
    pages = sorted(desk.path(".metaflow/mf.cards").rglob("*.html"), key=lambda path: path.stat().st_mtime)
    assert "kept a label that differs from the file" in pages[-1].read_text()


def test_labels_by_text_meet_their_rows_whatever_a_spreadsheet_did_and_the_others_are_named(desk):
    lost = "".join(f"nobody sent {n};spam\r\n" for n in range(7))
    known = "".join(f'" =3 message ddd ";ham\r\n"=4 message {"e" * 4}\r\n";junk\r\n')
    desk.path("given.csv").write_bytes(f"text;label\r\n{known}{lost}".encode("utf-16"))
    code, out, err = label(desk, "--source", "file", "--labels", "given.csv", "--spam-label", "spam,junk")
    assert code == 0, err
    told = " ".join(out.split())
    assert "2 rows labelled from given.csv" in told
    assert "7 labels of given.csv are for no selected row: row 5, row 6, row 7, row 8, row 9, …" in told
    assert "columns are separated by semicolons" in err
    with open_store(str(desk.path("spam.db"))) as store:
        assert queries.count(store, Window(labelled=True)) == 2
    desk.path("given.csv").write_text("uuid,label\n00000000-0000-4000-8000-000000000007,ham\n")
    code, out, err = label(desk, "--source", "file", "--labels", "given.csv")
    assert code == 0, err
    words = "1 label of given.csv is for no selected row: 00000000-0000-4000-8000-000000000007"
    assert words in " ".join(out.split())


@pytest.mark.postgres
def test_a_database_server_is_labelled_and_its_password_is_told_to_nobody(desk, postgres):
    address = postgres.empty_database()
    fill(address)
    with_password = address.replace("spamctl@", f"spamctl:{PASSWORD}@")
    code, out, err = label(desk, "--source", "truth", SPAMCTL_LABEL_TARGET_URI=with_password)
    assert code == 0, err
    assert "40 rows labelled with the truth saved by traffic" in out
    assert address.replace("spamctl@", "") in out
    assert list(desk.path(".metaflow/mf.cards").rglob("*.html"))
    assert leaks(desk.folder, PASSWORD) == []


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("nothing.db", "nothing.db: there is no store yet: spamctl serve makes it, or correct the address"),
        ("text.db", "text.db: it is not a SQLite database: move the file away, or choose another address"),
        (f"mysql://me:{PASSWORD}@host/db", "spamctl keeps its promise to lose nothing only in SQLite and PostgreSQL"),
    ],
)
def test_what_is_no_store_is_one_line_without_a_password(desk, address, words):
    desk.path("text.db").write_text("no database " * 100)
    code, out, err = label(desk, SPAMCTL_LABEL_TARGET_URI=address)
    assert (code, out) == (2, "")
    assert words in err.splitlines()[-1]
    assert leaks(desk.folder, PASSWORD) == []
