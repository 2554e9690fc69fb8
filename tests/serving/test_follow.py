"""The follower writes down what is meant when it changes, and leaves a registry that did not alone."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spamctl.serving import follow
from spamctl.serving.follow import Follower, Wish, read_releases
from tests.mlflow_loaded import load_mlflow
from tests.registered import point, register

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
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return Path("releases.json")


def wish(shadow="none"):
    return Wish("spam", "champion", shadow, "cache", 1.0)


def versions(releases):
    """Return what is written down to be served, and beside it."""
    served, shadow = read_releases(releases)
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
    monkeypatch.setattr(follow, "find", lambda _: pytest.fail("nothing to fetch"))
    follower.look()
    assert not here.exists()


QUIET = """
import json, sys
from pathlib import Path
from spamctl.serving.follow import Follower, Wish
follower = Follower(Wish(**json.loads(sys.argv[1])), Path("releases.json"))
for _ in range(3):
    follower.look()
print(sorted({"mlflow", "sqlalchemy", "pandas", "torch"} & set(sys.modules)))
"""


def test_while_the_registry_stays_the_same_mlflow_is_not_imported(here):
    follow.find(wish("challenger"))  # as the server does before it starts
    words = json.dumps(
        {"name": "spam", "version": "champion", "shadow": "challenger", "cache": "cache", "seconds": 1.0}
    )
    done = subprocess.run([sys.executable, "-c", QUIET, words], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert versions(here) == ("1", "2")
