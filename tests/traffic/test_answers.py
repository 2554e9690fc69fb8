"""What strays from the wire format in any way is named, and spoils the whole answer."""

import json

from spamctl.traffic.client import error_code, read_answers
from tests.each import each
from tests.serving.odd_servers import prediction

WRONG = {
    "the answer is no JSON": [b"", b"<html>It works!</html>", b"\xff", b"[" * 100_000, b'{"predictions": [}'],
    "the answer has no list of predictions": [b"null", b"[]", b'{"predictions": {}}', b'{"outputs": []}'],
    "0 predictions for 2 messages": [b'{"predictions": []}'],
}
WRONG_ROWS = {
    "a prediction is no object": [1, None, "spam", ["spam"]],
    "a prediction has no uuid": [
        {"uuid": None}, {"uuid": 7}, {"uuid": ""}, {"uuid": "not-a-uuid"}, {"uuid": "A" * 32}, {"uuid": "\ud800"},
    ],
    "a prediction's classification is neither spam nor not spam": [
        {"classification": "ham"}, {"classification": None}, {"classification": ["spam"]}, {"classification": True},
    ],
    "a prediction's probability is no number from 0 to 1": [
        {"probability": value} for value in (None, True, "0.5", -0.1, 1.01, float("nan"), float("inf"), 10**400)
    ],
    "a prediction names no model version": [{"model_version": value} for value in (None, "", 3)],
    "a prediction does not say whether it is captured": [{"captured": value} for value in (None, 1, "true")],
}  # fmt: skip


@each(("reason", "body"), [(reason, body) for reason, bodies in WRONG.items() for body in bodies])
def test_a_body_that_strays_from_the_wire_format_is_named(reason, body):
    assert read_answers(body, 2) == reason


@each(("reason", "row"), [(reason, row) for reason, rows in WRONG_ROWS.items() for row in rows])
def test_one_wrong_prediction_spoils_the_answer(reason, row):
    wrong = prediction(**row) if isinstance(row, dict) else row
    assert read_answers(json.dumps({"predictions": [prediction(), wrong]}).encode(), 2) == reason


@each("name", ["uuid", "classification", "probability", "model_version", "captured"])
def test_a_prediction_lacks_nothing(name):
    row = {key: value for key, value in prediction().items() if key != name}
    assert isinstance(read_answers(json.dumps({"predictions": [row]}).encode(), 1), str)


def test_two_messages_do_not_share_a_uuid():
    row = prediction()
    assert read_answers(json.dumps({"predictions": [row, row]}).encode(), 2) == "two predictions have the same uuid"


def test_what_the_wire_may_hold_beyond_what_is_needed_is_no_fault():
    rows = [prediction(explanation=[]), {key: value for key, value in prediction().items() if key != "truncated"}]
    answers = read_answers(json.dumps({"predictions": rows, "more": 1}).encode(), 2)
    assert [answer.uuid for answer in answers] == [row["uuid"] for row in rows]


@each(
    ("body", "code"),
    [
        (b'{"error_code": "INVALID_PARAMETER_VALUE"}', "INVALID_PARAMETER_VALUE"),
        (b'{"error_code": "<b>"}', ""),
        (b'{"error_code": "\\u001b[31m"}', ""),
        (b'{"error_code": 7}', ""),
        (b'{"error_code": "A_VERY_LONG_CODE_THAT_NOBODY_WOULD_EVER_WRITE"}', ""),
        (b'["BAD_REQUEST"]', ""),
        (b"<html>", ""),
        (b"[" * 100_000, ""),
        (b"", ""),
    ],
)
def test_only_a_code_in_plain_words_is_repeated(body, code):
    assert error_code(body) == code
