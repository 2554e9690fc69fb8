import contextlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from sqlalchemy import insert, text

from spamctl.errors import UnavailableError, UsageError
from spamctl.store import queries, tables
from spamctl.store.database import open_store, require_usable
from tests.ports import closed_port, silent_port
from tests.store.made_rows import row, rows


def write(store, made):
    with store.writing() as connection:
        connection.execute(insert(tables.data), [asdict(one) for one in made])


@pytest.fixture
def closed_store(tmp_path):
    """Leave a store of 2,000 rows behind, closed, and return its file, whose address is short enough to be shown."""
    file = Path("spam.db")
    with open_store(str(file), create=True) as store:
        write(store, rows(2000))
    return file


def refused(address, words, *, create=True, within_s=5.0):
    """Hold that an address is refused within a time, in one line; return the line."""
    started = time.monotonic()
    with pytest.raises(UsageError, match=words) as refusal:
        open_store(str(address), create=create)
    assert time.monotonic() - started < within_s
    assert str(refusal.value).isprintable()
    return str(refusal.value)


def test_a_store_is_made_where_there_is_none(tmp_path):
    with open_store("spam.db", create=True) as store:
        write(store, rows(3))
    shell = sqlite3.connect(tmp_path / "spam.db")
    assert shell.execute("SELECT COUNT(*) FROM data;").fetchone() == (3,)
    shell.close()


def test_a_new_store_is_for_its_owner_alone_and_an_older_one_stays_as_it_is(closed_store):
    with open_store(str(closed_store)):
        files = list(Path().glob("spam.db*"))
        assert len(files) > 1  # its log too
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    closed_store.chmod(0o640)
    open_store(str(closed_store), create=True).close()
    assert closed_store.stat().st_mode & 0o777 == 0o640


def test_an_empty_file_becomes_a_store(tmp_path):
    (tmp_path / "spam.db").touch()
    with open_store("spam.db", create=True) as store:
        assert queries.count(store) == 0


@pytest.mark.postgres
def test_a_reader_does_not_make_a_store_in_an_empty_database(postgres):
    address = postgres.empty_database()
    refused(address, "there is no store yet: spamctl serve makes it", create=False)
    with open_store(address, create=True):
        pass
    with open_store(address) as store:
        assert queries.count(store) == 0


@pytest.mark.parametrize("empty", [False, True])
def test_a_reader_does_not_make_a_store(empty, tmp_path):
    if empty:
        (tmp_path / "spam.db").touch()
    refused("spam.db", "there is no store yet: spamctl serve makes it", create=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["spam.db"] * empty


def test_a_commit_waits_for_the_disk(store):
    with store.reading() as connection:
        if store.address.file:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        else:  # the server's own default is off in these tests
            assert connection.scalar(text("SHOW synchronous_commit")) == "on"


def test_a_transaction_that_fails_writes_nothing(store):
    with contextlib.suppress(ZeroDivisionError), store.writing() as connection:
        connection.execute(insert(tables.data), asdict(row()))
        raise ZeroDivisionError
    assert queries.count(store) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"classification": "ham"},
        {"probability": 1.5},
        {"ground_truth": "ham", "label_source": "user"},
        {"ground_truth": "spam", "label_source": None},
        {"ground_truth": None, "label_source": "user"},
        {"text": None},
    ],
    ids=str,
)
def test_the_database_itself_refuses_a_row_that_breaks_the_rules(store, wrong):
    with pytest.raises(UnavailableError, match="refused the values"), store.writing() as connection:
        connection.execute(insert(tables.data), asdict(row()) | wrong)
    assert queries.count(store) == 0


def test_errors_show_neither_text_nor_statement(store):
    with pytest.raises(UnavailableError) as refusal, store.writing() as connection:
        connection.execute(insert(tables.data), asdict(row("canary")) | {"classification": "ham"})
    assert "canary" not in str(refusal.value)
    assert "INSERT" not in str(refusal.value)


def garbage(file):
    file.write_bytes(b"spam, spam, spam and eggs\n" * 100)


def no_header(file):
    file.write_bytes(b"\xff" * 100 + file.read_bytes()[100:])


def cut_in_half(file):
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def a_page_overwritten(file):
    content = bytearray(file.read_bytes())
    for page in range(20, len(content) // 4096, 7):
        content[page * 4096 : page * 4096 + 2048] = b"\xa5" * 2048
    file.write_bytes(content)


def root_overwritten(file):
    content = bytearray(file.read_bytes())
    content[100:4096] = bytes(3996)
    file.write_bytes(content)


def text_file(file):
    file.write_text("uuid,date,text\n", encoding="utf-8")


def foreign(file):
    file.unlink()
    other = sqlite3.connect(file)
    other.execute("CREATE TABLE experiments (id INTEGER)")
    other.commit()
    other.close()


def foreign_in_wal_mode(file):
    file.unlink()
    code = (
        "import os, sqlite3, sys; other = sqlite3.connect(sys.argv[1]); other.execute('PRAGMA journal_mode = WAL');"
        "other.execute('CREATE TABLE experiments (id INTEGER)'); other.commit(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(file)], check=True)
    assert file.with_name("spam.db-wal").stat().st_size


DAMAGE = {
    garbage: "it is not a SQLite database: move the file away, or choose another address",
    no_header: "it is not a SQLite database: move the file away, or choose another address",
    text_file: "it is not a SQLite database: move the file away, or choose another address",
    cut_in_half: "it is damaged: put a copy in its place, or move it away",
    a_page_overwritten: "it is damaged: put a copy in its place, or move it away",
    root_overwritten: "put a copy in its place, or move it away|choose another address",
    foreign: "belongs to another program .it has a table experiments.: choose another address",
    foreign_in_wal_mode: "belongs to another program .it has a table experiments.: choose another address",
}


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_what_is_no_whole_store_is_refused_and_its_bytes_stay(damage, create, closed_store):
    damage(closed_store)
    before = closed_store.read_bytes()
    refused(closed_store, f"spam.db: .*({DAMAGE[damage]})", create=create)
    assert closed_store.read_bytes() == before


WITHOUT_RIGHTS = """
import os, sys
from spamctl.store.database import open_store
open_store(sys.argv[1]).close()  # loads all that a user without rights may not read
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
open_store(sys.argv[2], create=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["spam.db", "new.db"])
def test_what_may_not_be_written_is_refused_and_its_bytes_stay(name, closed_store):
    folder = Path(tempfile.mkdtemp(prefix="spamctl-"))
    file = Path(shutil.copy(closed_store, folder))
    before = file.read_bytes()
    file.chmod(0o444)
    folder.chmod(0o555)
    words = [sys.executable, "-c", WITHOUT_RIGHTS, str(closed_store), str(folder / name)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert file.read_bytes() == before
    folder.chmod(0o755)
    shutil.rmtree(folder)
    assert "UsageError" in done.stderr
    assert "it may not be written: give this user the right to write there" in done.stderr


def test_a_place_where_no_file_can_be_is_refused():
    refused("/proc/spam.db", "it may not be written|cannot be read or written")


def test_a_store_locked_for_long_at_the_start_is_told_of_in_time(closed_store):
    other = sqlite3.connect(closed_store, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError, match="it is locked by another program: wait"):
        open_store(str(closed_store), patience_s=0.2)
    other.close()
    open_store(str(closed_store), patience_s=0.2).close()


def test_a_reader_is_not_held_up_by_a_writer(closed_store):
    with open_store(str(closed_store)) as store, store.writing() as connection:
        connection.execute(insert(tables.data), asdict(row("not yet committed")))
        assert queries.count(store) == 2000


def test_a_server_that_is_not_there_is_refused():
    line = refused(f"postgresql://me:secret@127.0.0.1:{closed_port()}/spam", "does not answer: start it")
    assert "secret" not in line


@pytest.mark.slow
def test_a_server_that_says_nothing_is_refused():
    with silent_port() as port:
        refused(f"postgresql://127.0.0.1:{port}/spam", "does not answer: start it", within_s=6)


def test_a_driver_that_is_not_there_is_named():
    refused("postgresql+psycopg2://127.0.0.1/spam", "needs the package psycopg2: install it")


@pytest.mark.postgres
def test_a_database_that_is_not_there_is_refused(postgres):
    refused(postgres.url("nowhere"), "there is no such database: create it")


@pytest.mark.postgres
def test_a_user_without_rights_is_refused(postgres):
    address = postgres.new_database()
    with open_store(address, create=True) as store, store.writing() as connection:
        connection.execute(text(f"DROP TABLE {', '.join(tables.metadata.tables)}"))
        connection.execute(text("CREATE ROLE guest LOGIN"))
        connection.execute(text("REVOKE CREATE ON SCHEMA public FROM PUBLIC"))
    refused(address.replace("spamctl@", "guest@"), "it may not be written: give this user the right")


def test_a_store_that_could_be_made_is_not_made_by_asking(tmp_path):
    assert require_usable("spam.db") == "spam.db"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "notes.txt").write_text("milk, bread")
    with pytest.raises(UsageError, match="not a SQLite database"):
        require_usable("notes.txt")
