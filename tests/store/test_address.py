import os

import pytest

from spamctl.errors import UsageError
from spamctl.store.address import parse
from tests.each import each


@pytest.mark.parametrize("address", ["spam.db", "sqlite:///spam.db", "./spam.db", "sqlite+pysqlite:///spam.db"])
def test_a_file_is_named_in_many_ways(address, tmp_path):
    assert parse(address).file == tmp_path / "spam.db"


def test_a_path_is_taken_as_it_is(tmp_path):
    (tmp_path / "50%? & #1").mkdir()
    assert parse("50%? & #1/späm @home.db").file == tmp_path / "50%? & #1" / "späm @home.db"


@pytest.mark.parametrize("name", ["what is spam?", "a#1"])
def test_a_folder_in_a_url_is_taken_as_it_is(name, tmp_path):
    (tmp_path / name).mkdir()
    address = parse(f"sqlite:///{tmp_path}/{name}/spam.db")
    assert address.file == tmp_path / name / "spam.db"
    assert address.url.database == str(address.file)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "spam.db")
    with pytest.raises(UsageError, match="is a pipe or a device"):
        parse("spam.db")


def test_the_users_home_is_known(home):
    assert parse("~/spam.db").file == home / "spam.db"


def test_a_link_leads_to_the_file_whose_companions_lie_beside_it(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "link.db").symlink_to(tmp_path / "far" / "spam.db")
    assert parse("link.db").file == tmp_path / "far" / "spam.db"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_is_reached_through_psycopg(scheme):
    address = parse(f"{scheme}://me:secret@db.example:5433/spam?sslmode=require")
    assert address.url.drivername == "postgresql+psycopg"
    assert address.file is None
    assert address.name == "postgresql://db.example:5433/spam"


def test_a_socket_folder_is_named():
    assert (
        parse("postgresql:///spam?host=%2Frun%2Fpostgresql&password=secret").name == "postgresql:///run/postgresql/spam"
    )


WRONG = {
    "empty": ("", "is empty"),
    "blank": ("  ", "is empty"),
    "in memory": (":memory:", "outlives"),
    "in memory, as a URL": ("sqlite://", "outlives"),
    "in memory, by its name": ("sqlite:///:memory:", "outlives"),
    "with SQLite's own options": ("sqlite:///spam.db?mode=ro", "outlives"),
    "with SQLite's own scheme": ("file:spam.db?mode=ro", "outlives"),
    "two slashes": ("sqlite://spam.db", "outlives"),
    "a folder": (".", "is a folder: name a file in it"),
    "a folder that is not there": ("no/such/spam.db", "does not exist: create the folder"),
    "a NUL": ("spam\0.db", "not a path"),
    "encrypted": ("sqlite+pysqlcipher://:secret@/spam.db", "of SQLite in clear"),
    "encrypted, without a word": ("sqlite+pysqlcipher:///spam.db", "of SQLite in clear"),
    "by a driver for async programs": ("sqlite+aiosqlite:///spam.db", "of SQLite in clear"),
    "a file with a password": ("sqlite://:secret@/spam.db", "of SQLite in clear"),
    "a file of a user": ("sqlite+pysqlite://me@/spam.db", "of SQLite in clear"),
    "an endless name": ("x" * 5000, "not a path"),
    "no database": ("postgresql://me:secret@host", "names no database"),
    "no scheme": ("://me:secret@host/spam", "not an address"),
    "unknown scheme": ("sqllite://me:secret@host/spam", "not an address"),
    "bad port": ("postgresql://me:secret@host:port/spam", "not an address"),
    "another database": ("mysql://me:secret@host/spam", "only in SQLite and PostgreSQL"),
    "another driver that is not there": ("oracle+cx_oracle://me:secret@host/spam", "only in SQLite and PostgreSQL"),
    "a driver for async programs": ("postgresql+asyncpg://me:secret@host/spam", "only in SQLite and PostgreSQL"),
}


@each(("address", "words"), WRONG.values())
def test_what_cannot_be_a_store_is_refused_in_one_line_that_keeps_secrets(address, words):
    with pytest.raises(UsageError, match=words) as refusal:
        parse(address)
    line = str(refusal.value)
    assert line.isprintable()
    assert "secret" not in line
    assert len(line) < 300
