"""MLflow's own scoring server answers with the registered model, in every spelling of its protocol."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests import tiny_models, tiny_packages
from tests.ports import closed_port

OFFER = tiny_models.messages(1)[0].text
JSON = "application/json"


@pytest.fixture(scope="module")
def server(registered, tmp_path_factory):
    """Start `mlflow models serve` and return its address."""
    port, log = closed_port(), tmp_path_factory.mktemp("server") / "log"
    words = ["models", "serve", "-m", "models:/spam/1", "--env-manager", "local", "-p", str(port), "-w", "1"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # it looks for uvicorn there
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words],
            env=os.environ | {"MLFLOW_TRACKING_URI": registered.uri, "PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true"},
            stdout=file,
            stderr=file,
            cwd=registered.folder,
        )
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 400
    while not is_up(address):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)
    yield address
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


def test_a_table_is_answered_row_by_row(server):
    answers = post(server, f'text\n"{OFFER}"\nok\n', "text/csv")
    assert [answer["classification"] for answer in answers] == ["spam", "not spam"]


def test_no_rows_are_no_answers(server):
    assert post(server, '{"inputs": []}') == []


@pytest.mark.parametrize("body", ['{"inputs": [{"message": "ok"}]}', '{"inputs": [{"text": ["ok"]}]}', "{", "{}"])
def test_a_request_that_is_none_is_status_400(server, body):
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(server, body)
    assert refused.value.code == 400
    refused.value.close()
