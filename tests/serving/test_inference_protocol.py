"""Clients of the Open Inference Protocol, KServe's own among them, get the verdicts of /invocations as tensors."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from spamctl.serving.access import Access
from spamctl.serving.inference_protocol import OUTPUTS
from spamctl.serving.state import Limits
from spamctl.store import queries
from tests import tiny_models
from tests.each import each
from tests.served import served

TEXTS = [message.text for message in tiny_models.messages(4)]
TOKEN = "a-token-of-this-test"
PATIENCE_S = 60  # others may use this machine, too
KSERVE = os.environ.get("SPAMCTL_TESTS_KSERVE", "")
CLIENT = Path(__file__).with_name("kserve_client.py")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served(tmp_path_factory.mktemp("inference"), limits=Limits(rows=10)) as running:
        yield running


def tensor(*texts, **changes):
    return {"name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": list(texts)} | changes


def infer(server, body, path="/v2/models/spam/infer", **headers):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json"} | headers
    return httpx.post(f"{server.address}{path}", content=content, headers=headers, timeout=PATIENCE_S)


def outputs(answer):
    assert answer.status_code == 200, answer.text
    return {output["name"]: output["data"] for output in answer.json()["outputs"]}


def test_health_and_metadata_are_as_the_protocol_has_them(server):
    asked = {
        path: httpx.get(f"{server.address}/v2{path}", timeout=PATIENCE_S).json()
        for path in ("", "/health/live", "/health/ready")
    }
    assert asked[""]["name"] == "spamctl"
    assert asked["/health/live"] == {"live": True}
    assert asked["/health/ready"] == {"ready": True}
    model = httpx.get(f"{server.address}/v2/models/spam", timeout=PATIENCE_S).json()
    assert (model["name"], model["versions"]) == ("spam", ["1"])
    assert model["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    assert {output["name"]: output["datatype"] for output in model["outputs"]} == OUTPUTS
    assert httpx.get(f"{server.address}/v2/models/spam/ready", timeout=PATIENCE_S).json() == {
        "name": "spam",
        "ready": True,
    }


def test_verdicts_are_those_of_invocations_and_are_stored(server):
    plain = httpx.post(f"{server.address}/invocations", json={"inputs": TEXTS}, timeout=PATIENCE_S).json()[
        "predictions"
    ]
    answer = infer(server, {"id": "mine", "inputs": [tensor(*TEXTS)]})
    found, told = outputs(answer), answer.json()
    assert (told["id"], told["model_name"], told["model_version"]) == ("mine", "spam", "1")
    assert [output["shape"] for output in told["outputs"]] == [[4]] * len(OUTPUTS)
    assert {output["name"]: output["datatype"] for output in told["outputs"]} == OUTPUTS
    for name in ("classification", "probability", "model_version", "captured", "truncated", "in_reach"):
        assert found[name] == [prediction[name] for prediction in plain]
    rows = queries.find(server.service.archive.store, found["uuid"])
    assert [rows[uuid].text for uuid in found["uuid"]] == TEXTS
    assert {row.source for row in rows.values()} == {"inference"}


def test_a_column_outputs_and_parameters_may_be_chosen(server):
    column = tensor(shape=[2, 1], data=[[TEXTS[0]], [TEXTS[1]]], parameters={"content_type": "str"})
    wanted = [{"name": "probability", "parameters": {"binary_data": False}}, {"name": "captured"}]
    body = {"inputs": [column], "outputs": wanted, "parameters": {"data_capture": False}, "model_name": "spam"}
    answer = infer(server, body)
    assert outputs(answer).keys() == {"probability", "captured"}
    assert outputs(answer)["captured"] == [False, False]
    assert answer.json()["id"] == answer.headers["x-request-id"]


def test_a_retry_is_known_by_its_request_id(server):
    first, again = (outputs(infer(server, {"inputs": [tensor("once")]}, **{"x-request-id": "r1"})) for _ in range(2))
    assert first == again
    assert len(queries.find(server.service.archive.store, first["uuid"])) == 1


def test_no_text_gets_no_verdict(server):
    assert set(map(len, outputs(infer(server, {"inputs": [tensor()]})).values())) == {0}


def test_half_a_character_in_an_id_is_given_back(server):
    answer = infer(
        server, b'{"id": "\\ud83d", "inputs": [{"name": "text", "shape": [0], "datatype": "BYTES", "data": []}]}'
    )
    assert (answer.status_code, answer.json()["id"]) == (200, "\ud83d")


WRONG = {
    "nothing": ({}, 400, "inputs holds null"),
    "no list": ({"inputs": {}}, 400, "inputs holds an object"),
    "two tensors": ({"inputs": [tensor("a"), tensor("b")]}, 400, "inputs holds 2 tensors"),
    "another name": ({"inputs": [tensor("a", name="input-0")]}, 400, "inputs[0].name is 'input-0', where 'text'"),
    "numbers": ({"inputs": [tensor("a", datatype="FP32")]}, 400, "inputs[0].datatype is 'FP32', where 'BYTES'"),
    "a number": ({"inputs": [tensor(data=[1], shape=[1])]}, 400, "row 0: holds a number, not text"),
    "too few": ({"inputs": [tensor("a", shape=[2])]}, 400, "has 1 texts, where its shape says 2"),
    "wide": ({"inputs": [tensor("a", "b", shape=[1, 2])]}, 400, "shape is not [N] or [N, 1]"),
    "negative": ({"inputs": [tensor(shape=[-1])]}, 400, "shape is not [N] or [N, 1]"),
    "no data": ({"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES"}]}, 400, "data holds null"),
    "many": ({"inputs": [tensor(*"abcdefghijk")]}, 413, "more than 10 rows"),
    "unknown key": ({"inputs": [tensor("a")], "input": []}, 400, "there is no key 'input': did you mean inputs?"),
    "unknown parameter": (
        {"inputs": [tensor("a")], "parameters": {"top_k": 1}},
        400,
        "parameter in parameters 'top_k'",
    ),
    "a wrong parameter": (
        {"inputs": [tensor("a")], "parameters": {"data_capture": 0}},
        400,
        "data_capture holds a number",
    ),
    "binary input": ({"inputs": [tensor("a", parameters={"binary_data_size": 5})]}, 415, "binary_data=False"),
    "binary output": ({"inputs": [tensor("a")], "parameters": {"binary_data_output": True}}, 415, "binary_data=False"),
    "unknown output": (
        {"inputs": [tensor("a")], "outputs": [{"name": "score"}]},
        400,
        "outputs[0].name is 'score': use",
    ),
    "an id": ({"inputs": [tensor("a")], "id": 5}, 400, "id holds a number"),
    "another model": ({"inputs": [tensor("a")], "model_name": "ham"}, 400, "model_name is not 'spam'"),
}


@each(("body", "status", "words"), WRONG.values())
def test_what_is_wrong_is_told_as_the_protocol_tells_errors(server, body, status, words):
    answer = infer(server, body)
    told = answer.json()
    assert answer.status_code == status, told
    assert words in told["error"]
    assert told["error"] == told["message"]
    assert told["request_id"] == answer.headers["x-request-id"]


def test_a_binary_body_and_another_model_are_refused(server):
    assert infer(server, b"{}", **{"inference-header-content-length": "2"}).status_code == 415
    told = infer(server, {"inputs": [tensor("a")]}, "/v2/models/ham/infer")
    assert (told.status_code, told.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert [
        httpx.get(f"{server.address}/v2/models/ham{path}", timeout=PATIENCE_S).status_code for path in ("", "/ready")
    ] == [404, 404]


def test_a_server_that_stops_is_live_and_not_ready(server):
    server.service.stopping = True
    try:
        answers = {
            path: httpx.get(f"{server.address}/v2{path}", timeout=PATIENCE_S)
            for path in ("/health/live", "/health/ready")
        }
        model = httpx.get(f"{server.address}/v2/models/spam/ready", timeout=PATIENCE_S)
    finally:
        server.service.stopping = False
    assert answers["/health/live"].json() == {"live": True}
    assert (answers["/health/ready"].status_code, answers["/health/ready"].json()) == (503, {"ready": False})
    assert (model.status_code, model.json()) == (503, {"name": "spam", "ready": False})


def test_the_token_and_the_metrics_are_those_of_the_server(tmp_path):
    with served(tmp_path, access=Access(TOKEN)) as running:
        assert infer(running, {"inputs": [tensor("a")]}).status_code == 401
        bearer = {"authorization": f"Bearer {TOKEN}"}
        assert infer(running, {"inputs": [tensor("a")]}, **bearer).status_code == 200
        page = httpx.get(f"{running.address}/metrics", headers=bearer, timeout=PATIENCE_S).text
    for status in (200, 401):
        route = "/v2/models/{name}/infer" if status == 200 else "other"
        assert f'spamctl_requests_total{{route="{route}",status="{status}"}} 1.0' in page


@pytest.mark.scale
def test_kserves_own_client_is_understood(tmp_path):
    python = KSERVE or sys.executable
    here = subprocess.run([python, "-c", "import kserve"], capture_output=True, check=False).returncode == 0
    if not here:
        pytest.skip("no kserve here: install it into an environment of its own, SPAMCTL_TESTS_KSERVE names its python")
    with served(tmp_path, access=Access(TOKEN)) as running:
        done = subprocess.run(
            [python, CLIENT, running.address, TOKEN, json.dumps(TEXTS)],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout.splitlines()[-1])
        plain = httpx.post(
            f"{running.address}/invocations",
            json={"inputs": TEXTS},
            headers={"authorization": f"Bearer {TOKEN}"},
            timeout=PATIENCE_S,
        ).json()["predictions"]
    assert (told["live"], told["ready"], told["model"], told["unknown"]) == (True, True, True, False)
    assert (told["name"], told["model_version"]) == ("spam", ["1"] * len(TEXTS))
    assert told["classification"] == [prediction["classification"] for prediction in plain]
    assert told["probability"] == pytest.approx([prediction["probability"] for prediction in plain])
    assert "binary_data=False" in told["refused"]
