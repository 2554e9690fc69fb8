"""What a version was measured on is fetched once, checked, and there when the registry is not."""

import json
import shutil
import time
from pathlib import Path

import pytest

from spamctl.errors import UnavailableError, UsageError
from spamctl.registry import versions
from tests.mlflow_loaded import load_mlflow
from tests.ports import closed_port
from tests.registered import register, scored_part

pytestmark = pytest.mark.slow

PART = scored_part(40)
ONE = PART[:1]
ODD = {
    "2": None,
    "3": [],
    "4": [row for row in PART if row["label"] == "spam"],
    "5": [*PART, ONE[0] | {"probability": 1.5}],
    "6": [{"text": "no more than that"}],
    "7": {"rows": PART},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Return a folder whose store holds a champion with a test part, and versions with none or an odd one."""
    load_mlflow()
    folder = tmp_path_factory.mktemp("reference")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        register(0.5, "champion", part=PART)
        for part in ODD.values():
            register(0.5, part=part)
        register(0.5, part=[row | {"part": "recent" if n % 4 == 0 else "test"} for n, row in enumerate(PART)])
    return folder


@pytest.fixture
def here(store, monkeypatch):
    """Stand in the folder of the store, and forget what was fetched before."""
    monkeypatch.chdir(store)
    shutil.rmtree("cache", ignore_errors=True)
    return Path("cache")


def test_it_is_what_the_training_recorded_and_is_copied_beside_the_package(here, monkeypatch):
    found = versions.fetch("spam", "champion", here)
    told = versions.fetch_reference(found)
    assert [(row.text, row.label, row.probability) for row in told.rows] == [tuple(row.values()) for row in PART]
    assert (told.spam, told.parts) == (20, {"test": 40})
    copy = versions.beside(found, "test_part.json")
    assert json.loads(copy.read_bytes()) == PART
    assert versions.fetch("spam", "champion", here).folder == found.folder
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed_port()}")
    assert versions.fetch_reference(found) == told
    copy.write_bytes(b"damage")
    with pytest.raises(UnavailableError, match="the tracking server does not answer"):
        versions.fetch_reference(found)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert versions.fetch_reference(found) == told


def test_without_a_registry_and_a_copy_it_is_refused_within_a_moment(here):
    found = versions.fetch("spam", "champion", here)
    told = versions.Found(found.name, found.version, found.alias, found.folder, remembered=True)
    began = time.monotonic()
    with pytest.raises(UnavailableError, match="the test part of spam version 1 was not fetched here before"):
        versions.fetch_reference(told)
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("2", "--model-version 2: the training of spam version 2 left no evaluation/test_part.json to compare with"),
        ("3", "the test part of spam version 3: file: .*at least 1 item"),
        ("4", "the test part of spam version 4: holds nothing but spam; train on messages of both classes"),
        ("5", r"the test part of spam version 5: 40\.probability: .*less than or equal to 1; train again"),
        ("6", r"the test part of spam version 6: 0\.label: Field required"),
        ("7", "the test part of spam version 7: file: .*valid (tuple|array)"),
    ],
)
def test_a_version_without_a_reference_is_refused_in_one_line(here, version, words):
    found = versions.fetch("spam", version, here)
    with pytest.raises(UsageError, match=words) as refusal:
        versions.fetch_reference(found)
    assert str(refusal.value).isprintable()
    assert PART[0]["text"] not in str(refusal.value)
    assert not versions.beside(found, "test_part.json").exists()


def test_rows_may_say_which_test_part_they_are_from(here):
    told = versions.fetch_reference(versions.fetch("spam", "8", here))
    assert told.parts == {"recent": 10, "test": 30}
