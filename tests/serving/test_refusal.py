"""A refusal is short JSON in ASCII that shows little of what was sent, and that harmlessly."""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from spamctl.errors import SpamctlError
from spamctl.serving import access
from spamctl.serving.access import CODES, Refusal, of_status, quoted
from tests.each import each


def test_a_refusal_is_told_as_json():
    told = Refusal(400, "INVALID_PARAMETER_VALUE", "row 2: column 'text' holds null, not text")
    assert json.loads(access.error_body(told, "abc")) == {
        "error_code": "INVALID_PARAMETER_VALUE",
        "message": "row 2: column 'text' holds null, not text",
        "request_id": "abc",
    }
    assert (told.status, str(told), dict(told.headers)) == (400, "row 2: column 'text' holds null, not text", {})
    assert isinstance(told, SpamctlError)


@given(message=st.text(max_size=3000), request_id=st.text('!"\\~', min_size=1, max_size=128))
def test_any_message_fits_into_a_kibibyte_of_ascii(message, request_id):
    answer = access.error_body(of_status(500, message), request_id)
    assert len(answer) <= 1024
    assert answer.isascii()
    assert json.loads(answer)["request_id"] == request_id


@each("status", [*CODES, 418, 502])
def test_every_status_has_a_code(status):
    assert re.fullmatch(r"[A-Z][A-Z_]{1,39}", of_status(status, "no").code)


def test_codes_that_mlflow_has_are_its_own():
    from mlflow.protos import databricks_pb2

    known = set(databricks_pb2.ErrorCode.keys())
    ours = {"METHOD_NOT_ALLOWED", "REQUEST_TIMEOUT", "REQUEST_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE"}
    assert {*CODES.values(), access.WRONG_VALUE, access.UNKNOWN} - known == ours


@each(
    ("text", "shown"),
    [
        ("id", "'id'"),
        ("", "''"),
        ("a\nb\x00\u202e\u200b\ud800", r"'a\nb\x00\u202e\u200b\ud800'"),
        ("n" * 40, f"'{'n' * 40}'"),
        ("n" * 41, f"'{'n' * 37}...'"),
    ],
)
def test_a_piece_of_the_input_is_cut_and_escaped(text, shown):
    assert quoted(text) == shown
