"""Workers hear each other, and none waits for one that is gone, hangs, or cannot listen."""

import asyncio
import os
import socket
import time

from spamctl.serving import activity


def heard(folder, *, beside=None):
    """Return what a worker hears in a folder in which one more listens if `beside` says anything."""

    async def run():
        async with activity.answering_siblings(folder, lambda: "own"):
            own = folder / f"{os.getpid()}{activity.SUFFIX}"
            if beside is None:
                return await activity.ask_siblings(folder)
            own.rename(folder / f"other{activity.SUFFIX}")
            return await activity.ask_siblings(folder)

    return asyncio.run(run())


def test_nobody_hears_himself(tmp_path):
    assert heard(tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_a_worker_hears_another(tmp_path):
    assert heard(tmp_path, beside="it") == ["own"]


def test_one_who_was_killed_is_forgotten(tmp_path):
    path = tmp_path / f"1{activity.SUFFIX}"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
    assert heard(tmp_path) == []
    assert not path.exists()


def test_one_who_hangs_is_left_out(tmp_path):
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(tmp_path / f"1{activity.SUFFIX}"))
        hanging.listen()
        began = time.monotonic()
        assert heard(tmp_path) == []
        assert activity.PATIENCE_S <= time.monotonic() - began < activity.PATIENCE_S + 5


def test_a_path_too_long_for_a_socket_costs_no_more_than_the_others_words(tmp_path, caplog):
    folder = tmp_path / ("deep" * 30)
    folder.mkdir()
    assert heard(folder) == []
    assert "GET /recent tells of one worker only" in caplog.text
