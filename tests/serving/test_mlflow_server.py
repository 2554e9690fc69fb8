"""MLflow's own scoring server answers with the registered model, in every spelling of its protocol, and captures."""

import json
import os
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from spamctl.store import queries
from spamctl.store.database import open_store
from tests import tiny_models, tiny_packages
from tests.ports import closed_port

OFFER = tiny_models.messages(1)[0].text
JSON = "application/json"


AWARD = "You are a winner you have been specially selected to receive $1000 cash or a $2000 award."


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder that the server works in."""
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def server(registered, folder):
    """Start `mlflow models serve` with two processes and return its address."""
    with serving(registered, folder, "--env-manager", "local", "-w", "2") as address:
        yield address


@contextmanager
def serving(registered, folder, *words):
    """Run MLflow's server on version 1 of the model, and lend its address."""
    port, log = closed_port(), folder / "log"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # it looks for uvicorn there
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/spam/1", "-p", str(port), *words],
            env=os.environ | {"MLFLOW_TRACKING_URI": registered.uri, "PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true"},
            stdout=file,
            stderr=file,
            cwd=folder,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 400
        while not is_up(address):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)


def is_up(address):
    try:
        return urllib.request.urlopen(f"{address}/ping", timeout=5).status == 200
    except OSError:
        return False


def post(server, body, kind=JSON):
    request = urllib.request.Request(f"{server}/invocations", body.encode(), {"content-type": kind})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["predictions"]


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": [{"text": OFFER}]},
        {"inputs": [{"text": OFFER}], "params": {"data_capture": False}},
        {"inputs": {"text": [OFFER]}},
        {"instances": [{"text": OFFER}]},
        {"dataframe_records": [{"text": OFFER}]},
        {"dataframe_split": {"columns": ["text"], "data": [[OFFER]]}},
    ],
    ids="+".join,
)
def test_every_spelling_of_a_request_is_answered(server, body):
    (answer,) = post(server, json.dumps(body))
    assert answer["classification"] == "spam"
    assert answer["probability"] == pytest.approx(tiny_packages.probability(OFFER), abs=1e-6)
    assert answer["model_version"] == "1"
    assert answer["captured"] == body.get("params", {}).get("data_capture", True)


def test_a_table_is_answered_row_by_row(server):
    answers = post(server, f'text\n"{OFFER}"\nok\n', "text/csv")
    assert [answer["classification"] for answer in answers] == ["spam", "not spam"]


def test_no_rows_are_no_answers(server):
    assert post(server, '{"inputs": []}') == []


def test_a_row_that_holds_no_text_is_named_without_a_trace_of_our_code(server):
    body = json.dumps({"dataframe_split": {"columns": ["text"], "data": [["ok"], [None]]}})
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(server, body)
    told = json.load(refused.value)
    refused.value.close()
    assert refused.value.code == 400
    assert told["message"].endswith("row 1: column 'text' holds NoneType, not text")
    assert "stack_trace" not in told


@pytest.mark.parametrize("body", ['{"inputs": [{"message": "ok"}]}', '{"inputs": [{"text": ["ok"]}]}', "{", "{}"])
def test_a_request_that_is_none_is_status_400(server, body):
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(server, body)
    assert refused.value.code == 400
    refused.value.close()


def kept(folder, answers):
    """Return the rows of some answers, by their uuid."""
    with open_store(str(folder / "spam.db")) as store:
        return queries.find(store, [answer["uuid"] for answer in answers])


def test_every_answer_of_every_process_is_in_the_store_of_the_working_folder(server, folder):
    bodies = [json.dumps({"inputs": [{"text": f"{OFFER} {number}"}, {"text": "ok"}]}) for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        answers = [answer for pair in pool.map(lambda body: post(server, body), bodies) for answer in pair]
    rows = kept(folder, answers)
    assert all(answer["captured"] for answer in answers)
    assert len(rows) == len(answers) == 48
    for answer in answers:
        row = rows[answer["uuid"]]
        assert (row.classification, row.probability) == (answer["classification"], answer["probability"])
        assert (row.model_name, row.model_version, row.source) == ("spam", "1", "mlflow")
    assert len({row.request_id for row in rows.values()}) == 24


def test_an_answer_that_is_not_to_be_kept_is_not(server, folder):
    answers = post(server, json.dumps({"inputs": [{"text": OFFER}], "params": {"data_capture": False}}))
    assert answers[0]["captured"] is False
    assert kept(folder, answers) == {}


def test_while_the_store_is_locked_no_answer_leaves_without_its_row(server, folder):
    body = json.dumps({"inputs": [{"text": OFFER}]})
    post(server, body)
    with closing(sqlite3.connect(folder / "spam.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(urllib.error.HTTPError) as refused:
            post(server, body)
        other.execute("ROLLBACK")
    told = json.load(refused.value)
    refused.value.close()
    assert refused.value.code == 503
    assert told["error_code"] == "TEMPORARILY_UNAVAILABLE"
    assert told["message"].endswith("the answer could not be stored; try again")
    assert str(folder) not in json.dumps(told)
    assert post(server, body)[0]["captured"] is True


@pytest.mark.long
def test_the_plain_commands_work_word_for_word(registered, tmp_path):
    with serving(registered, tmp_path, "-h", "0.0.0.0", "--no-conda") as address:
        (answer,) = post(address, json.dumps({"inputs": [{"text": AWARD}]}))
    assert answer["classification"] in {"spam", "not spam"}
    with closing(sqlite3.connect(tmp_path / "spam.db")) as store:
        assert store.execute("SELECT COUNT(*) FROM data;").fetchall() == [(1,)]
