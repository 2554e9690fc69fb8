"""A training is told to MLflow whole, its package is registered as it was measured, and the better version leads."""

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from spamctl.engine import manifest
from spamctl.engine.engine import GOLDEN
from spamctl.engine.manifest import PACKAGE
from spamctl.engine.runtime import ONNX
from spamctl.registry import promotion, registration, seals, tracking
from spamctl.registry.registration import Record
from spamctl.registry.registry_file import CHALLENGER, CHAMPION
from tests import tiny_models, tiny_packages
from tests.made_once import lay_store
from tests.mlflow_loaded import load_mlflow

ROOT = Path(__file__).parents[2]
URI = "sqlite:///mlflow.db"
PICKLES = {".pkl", ".pickle", ".joblib", ".pt", ".pth", ".pyc"}
FILES = tiny_packages.files("", *GOLDEN, about={"base_model": "tiny"})
RECORD = Record(
    params={"epochs": 3, "used_engine": "int8"},
    metrics={"test_accuracy": 0.98, "test_mcc": float("nan")},
    curves={"train_loss": [(1, 0.5), (2, 0.25)], "validation_loss": [(2, 0.375)]},
    tags={"mlflow.source.git.commit": "c0ffee", "metaflow.run_id": "1764", "fallback_for": ""},
    files={"plots/loss.png": b"\x89PNG", "evaluation/score.json": b"{}"},
    dataset=("own file", 'say "hi"\\n.csv (9 rows)', "ab" * 32),
)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Return a folder that holds one store for all these tests."""
    load_mlflow()
    folder = tmp_path_factory.mktemp("registry")
    lay_store(folder)
    return folder


@pytest.fixture
def client(store, monkeypatch):
    """Stand in the folder of the store and hold its client; a uv project lies there too, as in any clone."""
    monkeypatch.chdir(store)
    for name in ("uv.lock", "pyproject.toml"):
        Path(name).write_text("torch")
    with tracking.open_tracking(URI) as client:
        yield client


@pytest.fixture
def run_id(client):
    """Return a run that has been told."""
    return registration.log_run(client, "spam", URI, RECORD)


@pytest.fixture
def name(request):
    """Return a model name of this test's own."""
    return re.sub(r"\W", "-", request.node.name)


@pytest.fixture
def version_of(client, run_id, name):
    """Register a package as the next version of this test's model."""
    return lambda files=FILES: registration.register(
        client, name, registration.log_model(run_id, files), run_id, {"gate": "passed"}
    )


def folder_of(uri):
    import mlflow

    return Path(mlflow.artifacts.download_artifacts(uri))


def test_a_run_holds_what_was_done(client, run_id):
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"epochs": "3", "used_engine": "int8"}
    assert run.data.metrics["test_accuracy"] == 0.98
    assert run.data.tags["mlflow.source.git.commit"] == "c0ffee"
    assert run.data.tags["metaflow.run_id"] == "1764"
    assert "fallback_for" not in run.data.tags


def test_a_run_holds_its_curves_step_by_step(client, run_id):
    steps = [(point.step, point.value) for point in client.get_metric_history(run_id, "train_loss")]
    assert steps == [(1, 0.5), (2, 0.25)]


def test_a_run_holds_its_plots(client, run_id):
    assert [item.path for item in client.list_artifacts(run_id, "plots")] == ["plots/loss.png"]
    assert Path(client.download_artifacts(run_id, "plots/loss.png")).read_bytes() == b"\x89PNG"


def test_a_run_names_its_data_by_digest_whatever_the_file_is_called(client, run_id):
    (used,) = client.get_run(run_id).inputs.dataset_inputs
    assert used.dataset.digest == ("ab" * 32)[:36]
    assert json.loads(used.dataset.source) == {"origin": 'say "hi"\\n.csv (9 rows)'}


def test_a_run_of_many_steps_is_told_whole(client):
    curve = [(step, 1 / step) for step in range(1, 2501)]
    run_id = registration.log_run(
        client, "spam", URI, Record({}, {}, {"train_loss": curve}, dataset=("a", "b", "c" * 64))
    )
    assert len(client.get_metric_history(run_id, "train_loss")) == 2500


def test_a_logged_model_holds_the_package_byte_for_byte_and_no_pickle(run_id):
    folder = folder_of(registration.log_model(run_id, FILES))
    package = {path.name: path.read_bytes() for path in (folder / "artifacts" / PACKAGE).iterdir()}
    assert package == FILES
    assert not [path for path in folder.rglob("*") if path.suffix in PICKLES]
    assert (folder / "code" / "spamctl" / "engine" / "engine.py").is_file()


def test_a_logged_model_holds_the_code_that_serving_imports_and_no_other(run_id):
    code = folder_of(registration.log_model(run_id, FILES)) / "code" / "spamctl"
    found = {path.relative_to(code) for path in code.rglob("*") if path.is_file()}
    assert found == set(registration.served_modules())
    rooms = {path.parts[0] for path in found if len(path.parts) > 1}
    assert rooms == {"data", "engine", "registry", "schema", "serving", "store"}
    assert len(found) < 60


def test_a_logged_model_needs_no_torch(run_id):
    folder = folder_of(registration.log_model(run_id, FILES))
    needs = (folder / "requirements.txt").read_text().split()
    names = {need.partition("==")[0] for need in needs}
    assert names == {*registration.SERVING_NEEDS, "openvino"}
    assert all("==" in need for need in needs)
    assert not (folder / "uv.lock").exists()
    assert "torch" not in (folder / "conda.yaml").read_text()


def test_a_model_needs_the_runtime_that_its_graph_was_written_for():
    needed = [{need.partition("==")[0] for need in registration.requirements(files)} for files in (FILES, {ONNX: b""})]
    assert needed == [{*registration.SERVING_NEEDS, runtime} for runtime in ("openvino", "onnxruntime")]


def test_neither_logging_a_model_nor_sending_its_example_captures_anything(run_id, tmp_path, monkeypatch):
    monkeypatch.setenv("SPAMCTL_SERVE_DATASTORE_URI", str(tmp_path / "spam.db"))
    folder = folder_of(registration.log_model(run_id, FILES))
    assert not (tmp_path / "spam.db").exists()
    assert json.loads((folder / "serving_input_example.json").read_text())["params"] == {"data_capture": False}


def test_a_logged_model_names_no_place_of_this_machine(run_id, store):
    folder = folder_of(registration.log_model(run_id, FILES))
    for path in folder.rglob("*"):
        text = path.read_text(errors="replace") if path.is_file() else ""
        kept = [line for line in text.splitlines() if "artifact_path:" not in line]  # MLflow's own address of the model
        assert not [line for line in kept if str(ROOT) in line or str(store) in line or str(Path.home()) in line], path


def test_a_logged_model_says_what_it_was_made_of(run_id):
    import mlflow

    told = mlflow.models.get_model_info(registration.log_model(run_id, FILES))
    assert told.metadata == {"base_model": "tiny", seals.TAG: manifest.digest_of(FILES)}
    assert told.signature.inputs.to_dict() == [{"type": "string", "name": "text", "required": True}]
    assert told.signature.params.to_dict()[0]["name"] == "data_capture"
    assert {column["name"]: column["type"] for column in told.signature.outputs.to_dict()} == registration.ANSWER


@pytest.fixture(scope="module")
def loaded(store):
    """Load version 1 of a model as a server does; let go of the store that it opened."""
    import mlflow

    from spamctl.serving.mlflow_model import captures_of_process

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(store)
        with tracking.open_tracking(URI) as client:
            run_id = registration.log_run(client, "spam", URI, RECORD)
            registration.register(client, "spam", registration.log_model(run_id, FILES), run_id, {})
        yield mlflow.pyfunc.load_model("models:/spam/1")
    captures_of_process.close()


OFFER = tiny_models.messages(1)[0].text


@pytest.mark.parametrize(
    "request_",
    [pd.DataFrame({"text": [OFFER, "ok"]}), [{"text": OFFER}, {"text": "ok"}]],
    ids=["frame", "rows"],
)
@pytest.mark.parametrize("params", [None, {"data_capture": True}, {"data_capture": False}])
def test_a_registered_model_answers_the_seeds_request(loaded, request_, params):
    offer, plain = loaded.predict(request_, params)
    assert offer["classification"] == "spam"
    assert offer["probability"] == pytest.approx(tiny_packages.probability(OFFER), abs=1e-6)
    assert plain["classification"] == "not spam"
    assert offer["model_version"] == plain["model_version"] == "1"
    assert offer["captured"] is plain["captured"] is (params != {"data_capture": False})
    assert offer["uuid"] != plain["uuid"]


def test_the_answer_is_what_the_signature_says(loaded):
    schema = loaded.metadata.get_output_schema()
    answers = pd.DataFrame(loaded.predict([{"text": OFFER}, {"text": "ok"}], {"data_capture": False}))
    assert list(answers.columns) == schema.input_names()
    kinds = {"string": str, "double": float, "boolean": bool}
    for answer in answers.to_dict("records"):
        assert {name: type(value) for name, value in answer.items()} == {
            name: kinds[kind] for name, kind in registration.ANSWER.items()
        }


def test_a_message_may_come_alone(loaded):
    (answer,) = loaded.predict({"text": OFFER})
    assert answer["classification"] == "spam"


def test_a_request_without_text_is_refused(loaded):
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException, match="text"):
        loaded.predict(pd.DataFrame({"message": ["ok"]}))


def called(rows, wrong):
    """Return test rows on which a version gets `wrong` messages wrong."""
    verdicts = [message.is_spam ^ (index < wrong) for index, message in enumerate(rows)]
    return registration.TestRows([message.text for message in rows], [message.is_spam for message in rows], verdicts)


ROWS = tiny_models.messages(60, seed=9)


def promoted(client, name, version, test, budget):
    """Give a version that learnt from no labelled answer its alias; return that, and why."""
    found = promotion.promote(client, name, version, promotion.Evidence(test, None, 0.0, budget))
    assert found.version == version
    return found.alias, found.reason


def test_the_first_version_is_champion(client, version_of, name):
    assert promoted(client, name, version_of(), called(ROWS, 0), 0.05) == (
        CHAMPION,
        f"the first version of {name}",
    )
    assert str(client.get_model_version_by_alias(name, CHAMPION).version) == "1"


def test_an_equal_takes_over_and_a_worse_one_does_not(client, version_of, name):
    promoted(client, name, version_of(), called(ROWS, 0), 0.05)
    champion = registration.TestRows([m.text for m in ROWS], [m.is_spam for m in ROWS], champions_verdicts())
    alias, reason = promoted(client, name, version_of(), champion, 0.05)
    assert (alias, "as many" in reason) == (CHAMPION, True)
    alias, reason = promoted(client, name, version_of(), called(ROWS, 30), 0.05)
    assert (alias, "fewer" in reason) == (CHALLENGER, True)
    aliases = {str(v): k for k, v in client.get_registered_model(name).aliases.items()}
    assert aliases == {"2": CHAMPION, "3": CHALLENGER}


def champions_verdicts():
    return [tiny_packages.probability(message.text) >= 0.5 for message in ROWS]


def test_a_champion_that_learnt_from_answers_keeps_its_place_before_one_that_did_not(client, version_of, name):
    promoted(client, name, version_of(), called(ROWS, 0), 0.05)
    client.set_model_version_tag(name, "1", registration.FEEDBACK_TAG, "spam.db")
    alias, reason = promoted(client, name, version_of(), called(ROWS, 0), 0.05)
    assert (alias, "learnt from labelled answers and this one did not" in reason) == (CHALLENGER, True)
    assert str(client.get_model_version_by_alias(name, CHAMPION).version) == "1"


@pytest.mark.parametrize("damage", ["model.bin", "manifest.json"])
def test_a_champion_that_cannot_be_scored_keeps_its_place(client, version_of, name, damage):
    promoted(client, name, version_of(), called(ROWS, 0), 0.05)
    stored = folder_of(f"models:/{name}/1") / "artifacts" / PACKAGE / damage
    stored.write_bytes(stored.read_bytes()[:-1])
    alias, reason = promoted(client, name, version_of(), called(ROWS, 0), 0.05)
    assert alias == CHALLENGER
    assert "the champion, version 1, cannot be scored" in reason
    assert damage in reason
    assert str(client.get_model_version_by_alias(name, CHAMPION).version) == "1"


def test_a_champion_whose_threshold_was_moved_keeps_its_place(client, version_of, name):
    promoted(client, name, version_of(), called(ROWS, 0), 0.05)
    folder = folder_of(f"models:/{name}/1") / "artifacts" / PACKAGE
    files = {path: content for path, content in manifest.read(folder).items() if path != manifest.MANIFEST}
    manifest.write(manifest.seal(files, replace(manifest.verify(folder), threshold=0.99)), folder)
    alias, reason = promoted(client, name, version_of(), called(ROWS, 0), 0.05)
    assert (alias, "is not the one that was registered" in reason) == (CHALLENGER, True)


def test_a_champion_whose_files_are_gone_keeps_its_place(client, version_of, name):
    promoted(client, name, version_of(), called(ROWS, 0), 0.05)
    folder = folder_of(f"models:/{name}/1") / "artifacts" / PACKAGE
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    alias, reason = promoted(client, name, version_of(), called(ROWS, 0), 0.05)
    assert (alias, "version 1, cannot be scored" in reason) == (CHALLENGER, True)


def test_a_version_carries_its_tags_and_its_run(client, version_of, run_id, name):
    found = client.get_model_version(name, version_of())
    assert found.tags == {"gate": "passed", seals.TAG: manifest.digest_of(FILES)}
    assert client.get_run(run_id).data.tags[seals.TAG] == manifest.digest_of(FILES)
    assert found.run_id == run_id


def test_rows_called_spam_are_those_at_the_threshold_or_above():
    rows = registration.TestRows.of([["a", "spam"], ["b", "not spam"], ["c", "spam"]], [0.4, 0.5, 0.6], 0.5)
    assert rows == registration.TestRows(["a", "b", "c"], [True, False, True], [False, True, True])


def test_the_commit_is_that_of_the_checkout():
    head = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    assert registration.git_commit() == head.stdout.strip()
