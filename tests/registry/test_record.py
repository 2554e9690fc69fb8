"""What a training leaves behind says what was done, warns where it must, and names no folder of the machine."""

import json

import pytest

from spamctl.registry import records
from spamctl.registry.promotion import apply_gate

OPTIONS = {
    "tune": "last-block",
    "max_false_positive_rate": 0.005,
    "seed": 0,
    "model_name": "spam",
    "dataset": "sms-spam",
}


def metrics(**values):
    return {name: {"value": value, "low": value - 0.01, "high": value + 0.01} for name, value in values.items()}


SCORE = {
    "rows": 100,
    "confusion": {"true_positives": 49, "false_positives": 1, "false_negatives": 1, "true_negatives": 49},
    "metrics": metrics(accuracy=0.98, roc_auc=0.99),
}


@pytest.fixture
def run():
    """Return the values that the steps of a training have left."""
    return {
        "run_id": "1764",
        "chosen_model": {"name": "smollm2-135m", "requested": "gpt2", "origin": "bundled package"},
        "chosen_depth": 9,
        "blocks": 30,
        "chosen_engine": "int8",
        "corpus": {"origin": "SMS (5,574 rows)", "sha256": "ab" * 32, "test_sha256": "cd" * 32},
        "parts": {
            "train": [["a", "spam"]] * 7,
            "validation": [["b", "not spam"]],
            "test": [["win <b>now</b>", "spam"], ["hi", "not spam"]],
        },
        "operating_point": {"threshold": 0.4, "notes": ["few rows"]},
        "evaluation": {
            "score": {"metrics": metrics(accuracy=0.98, roc_auc=0.99), "notes": ["no width"]},
            "probabilities": [0.9, 0.1],
            "parity": {"rows": 2, "max_delta": 0.0, "changed": 0},
        },
        "baseline": {
            "score": {"metrics": metrics(accuracy=0.97, roc_auc=0.98)},
            "probabilities": [0.8, 0.2],
            "notes": [],
        },
        "leakage": {"exact": 0, "masked": 0},
        "losses": {"training": [(1, 0.5), (2, 0.4)], "validation": [(2, 0.45)]},
        "depth_scores": [{"block": 1, "log_loss": 0.3}, {"block": 12, "log_loss": 0.1}],
        "engine_distances": {"int8": {"auc_fall": 0.0, "changed": 0.0, "largest": 0.01}},
    }


@pytest.fixture
def told(run):
    """Return the values with the result of a training that passed its gate."""
    return run | {"result": records.summary(OPTIONS, run, apply_gate(SCORE, 0.7, "point"))}


def test_a_summary_says_what_was_used_in_place_of_what(run):
    found = records.summary(OPTIONS, run, apply_gate(SCORE, 0.7, "point"))
    assert found["registered"] is True
    assert (found["base_model"], found["wanted_base_model"], found["fallback"]) == ("smollm2-135m", "gpt2", True)
    assert found["data"] == {"origin": "SMS (5,574 rows)", "train": 7, "validation": 1, "test": 2, "test_spam": 1}
    assert found["notes"] == ["few rows", "no width"]
    assert json.loads(json.dumps(found)) == found


def test_a_summary_tells_what_is_out_of_reach_where_a_vocabulary_does(run):
    assert records.summary(OPTIONS, run, apply_gate(SCORE, 0.7, "point"))["reach"] == {}
    counts = {"limit": 0.5, "good": 1, "good_out": 0, "spam": 0, "spam_out": 0, "caught": 0, "lost": 0}
    run["reach"], run["evaluation"]["reach"] = counts, counts | {"good_out": 1}
    run["result"] = records.summary(OPTIONS, run, apply_gate(SCORE, 0.7, "point"))
    assert run["result"]["reach"] == {"validation": counts, "test": counts | {"good_out": 1}}
    assert json.loads(records.record(OPTIONS, run, {}).files["evaluation/reach.json"]) == run["result"]["reach"]


def test_a_summary_of_a_refused_model_says_why(run):
    found = records.summary(OPTIONS, run, apply_gate(SCORE, 0.99, "point"))
    assert found["registered"] is False
    assert found["reason"] == "test accuracy 0.98 is below --accuracy-threshold 0.99"


def test_a_record_holds_scores_their_bounds_the_baseline_and_every_block(told):
    found = records.record(OPTIONS, told, {"loss": b"png"})
    assert found.metrics["test_accuracy"] == 0.98
    assert found.metrics["test_accuracy_low"] == pytest.approx(0.97)
    assert found.metrics["baseline_roc_auc"] == 0.98
    assert found.metrics["block_12_log_loss"] == 0.1
    assert found.curves == {"train_loss": [(1, 0.5), (2, 0.4)], "validation_loss": [(2, 0.45)]}
    assert found.params | OPTIONS == found.params
    assert found.params["used_depth"] == 9
    assert found.files["plots/loss.png"] == b"png"
    assert json.loads(found.files["evaluation/test_part.json"]) == [
        {"text": "win <b>now</b>", "label": "spam", "probability": 0.9},
        {"text": "hi", "label": "not spam", "probability": 0.1},
    ]
    assert found.dataset == ("sms", "SMS (5,574 rows)", "ab" * 32)


def test_only_a_data_set_of_our_own_is_called_sms(told):
    assert records.record(OPTIONS | {"dataset": "mine.csv"}, told, {}).dataset[0] == "own file"


def test_tags_say_where_a_model_comes_from(told):
    found = records.tags(told)
    assert found["metaflow.run_id"] == "1764"
    assert found["fallback_for"] == "gpt2"
    assert found["data.test_sha256"] == "cd" * 32
    assert found["gate"] == "passed"
    assert found["warning"] == ""


def test_a_model_that_does_not_beat_the_baseline_is_tagged(told):
    told["result"]["baseline"]["roc_auc"]["value"] = 0.991
    assert "linear baseline" in records.tags(told)["warning"]


def test_a_model_that_is_no_fallback_is_not_called_one(run):
    run["chosen_model"] |= {"requested": "smollm2-135m"}
    assert records.about(OPTIONS, run)["fallback"] is False
    result = records.summary(OPTIONS, run, apply_gate(SCORE, 0.7, "point"))
    assert records.tags(run | {"result": result})["fallback_for"] == ""


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("/home/ada/models/tiny", "tiny"),
        ("./tiny", "tiny"),
        ("../mine.csv (200 rows)", "mine.csv (200 rows)"),
        ("~/tiny.gguf", "tiny.gguf"),
        ("meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.2-1B"),
        ("sms-spam", "sms-spam"),
        ("data/mine.csv", "data/mine.csv"),
    ],
)
def test_no_folder_of_the_machine_is_kept(run, place, shown):
    run["chosen_model"] |= {"name": place, "requested": place}
    run["corpus"] |= {"origin": place}
    found = records.about(OPTIONS, run)
    assert found["base_model"]["name"] == found["dataset"]["origin"] == shown
    result = records.summary(OPTIONS, run, apply_gate(SCORE, 0.7, "point"))
    assert records.tags(run | {"result": result})["base_model"] == shown


def test_a_package_tells_no_message(run):
    assert "win" not in json.dumps(records.about(OPTIONS, run))


TOLD = {
    "forgotten": 2,
    "store": "/srv/stores/spam.db",
    "sources": {"user": 1, "oracle": 9},
    "train": {"rows": 6, "spam": 2},
    "validation": {"rows": 1, "spam": 0},
    "recent": {"rows": 1, "spam": 1},
    "newest": "2026-11-26T02:25:07+00:00",
    "sha256": "ef" * 32,
    "doubtful": 3,
}


def test_recent_rows_join_the_reference_and_the_scores_stay_those_of_the_frozen_part(told):
    told |= {"feedback": TOLD, "recent": [["new", "spam"]], "recent_probabilities": [0.7]}
    found = records.record(OPTIONS, told, {})
    rows = json.loads(found.files["evaluation/test_part.json"])
    assert [(row["text"], row["part"]) for row in rows] == [
        ("win <b>now</b>", "test"),
        ("hi", "test"),
        ("new", "recent"),
    ]
    assert rows[2]["probability"] == 0.7
    assert found.metrics["test_accuracy"] == 0.98


def test_tags_tell_what_was_learnt_beside_the_dataset_and_what_was_forgotten(told):
    found = records.tags(told | {"feedback": TOLD})
    assert {name: value for name, value in found.items() if "feedback" in name or "forgotten" in name} == {
        "data.forgotten": "2",
        "data.feedback": "spam.db",
        "data.feedback_rows": "7",
        "data.feedback_recent": "1",
        "data.feedback_sources": "oracle,user",
        "data.feedback_newest": "2026-11-26T02:25:07+00:00",
        "data.feedback_sha256": "ef" * 32,
        "data.feedback_set_aside": "3",
    }
    assert not [name for name in records.tags(told) if "feedback" in name or "forgotten" in name]
