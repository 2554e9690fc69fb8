"""A person's word is taken for a captured answer, once, and can be corrected; everything else is refused."""

import httpx
import pytest

from spamctl.store import labels
from tests.served import served

NOBODY = "00000000-0000-5000-8000-000000000000"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served(tmp_path_factory.mktemp("feedback")) as running:
        yield running


@pytest.fixture
def uuid(server):
    """Return the uuid of an answer that was just captured."""
    answer = httpx.post(f"{server.address}/invocations", json={"inputs": ["win cash now"]}, timeout=30)
    return answer.json()["predictions"][0]["uuid"]


def say(server, **body):
    return httpx.post(f"{server.address}/feedback", json=body, timeout=30)


def test_a_label_is_recorded_once_and_corrected_with_its_history(server, uuid):
    outcomes = [say(server, uuid=uuid, label=label).json()["outcome"] for label in ("spam", "spam", "not spam")]
    assert outcomes == ["recorded", "unchanged", "recorded"]
    given = labels.history(server.service.archive.store, uuid)
    assert [(one.label, one.source) for one in given] == [("spam", "user"), ("not spam", "user")]


def test_a_uuid_in_another_form_is_the_same_row(server, uuid):
    answer = say(server, uuid=uuid.upper().replace("-", ""), label="spam")
    assert answer.json() == {"uuid": uuid, "label": "spam", "outcome": "recorded"}


def test_a_row_that_is_not_there_is_404(server):
    answer = say(server, uuid=NOBODY, label="spam")
    assert answer.status_code == 404
    assert answer.json()["message"] == "uuid: no captured answer has it; use one that /invocations gave"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"uuid": NOBODY},
        {"uuid": NOBODY, "label": "spam", "note": "x"},
        {"uuid": "1", "label": "spam"},
        {"uuid": 1, "label": "spam"},
        {"uuid": NOBODY, "label": "ham"},
        {"uuid": NOBODY, "label": None},
        {"uuid": NOBODY, "label": ["spam"]},
        {"uuid": NOBODY, "label": {}},
    ],
)
def test_another_body_is_400(server, body):
    answer = say(server, **body)
    assert answer.status_code == 400, answer.text
    assert answer.json().keys() == {"error_code", "message", "request_id"}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"spam"', b"[" * 3000, b"\xff"])
def test_what_is_no_object_is_400(server, body):
    headers = {"Content-Type": "application/json"}
    assert httpx.post(f"{server.address}/feedback", content=body, headers=headers).status_code == 400


def test_a_page_of_another_site_cannot_label_unseen(server, uuid):
    body = f'{{"uuid": "{uuid}", "label": "spam"}}'.encode()
    answer = httpx.post(f"{server.address}/feedback", content=body, headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415
    assert labels.history(server.service.archive.store, uuid) == []


def test_a_long_body_is_413(server):
    assert say(server, uuid=NOBODY, label="spam" * 2000).status_code == 413


def test_where_nothing_is_captured_there_is_nothing_to_label(tmp_path):
    with served(tmp_path, capture=False) as running:
        answer = say(running, uuid=NOBODY, label="spam")
    assert answer.status_code == 404
    assert "nothing is captured here (--capture off)" in answer.json()["message"]
