"""A result is the same after its JSON, keeps its keys, and what is none is refused by its place, never by its value."""

import json
import math
from dataclasses import replace

import pytest

from spamctl.schema.codec import finite, from_json, to_json
from spamctl.schema.message import LabelResult
from spamctl.schema.monitor import Causes, Example, MonitorResult, Reference, Window
from spamctl.schema.traffic import Rates, Source
from tests.hostile import PAYLOADS
from tests.monitored import EVERY, told


def test_a_monitoring_keeps_every_key_and_value_that_it_had():
    for finding in EVERY.values():
        written = json.loads(json.dumps(to_json(told(finding)), allow_nan=False))
        for key, value in finding.items():
            if key not in {"causes", "window", "reference", "history"}:
                assert written[key] == value, key
        for key in ("window", "reference"):
            assert written[key] | finding[key] == written[key], key
        assert [run | past == run for run, past in zip(written["history"], finding["history"], strict=True)]
        assert told(written) == replace(told(finding), causes=told(written).causes)


def test_the_sides_of_causes_have_the_keys_of_labels_and_a_text_is_never_written():
    found = Causes(examples={"spam": (Example("u1", 0.4, 1.5, "pay now"),), "not spam": ()})
    assert to_json(found) == {
        "spam": [],
        "not spam": [],
        "examples": {"spam": [{"uuid": "u1", "probability": 0.4, "score": 1.5}], "not spam": []},
        "carriers": [],
    }
    assert from_json(Causes, {"not spam": [], "examples": {"spam": [{"text": "pay", "probability": 1}]}}).examples[
        "spam"
    ] == (Example(None, 1.0, 0.0, "pay"),)


def test_none_is_left_out_or_an_empty_object_or_null_as_its_field_says():
    assert to_json(Source("mine.csv")) == {"origin": "mine.csv"}
    assert to_json(Rates()) == {}
    assert to_json(Reference("spam", "3"))["out_of_reach"] == {}
    assert from_json(Reference, {"model_name": "spam", "model_version": "3", "out_of_reach": {}}).out_of_reach is None
    bare = told(EVERY["calm"] | {"mlflow": {}, "quality": None})
    assert (to_json(bare)["mlflow"], to_json(bare)["quality"]) == ({}, None)
    assert (from_json(MonitorResult, to_json(bare)).mlflow, "next" in to_json(bare)) == (None, False)


def test_a_file_of_another_release_is_read_by_what_it_has():
    old = {"verdict": "ok", "checks": [], "window": {"rows": 3}, "reference": {"model_name": "a", "model_version": "1"}}
    found = from_json(MonitorResult, old | {"from a later release": {"x": 1}})
    assert (found.window, found.history, found.quality) == (Window(3), (), None)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"verdict": "fine"}, "verdict: must be one of ok, warning, failed"),
        ({"window": {"rows": "many"}}, "window: rows: must be a whole number, got text"),
        ({"window": {"rows": True}}, "window: rows: must be a whole number, got true or false"),
        ({"window": {}}, "window: rows: is missing"),
        ({"checks": {}}, "checks: must be a list, got an object"),
        ({"quality": []}, "quality: must be an object, got a list"),
        ({"store": None}, "store: must be text, got null"),
    ],
    ids=str,
)
def test_what_is_something_else_is_refused_by_its_place(changes, fault):
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 - the whole text follows
        told(EVERY["calm"] | changes)
    assert str(refusal.value) == f"MonitorResult: {fault}"


@pytest.mark.parametrize("value", [None, 3, [], "x"])
def test_no_result_is_no_object(value):
    for kind in (MonitorResult, LabelResult):
        with pytest.raises(ValueError, match="must be an object"):
            from_json(kind, value)


def test_no_refusal_repeats_what_it_was_given():
    for payload in PAYLOADS:
        for changes in ({"verdict": payload}, {"window": payload}, {"checks": [payload]}, {"drift_score": payload}):
            with pytest.raises(ValueError) as refusal:  # noqa: PT011 - its text must not hold the payload
                told(EVERY["calm"] | changes)
            assert payload not in str(refusal.value)


def test_what_is_not_finite_is_null():
    assert finite({"a": [math.nan, 1.5, (math.inf, "x")], 3: None}) == {"a": [None, 1.5, [None, "x"]], "3": None}
