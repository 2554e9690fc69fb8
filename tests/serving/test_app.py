"""The real application answers every bad request with its exact status, and any text with a verdict."""

import json

import pytest
from starlette.testclient import TestClient

from spamctl.serving.access import Access
from spamctl.serving.app import create_app
from spamctl.serving.state import MIB
from spamctl.store import queries
from tests.each import each
from tests.serving import bad_bodies
from tests.serving.spellings import EVERY, JSON, ODD, ODD_CASES, SPELLINGS, spell
from tests.serving.tiny_service import open_service

BAD = bad_bodies.MALFORMED | {name: (JSON, body.encode(), 400) for name, (body, _) in bad_bodies.WRONG.items()}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with open_service(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture(scope="module")
def client(service):
    return TestClient(create_app(service, Access()), base_url="http://localhost")


def post(client, kind, body):
    return client.post("/invocations", content=body, headers={} if kind is None else {"content-type": kind})


@each(("kind", "body", "status"), BAD.values())
def test_a_bad_request_is_told_its_exact_status(client, kind, body, status):
    answer = post(client, kind, body)
    assert answer.status_code == status
    assert answer.json().keys() == {"error_code", "message", "request_id"}
    assert len(answer.content) <= 1024
    assert "secret" not in answer.text


def refused(client, body):
    """Return the words of a refusal of wrong values."""
    answer = post(client, JSON, body.encode())
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    return answer.json()["message"]


@each(("body", "words"), bad_bodies.WRONG.values())
def test_what_is_wrong_with_rows_is_told_by_row_and_column(client, body, words):
    assert refused(client, body).startswith(words)


@each(("value", "named"), bad_bodies.VALUES.values())
@each("name", SPELLINGS)
def test_a_value_that_is_no_text_is_told_by_row_and_column_and_no_row_is_kept(client, service, name, value, named):
    before = queries.count(service.archive.store)
    body = json.dumps(SPELLINGS[name](["a", "b", "IT"])).replace('"IT"', value)
    assert refused(client, body).startswith(f"row 2: column 'text' holds {named}, not text")
    assert queries.count(service.archive.store) == before


@each(
    ("body", "words"),
    [
        (b"x" * (9 * MIB), "the body is longer than 8 MiB: send fewer rows in each request"),
        (b'{"inputs": ["' + b"x" * (10 * MIB) + b'"]}', "the body is longer than 8 MiB"),
        (spell("inputs, records", ["a"] * 100_000)[1], "the body has more than 8100 values"),
        (spell("inputs, bare", ["a"] * 1001)[1], "the body has more than 1000 rows: send fewer in each request"),
    ],
)
def test_a_request_that_is_too_large_is_refused(client, body, words):
    answer = post(client, JSON, body)
    assert (answer.status_code, answer.json()["error_code"]) == (413, "REQUEST_TOO_LARGE")
    assert answer.json()["message"].startswith(words)


@each("name", EVERY)
def test_no_rows_are_no_predictions(client, name):
    answer = post(client, *spell(name, []))
    assert (answer.status_code, answer.json()) == (200, {"predictions": []})


@each(("name", "odd"), ODD_CASES)
def test_odd_text_gets_a_verdict_and_is_kept_as_it_was_sent(client, service, name, odd):
    answer = post(client, *spell(name, [ODD[odd]]))
    assert answer.status_code == 200
    (prediction,) = answer.json()["predictions"]
    assert prediction["captured"] is True
    row = queries.find(service.archive.store, [prediction["uuid"]])[prediction["uuid"]]
    assert (row.text, row.classification) == (ODD[odd], prediction["classification"])
