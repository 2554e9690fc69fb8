"""A version is found by alias or number, copied once, verified, and remembered for when the registry is down."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from spamctl.engine import manifest as artefact
from spamctl.engine.manifest import PACKAGE, Golden
from spamctl.errors import ArtefactError, UnavailableError, UsageError
from spamctl.registry import registration, seals, tracking, versions
from spamctl.registry.registry_file import NAME
from tests.mlflow_loaded import load_mlflow
from tests.ports import closed_port
from tests.registered import RECORD, URI, package, register
from tests.security.test_injection import ATTACKS

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
def test_of_a_version_only_the_package_is_downloaded(here, monkeypatch, tmp_path):
    """What MLflow keeps beside it for its own servers, our code too, is most of the files, and replicas wait for it."""
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

    kept, downloaded = tmp_path / "kept", []
    kept.mkdir()
    usual = ArtifactRepository._create_download_destination
    monkeypatch.setattr(
        ArtifactRepository,
        "_create_download_destination",
        lambda repository, **where: downloaded.append(where["src_artifact_path"]) or usual(repository, **where),
    )
    monkeypatch.setenv("TMPDIR", str(kept))
    monkeypatch.setattr("tempfile.tempdir", None)
    found = versions.fetch("spam", "2", here)
    assert sorted(downloaded) == sorted(f"{PACKAGE}/{path.name}" for path in Path(found.folder).iterdir())
    assert not [*kept.iterdir(), *here.glob(f"*/{versions._DRAFT}*")]  # nothing is left in passing


@pytest.mark.slow
def test_a_version_without_a_package_of_ours_is_refused(workshop):
    run_id, place, folder = logged(workshop, 0.4)
    shutil.rmtree(folder)
    version = registration.register(workshop, "bare", place, run_id, {})
    with pytest.raises(ArtefactError, match=r"^bare version 1 is no model of spamctl; choose another$"):
        versions.fetch("bare", version, Path("cache"))


@pytest.mark.slow
def test_a_version_that_another_machine_found_is_fetched_here(here):
    found = replace(versions.fetch("spam", "2", here), folder="elsewhere/2")
    assert versions.at_hand(found, here).folder == versions.fetch("spam", "2", here).folder
    assert versions.at_hand(replace(found, folder=str(here)), here).folder == str(here)
    with pytest.raises(ArtefactError, match=r"^spam version 2: its number is another package's now; run the command"):
        versions.at_hand(replace(found, digest="ab" * 32), here)


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
    told = versions.meant("spam", ["champion", "challenger", "latest", "2", "9"])
    assert [one.partition("-")[0] for one in told] == ["1", "3", "3", "2", ""]
    assert told[1] == told[2]
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


@pytest.fixture
def workshop(store, tmp_path, monkeypatch):
    """Stand in a copy of the folder, whose registry and packages may be spoilt; give the client of it."""
    shutil.copytree(store, tmp_path / "copy", ignore=shutil.ignore_patterns("cache"))
    monkeypatch.chdir(tmp_path / "copy")
    with tracking.open_tracking(URI) as client:
        yield client


def logged(client, threshold):
    """Log one more package and return its run and its folder in the artifact store."""
    run_id = registration.log_run(client, "beside", URI, RECORD)
    place = registration.log_model(run_id, package(threshold))
    import mlflow

    return run_id, place, Path(mlflow.artifacts.download_artifacts(place), "artifacts", PACKAGE)


def seal_anew(folder, **changes):
    """Change how a package says that it is to be used, as who can write to it may do without leaving a trace in it."""
    manifest = replace(artefact.verify(folder), **changes)
    files = {name: content for name, content in artefact.read(folder).items() if name != artefact.MANIFEST}
    artefact.write(artefact.seal(files, manifest), folder)


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"threshold": 0.9999}, {"golden": (Golden("", 0.5),)}, {"max_tokens": 63}], ids=str)
def test_a_package_that_was_changed_and_sealed_anew_is_refused_by_the_registry(workshop, change):
    run_id, place, folder = logged(workshop, 0.4)
    version = registration.register(workshop, "spoilt", place, run_id, {})
    found = versions.fetch("spoilt", version, Path("cache"))
    assert (found.sealed, found.digest) == (True, artefact.digest(folder))
    seal_anew(folder, **change)
    versions.fetch("spoilt", version, Path("cache"))  # the copy here is the registered one still
    with pytest.raises(ArtefactError, match=rf"spoilt version {version}: .* is not the one that was registered"):
        versions.fetch("spoilt", version, Path("elsewhere"))
    seal_anew(Path(found.folder), **change)
    with pytest.raises(ArtefactError, match="is not the one that was registered"):
        versions.fetch("spoilt", version, Path("cache"))


@pytest.mark.slow
def test_a_version_without_a_tag_is_held_to_its_runs_and_one_without_either_is_loaded_and_said_so(workshop):
    run_id, place, folder = logged(workshop, 0.4)
    workshop.create_registered_model("untagged")
    of_run = workshop.create_model_version("untagged", place, run_id).version
    bare = folder.parents[1].absolute().as_uri()  # else MLflow finds the run by itself
    of_none = workshop.create_model_version("untagged", bare).version
    other = workshop.create_model_version("untagged", place, run_id, tags={seals.TAG: "0" * 64}).version
    odd = workshop.create_model_version(
        "untagged", folder.parents[1].absolute().as_uri(), tags={seals.TAG: "none"}
    ).version
    assert versions.fetch("untagged", str(of_run), Path("cache")).sealed
    assert not versions.fetch("untagged", str(of_none), Path("cache")).sealed
    assert not versions.fetch("untagged", str(of_none), Path("cache")).sealed  # as it is remembered
    for version, words in ((other, "is not the one that was registered"), (odd, "is no sha256")):
        with pytest.raises(ArtefactError, match=words):
            versions.fetch("untagged", str(version), Path("cache"))
    seal_anew(folder, threshold=0.9)
    with pytest.raises(ArtefactError, match="is not the one that was registered"):
        versions.fetch("untagged", str(of_run), Path("elsewhere"))


@pytest.mark.slow
def test_a_number_that_is_given_again_means_another_package(workshop):
    def register_anew(threshold):
        run_id, place, folder = logged(workshop, threshold)
        assert registration.register(workshop, "again", place, run_id, {}) == "1"
        workshop.set_registered_model_alias("again", "champion", "1")
        return artefact.digest(folder)

    digests, told, meant = [], [], []
    for threshold in (0.4, 0.6):
        digests.append(register_anew(threshold))
        told.append(versions.fetch("again", "champion", Path("cache")))
        meant.append(versions.meant("again", ["champion"]))
        workshop.delete_registered_model("again")
    assert [one.version for one in told] == ["1", "1"]
    assert [one.digest for one in told] == digests
    assert told[0].folder != told[1].folder
    assert meant[0] != meant[1]


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
