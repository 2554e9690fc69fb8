"""A file that is damaged or emptied while rows are written into it is noticed, told, and not written into any more."""

import os

import pytest

from spamctl.errors import UnavailableError
from spamctl.store import capture as inspection
from spamctl.store.address import parse
from spamctl.store.capture import LONGEST_S, Capture, Inspector
from tests.store.made_rows import eventually, rows

SOON_S = 0.05
PAGE = 4096


@pytest.fixture(autouse=True)
def looking_often(monkeypatch):
    monkeypatch.setattr(inspection, "EVERY_S", SOON_S)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "spam.db"


@pytest.fixture
def capture(file):
    """Capture into a file that holds many pages already."""
    first = Capture(str(file))
    assert first.submit(rows(900, request_id="before")).result(60)
    assert first.close(60)  # all of it is in the file, and none in the log
    capture = Capture(str(file), timeout_s=30)
    assert capture.submit(rows(3, request_id="sound")).result(60)
    yield capture
    capture.close(60)


def damage(file, first, pages):
    with file.open("r+b") as sick:
        sick.seek(first * PAGE)
        sick.write(os.urandom(pages * PAGE))


def test_a_sound_file_is_never_told_of(capture, caplog):
    assert not eventually(lambda: not capture.stats().reachable, within_s=20 * SOON_S)
    assert not caplog.text


@pytest.mark.parametrize(("first", "pages"), [(0, 1), (1, 10), (20, 1), (60, 5)])
def test_damaged_pages_are_noticed_and_nothing_more_is_acknowledged(capture, file, first, pages, caplog):
    assert file.stat().st_size > (first + pages) * PAGE
    damage(file, first, pages)
    assert eventually(lambda: not capture.stats().reachable)
    assert capture.stats().fault in {"it is damaged", "it is not a SQLite database"}
    with pytest.raises(UnavailableError, match="the answer could not be stored: it is"):
        capture.submit(rows(1, request_id="after")).result(60)
    assert caplog.text.count("the store is not sound, and nothing more is written into it") == 1
    assert "put a copy in its place" in caplog.text or "move the file away" in caplog.text


@pytest.mark.parametrize("size", [0, PAGE, 10 * PAGE])
def test_a_file_that_was_cut_is_noticed(capture, file, size):
    os.truncate(file, size)
    assert eventually(lambda: not capture.stats().reachable)
    with pytest.raises(UnavailableError):
        capture.submit(rows(1, request_id="after")).result(60)


def test_no_answer_is_acknowledged_once_the_file_was_emptied(file, monkeypatch):
    monkeypatch.setattr(inspection, "EVERY_S", 3600.0)
    capture = Capture(str(file), timeout_s=1)
    try:
        assert capture.submit(rows(3)).result(60)
        os.truncate(file, 0)
        with pytest.raises(UnavailableError, match="could not be stored"):
            capture.submit(rows(3, request_id="after")).result(60)
    finally:
        capture.close(10)


def test_a_file_that_is_whole_again_is_written_again(capture, file, caplog):
    before = file.read_bytes()
    damage(file, 5, 3)
    assert eventually(lambda: not capture.stats().reachable)
    with file.open("r+b") as mended:
        mended.write(before)
    assert eventually(lambda: capture.stats().reachable)
    assert capture.submit(rows(1, request_id="after")).result(60)
    assert "the store is sound again" in caplog.text


def test_looking_ends_with_the_capture(capture):
    assert capture.close(60)
    capture._inspector._thread.join(10)
    assert not capture._inspector._thread.is_alive()


def test_a_look_comes_within_a_minute_however_large_the_file(tmp_path):
    assert LONGEST_S + 1.5 < 60
    server = Inspector(parse("postgresql+psycopg://localhost/spam"))
    assert not server._thread.is_alive()
    server.close()
