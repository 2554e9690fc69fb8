"""A registered model answers messages, keeps what it answered, and refuses what is no message, row by row."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml

from spamctl.engine import manifest
from spamctl.engine.engine import GOLDEN
from spamctl.errors import ArtefactError, DataError, OptionsError, UnavailableError
from spamctl.registry import seals
from spamctl.store import queries
from spamctl.store.database import open_store
from tests import tiny_models, tiny_packages
from tests.mlflow_loaded import load_mlflow
from tests.ports import closed_port
from tests.registered import URI, register

UNKEPT = {"data_capture": False}
OFFER, QUESTION = [message.text for message in tiny_models.messages(2)]


@pytest.fixture(scope="module")
def pyfunc():
    """Return the module, once MLflow is loaded; let go of the stores that it opened."""
    load_mlflow()
    from spamctl.serving import mlflow_model, pyfunc

    yield pyfunc
    mlflow_model.captures_of_process.close()


def load(pyfunc, folder):
    model = pyfunc.SpamModel()
    model.load_context(SimpleNamespace(artifacts={"package": str(folder)}))
    return model


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """Return the folder of a package."""
    return tiny_packages.write(tmp_path_factory.mktemp("pyfunc") / "package", "", *GOLDEN)


@pytest.fixture
def model(pyfunc, package):
    """Return a model that was loaded in the working folder."""
    return load(pyfunc, package)


def frame(*texts):
    return pd.DataFrame({"text": pd.Series(texts, dtype=object)})


def kept():
    """Return what the working folder's store holds, the newest first."""
    with open_store("spam.db") as store:
        return queries.newest(store, 1000)


def test_each_row_gets_an_answer_of_its_own(model):
    offer, question = model.predict(None, frame(OFFER, QUESTION))
    assert offer.keys() == {
        "classification", "probability", "uuid", "model_version", "captured", "truncated", "in_reach",
    }  # fmt: skip
    assert (offer["classification"], question["classification"]) == ("spam", "not spam")
    assert offer["probability"] == pytest.approx(tiny_packages.probability(OFFER), abs=1e-6)
    assert offer["uuid"] != question["uuid"]
    assert offer["model_version"] == "unregistered"
    assert offer["captured"] is True


def test_what_is_answered_is_kept_beside_its_answer(model):
    answers = {answer["uuid"]: answer for answer in model.predict(None, frame(OFFER, QUESTION), {"data_capture": True})}
    rows = kept()
    assert {row.uuid for row in rows} == answers.keys()
    assert {row.text for row in rows} == {OFFER, QUESTION}
    for row in rows:
        assert (row.classification, row.probability) == (
            answers[row.uuid]["classification"],
            answers[row.uuid]["probability"],
        )
        assert (row.source, row.model_name, row.model_version) == ("mlflow", "unregistered", "unregistered")
        assert row.threshold == model.engine.threshold
        assert 0 < row.latency_ms < 60_000
        assert row.ground_truth is None
    assert len({row.request_id for row in rows}) == 1


def test_the_same_message_asked_for_twice_is_kept_twice(model):
    (first,), (second,) = (model.predict(None, frame(OFFER)) for _ in range(2))
    assert {row.uuid for row in kept()} == {first["uuid"], second["uuid"]}


@pytest.mark.parametrize("wanted", [False, np.False_])
def test_an_answer_that_is_not_to_be_kept_makes_no_store(model, tmp_path, wanted):
    (answer,) = model.predict(None, frame(OFFER), {"data_capture": wanted})
    assert answer["captured"] is False
    assert list(tmp_path.iterdir()) == []


def test_no_rows_are_no_answers_and_make_no_store(model, tmp_path):
    assert model.predict(None, pd.DataFrame({"text": []})) == []
    assert list(tmp_path.iterdir()) == []


def test_threads_that_ask_at_the_same_time_all_find_their_answers_kept(model):
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda number: model.predict(None, frame(f"{OFFER} {number}"))[0], range(60)))
    assert all(answer["captured"] for answer in answers)
    assert {row.uuid for row in kept()} == {answer["uuid"] for answer in answers}


def test_a_message_out_of_reach_is_delivered_unless_the_variable_says_judge(pyfunc, monkeypatch, tmp_path):
    folder = tiny_packages.write(tmp_path / "package", "", *GOLDEN, reach=0.5, threshold=0.01)
    foreign = frame("bihar arratsaldean elkartuko gara plazan")
    for way, verdict in (("", "not spam"), ("deliver", "not spam"), ("judge", "spam")):
        if way:
            monkeypatch.setenv("SPAMCTL_SERVE_OUT_OF_REACH", way)
        (answer,) = load(pyfunc, folder).predict(None, foreign)
        assert (answer["in_reach"], answer["classification"]) == (False, verdict)
        assert kept()[0].in_reach is False
    monkeypatch.setenv("SPAMCTL_SERVE_OUT_OF_REACH", "drop")
    with pytest.raises(OptionsError, match="SPAMCTL_SERVE_OUT_OF_REACH: must be deliver or judge, got 'drop'"):
        load(pyfunc, folder)


def test_the_store_is_the_one_that_the_variable_names(pyfunc, package, monkeypatch, tmp_path):
    monkeypatch.setenv("SPAMCTL_SERVE_DATASTORE_URI", "elsewhere.db")
    (answer,) = load(pyfunc, package).predict(None, frame(OFFER))
    assert not (tmp_path / "spam.db").exists()
    with open_store("elsewhere.db") as store:
        assert queries.find(store, [answer["uuid"]])


def test_the_store_stays_in_the_folder_where_the_model_was_loaded(model, monkeypatch, tmp_path):
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    model.predict(None, frame(OFFER))
    assert (tmp_path / "spam.db").exists()
    assert list((tmp_path / "other").iterdir()) == []


def test_capture_can_be_switched_off_for_all(pyfunc, package, monkeypatch, tmp_path):
    monkeypatch.setenv("SPAMCTL_SERVE_CAPTURE", "off")
    (answer,) = load(pyfunc, package).predict(None, frame(OFFER), {"data_capture": True})
    assert answer["captured"] is False
    assert list(tmp_path.iterdir()) == []


def test_a_setting_that_is_wrong_is_refused_at_load(pyfunc, package, monkeypatch):
    monkeypatch.setenv("SPAMCTL_SERVE_CAPTURE", "requried")
    with pytest.raises(OptionsError, match="SPAMCTL_SERVE_CAPTURE: must be required, best-effort or off"):
        load(pyfunc, package)


def test_without_its_store_a_model_refuses_to_answer_and_says_what_to_do(model, tmp_path):
    (tmp_path / "spam.db").write_text("I am no database, and nobody may write over me.\n" * 99)
    with pytest.raises(UnavailableError) as refused:
        model.predict(None, frame("my secret"))
    assert str(refused.value).startswith("the answer could not be stored: ")
    for word in (
        "spam.db",
        "SPAMCTL_SERVE_DATASTORE_URI",
        "SPAMCTL_SERVE_CAPTURE=best-effort",
        "'data_capture': False",
    ):
        assert word in str(refused.value)
    assert "secret" not in str(refused.value)
    assert model.predict(None, frame(OFFER), UNKEPT)[0]["captured"] is False


def test_a_client_of_the_server_reads_neither_path_nor_cure(model, tmp_path):
    (tmp_path / "spam.db").mkdir()
    with pytest.raises(UnavailableError) as refused:
        model.predict(None, frame(OFFER))
    assert refused.value.get_http_status_code() == 503
    assert refused.value.message == "the answer could not be stored; try again"


def test_without_its_store_a_model_answers_under_best_effort_and_says_that_nothing_was_kept(
    pyfunc, package, monkeypatch, tmp_path
):
    monkeypatch.setenv("SPAMCTL_SERVE_CAPTURE", "best-effort")
    model = load(pyfunc, package)
    (tmp_path / "spam.db").write_text("I am no database, and nobody may write over me.\n" * 99)
    (answer,) = model.predict(None, frame(OFFER))
    assert (answer["classification"], answer["captured"]) == ("spam", False)


def test_a_store_that_fails_while_answers_come_is_not_hidden(model):
    model.predict(None, frame(OFFER))
    with closing(sqlite3.connect("spam.db")) as other:
        other.execute("ALTER TABLE data RENAME TO gone")
    with pytest.raises(UnavailableError, match="the answer could not be stored"):
        model.predict(None, frame(OFFER))


def test_other_columns_are_left_alone(model):
    assert len(model.predict(None, pd.DataFrame({"text": [OFFER], "id": [7]}), UNKEPT)) == 1


def test_a_text_of_numpy_is_text_and_kept_as_such(model):
    (answer,) = model.predict(None, pd.DataFrame({"text": [np.str_(OFFER)]}))
    assert answer["classification"] == "spam"
    assert [row.text for row in kept()] == [OFFER]


@pytest.mark.parametrize(
    ("value", "kind"),
    [(None, "NoneType"), (float("nan"), "float"), (1, "int"), ({"k": 1}, "dict"), (["a"], "list"), (b"a", "bytes")],
)
def test_a_row_that_holds_no_text_is_named_and_nothing_is_kept(model, value, kind, tmp_path):
    with pytest.raises(DataError, match=f"row 2: column 'text' holds {kind}, not text") as refused:
        model.predict(None, frame("ok", "fine", value))
    assert refused.value.get_http_status_code() == 400
    assert not list(tmp_path.iterdir())


def test_a_refusal_shows_no_message(model):
    with pytest.raises(DataError) as refused:
        model.predict(None, frame("my secret", ["my other secret"]))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("data", [pd.DataFrame({"message": ["ok"]}), {"message": ["ok"]}, ["ok"], "ok", None])
def test_an_input_without_a_column_of_texts_is_refused(pyfunc, data):
    with pytest.raises(DataError, match="no column 'text'"):
        pyfunc.texts_of(data)


@pytest.mark.parametrize("text", ["", " ", "\x00", "\ud800", "a\u0301" * 9, "win " * 100_000, "<unknown>"])
def test_any_text_gets_an_answer_and_is_kept_as_it_was(model, text):
    (answer,) = model.predict(None, frame(text))
    assert 0 <= answer["probability"] <= 1
    assert [row.text for row in kept()] == [text]


def test_a_golden_message_with_another_verdict_is_refused_at_load(pyfunc, tmp_path):
    told = tiny_packages.manifest(OFFER, threshold=0.5)
    altered = replace(told, golden=(replace(told.golden[0], probability=0.499),))
    folder = tmp_path / "package"
    folder.mkdir()
    manifest.write(manifest.seal(tiny_packages.parts(), altered), folder)
    with pytest.raises(ArtefactError, match="another verdict"):
        load(pyfunc, folder)


@pytest.mark.parametrize("name", ["model.bin", "tokenizer.json", "manifest.json"])
def test_a_damaged_package_is_refused_at_load(pyfunc, tmp_path, name):
    path = tiny_packages.write(tmp_path / "package", "", *GOLDEN) / name
    path.write_bytes(path.read_bytes()[1:])
    with pytest.raises(ArtefactError, match=name):
        load(pyfunc, path.parent)


@pytest.fixture
def downloaded(pyfunc, monkeypatch):
    """Return the package folder of a registered model as MLflow downloads it, mark and all."""
    import mlflow

    version = register(0.5, name="sealed")
    mlflow.set_tracking_uri(URI)
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/sealed/{version}", dst_path="downloaded"))
    (folder / "registered_model_meta").write_text(f"model_name: sealed\nmodel_version: {version}\n")
    yield folder / "artifacts" / "package"
    mlflow.set_tracking_uri(None)


def seal_anew(folder, *, note=False):
    """Move a package's threshold and seal it anew; `note` also writes that into the MLmodel file beside it."""
    files = {name: content for name, content in manifest.read(folder).items() if name != manifest.MANIFEST}
    changed = manifest.seal(files, replace(manifest.verify(folder), threshold=0.99))
    manifest.write(changed, folder)
    if note:
        model = folder.parents[1] / "MLmodel"
        told = yaml.safe_load(model.read_text())
        told["metadata"][seals.TAG] = manifest.digest_of(changed)
        model.write_text(yaml.safe_dump(told))


def test_a_registered_model_is_held_to_the_registrys_digest_and_keeps_it_with_its_rows(pyfunc, downloaded):
    model = load(pyfunc, downloaded)
    model.predict(None, frame(OFFER))
    assert [(row.model_name, row.package_sha256) for row in kept()] == [("sealed", manifest.digest(downloaded))]
    seal_anew(downloaded)
    with pytest.raises(ArtefactError, match="is not the one that was registered"):
        load(pyfunc, downloaded)
    seal_anew(downloaded, note=True)
    with pytest.raises(ArtefactError, match="names another package than the registry does"):
        load(pyfunc, downloaded)


@pytest.mark.parametrize("there", ["sqlite:///nowhere.db", "down"])
def test_without_a_registry_the_model_file_beside_the_package_tells_its_digest(pyfunc, downloaded, there, caplog):
    import mlflow

    before = set(Path().iterdir())
    mlflow.set_registry_uri(f"http://127.0.0.1:{closed_port()}" if there == "down" else there)
    try:
        assert load(pyfunc, downloaded).predict(None, frame(OFFER), UNKEPT)
        assert "registry" in caplog.text
        seal_anew(downloaded)
        with pytest.raises(ArtefactError, match="is not the one that was registered"):
            load(pyfunc, downloaded)
        assert set(Path().iterdir()) == before
    finally:
        mlflow.set_registry_uri(None)


def test_a_worker_of_spark_keeps_one_engine_and_stores_nothing_unless_a_store_is_named(
    pyfunc, package, monkeypatch, tmp_path
):
    monkeypatch.setenv("SPARK_PYTHON_RUNTIME", "PYTHON_WORKER")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr(pyfunc, "_engines", {})
    first, second = (load(pyfunc, package) for _ in range(2))
    assert second.engine is first.engine
    assert first.engine.most_streams == 2
    assert first.predict(None, frame(OFFER), {"data_capture": True})[0]["captured"] is False
    assert not list(tmp_path.iterdir())
    other = load(pyfunc, tiny_packages.write(tmp_path / "other", "", *GOLDEN, threshold=0.4))
    assert other.engine is not first.engine
    assert list(pyfunc._engines.values()) == [other.engine]
    monkeypatch.setenv("SPAMCTL_SERVE_DATASTORE_URI", "spam.db")
    assert load(pyfunc, package).predict(None, frame(OFFER))[0]["captured"] is True


def test_the_driver_of_spark_is_a_process_as_any_other(pyfunc, package, monkeypatch, tmp_path):
    monkeypatch.setenv("SPARK_BUFFER_SIZE", "65536")  # as a SparkContext does
    assert load(pyfunc, package).predict(None, frame(OFFER))[0]["captured"] is True
    assert (tmp_path / "spam.db").is_file()


def test_a_package_that_has_changed_is_refused_also_where_its_engine_is_kept(pyfunc, monkeypatch, tmp_path):
    monkeypatch.setenv("SPARK_PYTHON_RUNTIME", "PYTHON_WORKER")
    folder = tiny_packages.write(tmp_path / "package", "", *GOLDEN)
    load(pyfunc, folder)
    (folder / "tokenizer.json").write_bytes(b"{}")
    with pytest.raises(ArtefactError):
        load(pyfunc, folder)
