"""A prediction is written to the byte as JSON is, is the same when it is read, and is what the document says."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamctl.schema.message import NOT_SPAM, PROPERTIES, SPAM, Prediction, WordPush, encode
from spamctl.serving import openapi
from tests.hostile import PAYLOADS

UUID = "0b3dd5c2-5d2c-4f0e-9b51-0a3c0d6b3f11"
PREDICTIONS = st.builds(
    Prediction,
    classification=st.sampled_from([SPAM, NOT_SPAM]),
    probability=st.floats(0, 1),
    uuid=st.uuids().map(str),
    model_version=st.text(min_size=1),
    captured=st.booleans(),
    truncated=st.booleans(),
    in_reach=st.booleans(),
    explanation=st.none() | st.lists(st.builds(WordPush, st.text(), st.integers(0), st.integers(0), st.floats(-9, 9))),
)


@given(st.lists(PREDICTIONS, max_size=4))
def test_an_answer_is_the_bytes_that_json_writes(predictions):
    assert encode(predictions) == json.dumps({"predictions": [one.to_wire() for one in predictions]})


@given(PREDICTIONS)
def test_what_is_written_is_read_as_the_same(prediction):
    read = Prediction.from_wire(json.loads(encode([prediction]))["predictions"][0])
    assert read == prediction._replace(explanation=None)


def test_the_keys_stand_in_their_order_and_are_those_of_the_document():
    told = Prediction(SPAM, 0.5, UUID, "3", captured=True).to_wire()
    assert list(told) == list(PROPERTIES) == [name for name in Prediction._fields if name != "explanation"]
    described = openapi.document("0")["components"]["schemas"]["Prediction"]
    assert described["required"] == list(told)
    assert described["properties"].keys() - told.keys() == {"explanation"}


def test_what_another_server_leaves_out_is_taken_for_usual():
    told = Prediction(SPAM, 0.5, UUID, "3", captured=True).to_wire()
    del told["truncated"], told["in_reach"]
    assert Prediction.from_wire(told) == Prediction(SPAM, 0.5, UUID, "3", captured=True)


def test_no_refusal_repeats_what_a_server_said():
    told = Prediction(SPAM, 0.5, UUID, "3", captured=True).to_wire()
    for payload in PAYLOADS:
        for name in ("uuid", "classification", "probability", "captured"):
            with pytest.raises(ValueError, match="a prediction") as refusal:
                Prediction.from_wire(told | {name: payload})
            assert payload not in str(refusal.value)
