"""No name, no version and no address leads out of the folder that the program works in, whatever door it comes by."""

import json
import os
import subprocess
import sys

import pytest

from tests import tiny_packages
from tests.conftest import OUR_VARIABLES
from tests.each import each
from tests.hostile_paths import OUTSIDE, SECRET, hostile_paths
from tests.security import doors


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder that holds an empty workspace and, beside it, what nothing may touch."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "workspace" / "tmp").mkdir(parents=True)
    (folder / OUTSIDE / "spam").mkdir(parents=True)
    (folder / OUTSIDE / SECRET).write_text("SECRET")
    (folder / f"{OUTSIDE}.json").write_text("SECRET")
    for name in ("1-abc", "spam/1-abc"):
        tiny_packages.write(folder / OUTSIDE / name)
    return folder


def state(place):
    """Return every file beside the workspace, byte for byte."""
    found = [path for path in place.rglob("*") if not path.is_relative_to(place / "workspace")]
    return {path: path.read_bytes() if path.is_file() else None for path in found}


@pytest.fixture(scope="module")
def told(place, root):
    """Try every door in a process that works in the workspace, and return what came of it."""
    before, workspace = state(place), place / "workspace"
    ours = {name: value for name, value in os.environ.items() if not name.startswith(OUR_VARIABLES)}
    folders = {"HOME": str(workspace / "home"), "TMPDIR": str(workspace / "tmp"), "PYTHONPATH": str(root)}
    quiet = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(
        [sys.executable, "-B", "-m", "tests.security.doors", str(place / OUTSIDE)],
        cwd=workspace,
        env=ours | folders | quiet,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert state(place) == before
    return json.loads(done.stdout.splitlines()[-1])


def test_there_are_enough_of_them_and_no_two_are_alike(tmp_path):
    paths = hostile_paths(tmp_path)
    assert len(set(paths)) == len(paths) >= 60


@pytest.mark.long
@each("door", doors.DOORS)
def test_nothing_outside_is_touched_and_every_refusal_is_one_of_ours(told, door):
    outcomes = dict(told[door])
    assert outcomes.pop("touched") == []
    assert outcomes.keys() <= {"refused", "passed"}
    assert sum(map(len, outcomes.values())) >= 60


@pytest.mark.long
def test_what_has_no_guard_is_seen_to_touch(told, place):
    touched = " ".join(told["nothing"]["touched"])
    for file in (place / OUTSIDE / SECRET, "/etc/passwd", "/proc/self/environ"):
        assert f"open {file} by" in touched
