"""A version is found by alias or number, copied once, verified, and remembered for when the registry is down."""

import json
import shutil
from pathlib import Path

import pytest

from spamctl.errors import ArtefactError, UnavailableError, UsageError
from spamctl.model import tracking, versions
from spamctl.model.succession import NAME
from tests.mlflow_loaded import load_mlflow
from tests.ports import closed_port
from tests.registered import URI, package, register
from tests.store.test_injection import ATTACKS

# Names that end the quotes of a filter and go on, to all versions of the model spam
OPEN_FILTERS = ["spam' AND name = 'spam", "spam' AND name LIKE '%", "spam' AND version_number > '0"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Return a folder whose store holds three versions: a champion, one without a name, a challenger."""
    load_mlflow()
    folder = tmp_path_factory.mktemp("versions")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for threshold, alias in ((0.5, "champion"), (0.6, ""), (0.7, "challenger")):
            register(threshold, *filter(None, [alias]))
    return folder


@pytest.fixture
def here(store, monkeypatch):
    """Stand in the folder of the store, and forget what was fetched before."""
    monkeypatch.chdir(store)
    shutil.rmtree("cache", ignore_errors=True)
    return Path("cache")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wanted", "version", "alias"),
    [("champion", "1", "champion"), ("challenger", "3", "challenger"), ("latest", "3", ""), ("2", "2", "")],
)
def test_a_version_is_found_and_copied_byte_for_byte(here, wanted, version, alias):
    found = versions.fetch("spam", wanted, here)
    assert (found.name, found.version, found.alias, found.remembered) == ("spam", version, alias, False)
    threshold = {"1": 0.5, "2": 0.6, "3": 0.7}[version]
    expected = package(threshold)
    assert {path.name: path.read_bytes() for path in Path(found.folder).iterdir()} == expected


@pytest.mark.slow
def test_a_copy_that_is_sound_is_kept_and_a_damaged_one_is_made_anew(here):
    folder = Path(versions.fetch("spam", "1", here).folder)
    before = (folder / "model.bin").stat().st_ino
    assert versions.fetch("spam", "1", here).folder == str(folder)
    assert (folder / "model.bin").stat().st_ino == before
    (folder / "model.bin").write_bytes(b"damage")
    versions.fetch("spam", "1", here)
    assert (folder / "model.bin").read_bytes() != b"damage"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "wanted", "words"),
    [
        ("ham", "champion", "--model-name ham: no model of this name is registered here; type spamctl train first"),
        ("spam", "9", "--model-version 9: spam has no version 9; there are the versions 1, 2, 3"),
        ("spam", "latest-but-one", "--model-version latest-but-one: spam has no version latest-but-one"),
    ],
)
def test_what_is_not_there_is_refused_with_what_there_is(here, name, wanted, words):
    with pytest.raises(UsageError, match=words):
        versions.fetch(name, wanted, here)


@pytest.mark.slow
@pytest.mark.parametrize("wanted", ["champion", "latest", "1"])
def test_an_attack_in_the_place_of_a_name_finds_no_version(here, wanted):
    (mlflow_db,) = Path().glob("*.db")
    before = mlflow_db.read_bytes()
    for attack in (*ATTACKS, *(f"spam{attack}" for attack in ATTACKS), *OPEN_FILTERS):
        words = "no model of this name is registered here"
        if not NAME.fullmatch(attack):
            words = "cannot name a folder: give letters, digits and . _ -"
        with pytest.raises(UsageError, match=words):
            versions.fetch(attack, wanted, here)
    assert versions.meant(OPEN_FILTERS[0], [wanted]) == [""]
    assert mlflow_db.read_bytes() == before
    assert not here.exists()


@pytest.mark.slow
def test_what_is_meant_is_told_without_a_copy(here):
    assert versions.meant("spam", ["champion", "challenger", "latest", "2", "9"]) == ["1", "3", "3", "2", ""]
    assert versions.meant("ham", ["champion"]) == [""]
    assert not here.exists()


@pytest.mark.slow
def test_a_registry_that_has_not_changed_is_not_asked_again(here, monkeypatch):
    found = versions.fetch("spam", "champion", here)
    with monkeypatch.context() as patch:
        patch.setattr(versions, "open_tracking", None)
        assert versions.fetch("spam", "champion", here) == found
        with pytest.raises(TypeError):
            versions.fetch("spam", "challenger", here)
    with tracking.open_tracking(URI) as client:
        client.set_registered_model_alias("spam", "champion", "2")
        try:
            assert versions.fetch("spam", "champion", here).version == "2"
        finally:
            client.set_registered_model_alias("spam", "champion", "1")
    assert versions.fetch("spam", "champion", here) == found


@pytest.mark.slow
def test_an_alias_that_nothing_has_is_refused(here):
    with tracking.open_tracking(URI) as client:
        client.delete_registered_model_alias("spam", "challenger")
        try:
            with pytest.raises(UsageError, match="spam has no challenger; there are the versions 1, 2, 3"):
                versions.fetch("spam", "challenger", here)
        finally:
            client.set_registered_model_alias("spam", "challenger", "3")


@pytest.mark.slow
def test_a_registry_that_is_down_is_stood_in_for_by_what_it_said_last(here, monkeypatch):
    address = f"http://127.0.0.1:{closed_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(UnavailableError, match="no version of spam was fetched here before"):
        versions.fetch("spam", "champion", here)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    found = versions.fetch("spam", "champion", here)
    remembered = here / "spam" / versions.REMEMBERED
    told = json.loads(remembered.read_text())
    remembered.write_text(json.dumps({f"champion at {address}": told[f"champion at {tracking.absolute(URI)}"]}))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    again = versions.fetch("spam", "champion", here)
    assert again.remembered
    assert (again.version, again.folder) == (found.version, found.folder)
    Path(found.folder, "model.bin").write_bytes(b"damage")
    with pytest.raises(ArtefactError, match=r"model\.bin"):
        versions.fetch("spam", "champion", here)


@pytest.mark.slow
def test_a_password_is_not_written_down(here, monkeypatch):
    versions.fetch("spam", "champion", here)
    monkeypatch.setattr(versions, "tracking_uri", lambda: "http://me:secret@127.0.0.1:9")
    with pytest.raises(UnavailableError) as refused:
        versions.fetch("spam", "champion", here)
    assert "secret" not in str(refused.value)
    assert not [path for path in here.rglob("*") if path.is_file() and b"secret" in path.read_bytes()]
