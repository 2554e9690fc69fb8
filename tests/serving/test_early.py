"""What a server needs is loaded ahead of it, handed over once, and never left behind."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from spamctl.errors import ArtefactError
from spamctl.serving.startup import Preloader
from spamctl.serving.state import Release, Settings
from tests import tiny_packages


@pytest.fixture
def settings(tmp_path):
    package = tiny_packages.write(tmp_path / "package", "", "win cash now")
    return Settings(release=Release("spam", "1", "", str(package)), threads=1, cached_rows=0)


def scorers():
    return [thread for thread in threading.enumerate() if thread.name == "scorer"]


def test_what_was_begun_is_handed_over_once(settings):
    with Preloader() as early:
        early.begin(settings)
        first, second = early.take(settings), early.take(settings)
    assert first is not second
    for loaded in (first, second):
        assert len(loaded.deployments.current.submit(["win cash now"]).result(30)) == 1
        loaded.deployments.close()


def test_what_nobody_took_is_closed(settings):
    before = scorers()
    with Preloader() as early:
        early.begin(settings)
    assert scorers() == before


def test_a_damaged_release_is_refused_when_it_is_taken_and_only_then(settings):
    Path(settings.release.folder, "model.bin").write_bytes(b"damage")
    with Preloader() as early:
        early.begin(settings)
        with pytest.raises(ArtefactError, match=r"model\.bin"):
            early.take(settings)
    with Preloader() as early:
        early.begin(settings)


def test_workers_load_in_their_own_processes(settings):
    before = scorers()
    with Preloader() as early:
        early.begin(replace(settings, workers=2))
    assert scorers() == before
