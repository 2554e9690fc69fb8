"""The follower writes down what is meant when it changes, and leaves a registry that did not alone."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spamctl.engine.manifest import digest
from spamctl.registry import registry_file, tracking
from spamctl.serving import registry_watcher
from spamctl.serving.registry_watcher import BEAT, LATE_S, Follower, FollowRequest, Pulse, following, read_releases
from tests.faults.processes import AT_LENGTH
from tests.mlflow_loaded import load_mlflow
from tests.registered import URI, point, register

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Return a folder whose store holds two versions; the first one leads."""
    load_mlflow()
    folder = tmp_path_factory.mktemp("follow")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        register(0.5, "champion")
        register(0.6, "challenger")
    return folder


@pytest.fixture
def here(store, tmp_path, monkeypatch):
    """Stand in a copy of the folder."""
    shutil.copytree(store, tmp_path, dirs_exist_ok=True)
    registry_file.adopt(tmp_path / "mlflow.db")  # whoever opens a copied registry first changes it
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return Path("releases.json")


def wish(shadow="none"):
    return FollowRequest("spam", "champion", shadow, "cache", 1.0)


def versions(releases):
    """Return what is written down to be served, and beside it."""
    found = read_releases(releases)
    served, shadow = found.served, found.shadow
    return served.version, shadow and shadow.version


@pytest.mark.parametrize(("shadow", "beside"), [("none", None), ("challenger", "2"), ("1", None)])
def test_what_is_meant_is_written_once_and_again_when_it_changes(here, shadow, beside):
    follower = Follower(wish(shadow), here)
    follower.look()
    assert versions(here) == ("1", beside)
    here.unlink()
    follower.look()
    assert not here.exists()
    point("champion", "2")
    follower.look()
    assert versions(here)[0] == "2"


def test_a_registry_that_changed_in_something_else_makes_it_ask_and_no_more(here, monkeypatch):
    follower = Follower(wish(), here)
    follower.look()
    point("challenger", "1")
    follower.look()  # asked for the first time: until now nobody knew what was meant
    here.unlink()
    point("challenger", "2")
    monkeypatch.setattr(registry_watcher, "find_releases", lambda _: pytest.fail("nothing to fetch"))
    follower.look()
    assert not here.exists()


QUIET = """
import json, sys
from pathlib import Path
from spamctl.serving.registry_watcher import Follower, FollowRequest
follower = Follower(FollowRequest(**json.loads(sys.argv[1])), Path("releases.json"))
for _ in range(3):
    follower.look()
print(sorted({"mlflow", "sqlalchemy", "pandas", "torch"} & set(sys.modules)))
"""


def test_while_the_registry_stays_the_same_mlflow_is_not_imported(here):
    registry_watcher.find_releases(wish("challenger"))  # as the server does before it starts
    words = json.dumps(
        {"name": "spam", "version": "champion", "shadow": "challenger", "cache": "cache", "seconds": 1.0}
    )
    done = subprocess.run([sys.executable, "-c", QUIET, words], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert versions(here) == ("1", "2")


@pytest.mark.parametrize("shadow", ["none", "challenger"])
def test_a_number_that_is_given_to_another_package_is_followed(here, shadow):
    follower = Follower(wish(shadow), here)
    follower.look()
    point("challenger", "1")
    follower.look()  # from now on it knows what is meant
    before = read_releases(here).served
    with tracking.open_tracking(URI) as client:
        client.delete_registered_model("spam")
    with pytest.raises(registry_watcher.UsageError, match="no model of this name"):
        follower.look()
    assert register(0.7, "champion") == "1"
    follower.look()
    after = read_releases(here).served
    assert (before.version, after.version) == ("1", "1")
    assert after.digest == digest(Path(after.folder)) != before.digest
    assert after.sealed


def until(true, within_s=120.0):
    """Wait until something is true, and return after how many seconds."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < within_s
        time.sleep(0.05)
    return time.monotonic() - began


@contextlib.contextmanager
def busy(processes):
    """Keep the machine busy with so many processes that do nothing but count."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


@pytest.mark.long
def test_the_first_move_is_followed_in_bounded_time_on_a_busy_machine(here):
    registry_watcher.find_releases(wish())  # as the server does before it starts
    told = []
    with busy(5 * len(os.sched_getaffinity(0))), following(wish(), os.environ, told.append) as releases:
        until(lambda: read_releases(releases) is not None)
        assert versions(releases) == ("1", None)
        point("champion", "2")
        took = until(lambda: versions(releases) == ("2", None))
    assert took <= LATE_S or not AT_LENGTH
    assert told == []


def test_a_follower_that_dies_is_replaced_and_follows(here):
    told = []
    with following(wish(), os.environ, told.append) as releases:
        until(lambda: read_releases(releases) is not None)
        (child,) = children()
        os.kill(child, signal.SIGKILL)
        until(lambda: told)
        assert told == ["the follower of the registry ended (exit code -9); another one takes its place"]
        point("champion", "2")
        until(lambda: versions(releases) == ("2", None))
    assert children() == []


def children():
    """Name the followers that this process runs."""
    listed = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    every = [number for part in listed for number in part.read_text().split()]
    return [
        int(number)
        for number in every
        if b"spamctl.serving.registry_watcher" in Path(f"/proc/{number}/cmdline").read_bytes()
    ]


def test_a_follower_that_does_not_stir_is_told_of_once_and_so_is_its_return(tmp_path, monkeypatch):
    pulse, words = Pulse(tmp_path / "releases.json"), []
    monkeypatch.setattr(registry_watcher, "LATE_S", 0.2)

    def told_within(seconds):
        words.clear()
        until_then = time.monotonic() + seconds
        while time.monotonic() < until_then:
            words.extend(filter(None, [pulse.told()]))
            time.sleep(0.01)
        return list(words)

    assert told_within(0.6) == [
        "nobody has followed the registry for 0.2 s: this machine is busy, a move is served late"
    ]
    (tmp_path / BEAT).touch()
    assert told_within(0.1) == ["the registry is followed again"]
