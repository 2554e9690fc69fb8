"""The document describes the live routes, and whatever it allows or forbids, the server answers as it says."""

import re

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import CHECKS
from schemathesis.specs.openapi.checks import positive_data_acceptance

from spamctl import __version__
from spamctl.serving.access import CODES, OPEN, Access
from spamctl.serving.app import create_app
from spamctl.serving.openapi import REASONS, document
from tests.each import each
from tests.examples import EXAMPLES
from tests.serving.tiny_service import listening, open_service

TOLD = document(__version__)
OPERATIONS = {(method.upper(), path): told for path, every in TOLD["paths"].items() for method, told in every.items()}


@schemathesis.serializer("text/csv")
def as_table(_context, value):
    """Send text as it is."""
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


@schemathesis.serializer("message/rfc822")
def as_mail(_context, value):
    """Send a mail as it is."""
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    with open_service(tmp_path_factory.mktemp("service")) as service:
        yield create_app(service, Access())


@pytest.fixture(scope="module")
def address(app):
    with listening(app) as port:
        yield f"http://127.0.0.1:{port}"


def test_every_live_route_is_described_but_the_files_of_the_page(app):
    live = {
        (method, route.path)
        for route in app._app.routes
        for method in route.methods - {"HEAD"}
        if not route.path.startswith("/web/")
    }
    assert live == OPERATIONS.keys()


@each("operation", OPERATIONS)
def test_every_operation_tells_the_errors_that_any_route_may_give(operation):
    told = OPERATIONS[operation]["responses"]
    assert {"200", "400", "401", "403", "500"} <= told.keys()
    assert {int(status) for status in told} <= {200, 304, *REASONS}


def test_every_status_has_a_reason():
    assert REASONS.keys() == CODES.keys()


def test_each_operation_has_a_name_of_its_own_and_words():
    assert len({told["operationId"] for told in OPERATIONS.values()}) == len(OPERATIONS)
    assert all(told["summary"] and told["description"].endswith(".") for told in OPERATIONS.values())


def test_every_reference_leads_somewhere():
    named = set(re.findall(r"#/components/schemas/(\w+)", str(TOLD)))
    assert named == TOLD["components"]["schemas"].keys()


def test_the_routes_that_need_no_token_say_so():
    assert {path for (_, path), told in OPERATIONS.items() if "no token" in told["description"]} == OPEN


def is_beyond_a_schema(body):
    """Tell whether a body breaks a rule that JSON Schema has no words for: an index as long as the data, few rows."""
    if not isinstance(body, dict):
        return False
    messages = body.get("messages")
    if isinstance(messages, list) and not any(isinstance(one, dict) and one.get("role") == "user" for one in messages):
        return True  # a chat in which the user says nothing
    if body.get("model_name") is not None and "inputs" in body:
        return True  # another than in the path
    if any(is_misshapen(tensor) for tensor in body.get("inputs") or () if isinstance(tensor, dict)):
        return True
    frame = body.get("dataframe_split")
    return is_ragged(frame) or (isinstance(body.get("params"), dict) and body["params"].get("explain") is True)


def is_misshapen(tensor):
    return isinstance(tensor.get("data"), list) and tensor.get("shape") != [len(tensor["data"])]


def is_ragged(frame):
    parts = [frame.get(name) for name in ("index", "data")] if isinstance(frame, dict) else [None]
    return all(isinstance(part, list) for part in parts) and len({len(part) for part in parts}) > 1


@schemathesis.openapi.from_dict(TOLD).parametrize()
@settings(max_examples=EXAMPLES, deadline=10_000, suppress_health_check=list(HealthCheck))
def test_whatever_is_sent_gets_an_answer_that_is_described(case, address):
    response = case.call(base_url=address, timeout=20)
    assert response.status_code < 500
    left_out = [positive_data_acceptance] if is_beyond_a_schema(case.body) else []
    case.validate_response(response, checks=CHECKS.get_all(), excluded_checks=left_out)
