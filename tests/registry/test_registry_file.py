"""A registry whose folder was moved or copied means the artefacts beside it, and a copy never touches the original."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from spamctl.errors import ArtefactError, UsageError
from spamctl.registry import registration, registry_file, tracking, versions
from tests.mlflow_loaded import load_mlflow
from tests.registered import RECORD, URI, package, register


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a folder in which a champion was registered."""
    load_mlflow()
    folder = tmp_path_factory.mktemp("trained") / "original"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        register(0.5, "champion")
    return folder


@pytest.fixture
def original(trained, tmp_path):
    """Return a folder with the registry as if it had been trained there."""
    folder = tmp_path / "original"
    shutil.copytree(trained, folder)
    registry_file.adopt(folder / "mlflow.db")
    return folder


def files(folder):
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


def places(folder):
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        return [
            told
            for read, _ in registry_file.PLACES.values()
            for _, told, _ in database.execute(read, {"experiment": "spam"})
        ]


def train():
    """Log a run and a model, as a training does."""
    with tracking.open_tracking(URI) as client:
        run_id = registration.log_run(client, "spam", URI, RECORD)
        return registration.log_model(run_id, package(0.6))


def test_a_folder_that_stays_is_left_alone(original):
    before = (original / "mlflow.db").read_bytes()
    assert registry_file.adopt(original / "mlflow.db", "spam") == ""
    assert (original / "mlflow.db").read_bytes() == before


@pytest.mark.parametrize("name", ["moved", "what is spam? #1"])
def test_a_moved_folder_serves_what_lies_in_it(original, tmp_path, monkeypatch, name):
    moved = original.rename(tmp_path / name)
    monkeypatch.chdir(moved)
    assert str(original) in registry_file.adopt(moved / "mlflow.db")
    assert versions.fetch("spam", "champion", Path("cache")).version == "1"
    assert not any(str(original) in place for place in places(moved))
    assert registry_file.adopt(moved / "mlflow.db") == ""


def test_a_copy_never_writes_into_the_original(original, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(original, copy)
    before = files(original)
    monkeypatch.chdir(copy)
    train()
    assert files(original) == before
    assert not any(str(original) in place for place in places(copy))


def test_a_copy_of_the_file_alone_reads_from_the_original_and_writes_beside_itself(original, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(original / "mlflow.db", copy)
    before = files(original)
    monkeypatch.chdir(copy)
    assert versions.fetch("spam", "champion", Path("cache")).version == "1"
    train()
    assert files(original) == before
    assert len(list((copy / "mlruns" / "spam").iterdir())) == 2  # the run, and models


def test_a_folder_reached_by_a_link_has_not_moved(original, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(original)
    monkeypatch.chdir(tmp_path / "link")
    assert registry_file.adopt(tmp_path / "link" / "mlflow.db", "spam") == ""


def test_files_that_are_nowhere_are_named_with_what_to_do(original, tmp_path, monkeypatch):
    moved = original.rename(tmp_path / "moved")
    shutil.rmtree(moved / "mlruns")
    monkeypatch.chdir(moved)
    with pytest.raises(ArtefactError, match="seems to have been moved") as refused:
        versions.fetch("spam", "champion", Path("cache"))
    assert str(original / "mlruns") in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "wanted", "told"),
    [
        ("spam", "challenger", "spam has no challenger; there are the versions 1"),
        ("spam", "7", "spam has no version 7"),
        ("ham", "champion", "no model of this name is registered here"),
    ],
)
def test_a_version_that_is_not_there_is_refused_without_mlflow(original, name, wanted, told):
    with pytest.raises(UsageError, match=told):
        registry_file.require_version(original / "mlflow.db", name, wanted)
    for there in ("champion", "latest", "1"):
        registry_file.require_version(original / "mlflow.db", "spam", there)


def test_no_registry_is_made_by_looking_for_one(tmp_path):
    with pytest.raises(UsageError, match="type spamctl train first"):
        registry_file.require_version(tmp_path / "mlflow.db", "spam", "champion")
    assert registry_file.adopt(tmp_path / "mlflow.db") == ""
    assert list(tmp_path.iterdir()) == []
