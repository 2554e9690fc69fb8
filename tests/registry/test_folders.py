"""A folder that was lent is gone in the end; what a killed owner left goes with the next one, and no other."""

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from spamctl import folders

HOLD = """
import sys
from spamctl import folders
with folders.temporary_folder(sys.argv[1]) as place:
    (place / "message.txt").write_text("canary")
    print(place, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Give these tests a folder of their own for what is passing."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    yield tmp_path
    tempfile.tempdir = None


@pytest.fixture
def holding():
    """Start processes that hold a folder each until they are ended."""
    started = []

    def hold(kind="follow"):
        child = subprocess.Popen(
            [sys.executable, "-c", HOLD, kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(child)
        return child, Path(child.stdout.readline().strip())

    yield hold
    for child in started:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()


def test_a_folder_is_empty_ours_alone_and_gone_in_the_end(own_folder):
    with folders.temporary_folder("follow") as place:
        assert list(place.iterdir()) == []
        assert place.parent.name.startswith("spamctl-follow-")
        assert place.parent.stat().st_mode & 0o77 == 0
        (place / "file").touch()
    assert list(own_folder.iterdir()) == []


@pytest.mark.slow
def test_what_a_killed_owner_left_is_swept_away_by_the_next_one_of_any_kind(holding, own_folder):
    child, place = holding("follow")
    other, held = holding("metrics")
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert (place / "message.txt").exists()
    with folders.temporary_folder("export") as mine:
        assert not place.parent.exists()
        assert (held / "message.txt").exists()
        assert mine.exists()
    other.stdin.close()
    assert other.wait(60) == 0
    assert list(own_folder.iterdir()) == []


def test_what_says_nothing_of_an_owner_stays(own_folder):
    begun = own_folder / "spamctl-follow-begun"  # whoever makes it has not come to hold it yet
    begun.mkdir()
    (begun / f"{folders.OWNER}.draft").touch()
    elsewhere = own_folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / folders.OWNER).touch()
    (own_folder / "spamctl-link").symlink_to(elsewhere)
    folders.remove_abandoned()
    assert begun.exists()
    assert (elsewhere / folders.OWNER).exists()
