"""What a training leaves behind says what was done, warns where it must, and names no folder of the machine."""

import json
from dataclasses import replace

import pytest

from spamctl.metrics.scores import METRICS
from spamctl.registry import records
from spamctl.registry.promotion import apply_gate
from spamctl.schema.codec import from_json, to_json
from spamctl.schema.evaluation import Reach
from spamctl.schema.rates import Score
from spamctl.schema.train import LearntAnswers, RecentRows, TrainFindings, TrainResult, TrainSettings

OPTIONS = {
    "tune": "last-block",
    "max_false_positive_rate": 0.005,
    "seed": 0,
    "model_name": "spam",
    "dataset": "sms-spam",
}


def settings(**changes):
    """Return the options of a training, with some of them changed."""
    chosen = OPTIONS | changes
    return TrainSettings(**chosen, recorded=chosen)


def metrics(**values):
    values = dict.fromkeys(METRICS, 0.9) | values
    return {name: {"value": value, "low": value - 0.01, "high": value + 0.01} for name, value in values.items()}


SCORE = {
    "rows": 100,
    "threshold": 0.4,
    "confusion": {"true_positives": 49, "false_positives": 1, "false_negatives": 1, "true_negatives": 49},
    "metrics": metrics(accuracy=0.98, roc_auc=0.99),
    "notes": ["no width"],
}
POINT = {
    "threshold": 0.4,
    "max_false_positive_rate": 0.005,
    "false_positives": 0,
    "false_positive_rate": {"value": 0.0, "low": 0.0, "high": 0.03},
    "false_positive_rate_upper": 0.03,
    "recall": {"value": 0.9, "low": 0.8, "high": 1.0},
    "notes": ["few rows"],
}
RUN = {
    "start": {
        "run_id": "1764",
        "base_model": {"name": "smollm2-135m", "requested": "gpt2", "origin": "bundled package"},
        "corpus": {"origin": "SMS (5,574 rows)", "sha256": "ab" * 32, "test_sha256": "cd" * 32},
        "parts": {
            "train": [["a", "spam"]] * 7,
            "validation": [["b", "not spam"]],
            "test": [["win <b>now</b>", "spam"], ["hi", "not spam"]],
        },
        "leakage": {"exact": 0, "masked": 0},
    },
    "depth": {
        "chosen": 9,
        "blocks": 30,
        "scores": [
            {"block": 1, "log_loss": 0.3, "standard_error": 0.01, "accuracy": 0.9},
            {"block": 12, "log_loss": 0.1, "standard_error": 0.01, "accuracy": 0.9},
        ],
    },
    "package": {
        "engine": "int8",
        "point": POINT,
        "distances": {"int8": {"auc_fall": 0.0, "changed": 0.0, "largest": 0.01}},
    },
    "evaluation": {
        "score": SCORE,
        "probabilities": [0.9, 0.1],
        "parity": {"rows": 2, "max_delta": 0.0, "changed": 0},
        "slices": [],
        "mistakes": [],
        "truncated": 0,
    },
    "baseline": {
        "chosen": {"view": "words", "cost": 1.0, "folds": 5, "average_precision": 0.9},
        "calibration": {"slope": 1.0, "intercept": 0.0},
        "operating_point": POINT,
        "score": SCORE | {"metrics": metrics(accuracy=0.97, roc_auc=0.98), "notes": []},
        "probabilities": [0.8, 0.2],
        "notes": [],
    },
    "losses": {"training": [(1, 0.5), (2, 0.4)], "validation": [(2, 0.45)]},
}
COUNTS = {"limit": 0.5, "good": 1, "good_out": 0, "spam": 0, "spam_out": 0, "caught": 0, "lost": 0}


@pytest.fixture
def run():
    """Return what the steps of a training have found."""
    return from_json(TrainFindings, RUN)


def gate(threshold):
    return apply_gate(from_json(Score, SCORE), threshold, "point")


def summary(run):
    """Return the result of a training that passed its gate."""
    return records.summary(settings(), run, gate(0.7))


def starting(run, **changes):
    """Return the findings of a training that started otherwise."""
    return replace(run, start=replace(run.start, **changes))


def about(run):
    return records.about(settings(), run.start.base_model, run.start.corpus, run.depth)


def test_a_summary_says_what_was_used_in_place_of_what(run):
    result = summary(run)
    assert result.registered is True
    assert (result.base_model, result.wanted_base_model, result.fallback) == ("smollm2-135m", "gpt2", True)
    found = to_json(result)
    assert found["data"] == {"origin": "SMS (5,574 rows)", "train": 7, "validation": 1, "test": 2, "test_spam": 1}
    assert found["notes"] == ["few rows", "no width"]
    assert json.loads(json.dumps(found)) == found
    assert from_json(TrainResult, found) == result


def test_a_summary_tells_what_is_out_of_reach_where_a_vocabulary_does(run):
    assert to_json(summary(run))["reach"] == {}
    beyond = COUNTS | {"good_out": 1}
    package = replace(run.package, reach=Reach(**COUNTS))
    run = replace(run, package=package, evaluation=replace(run.evaluation, reach=Reach(**beyond)))
    result = summary(run)
    assert to_json(result)["reach"] == {"validation": COUNTS, "test": beyond}
    files = records.record(settings(), run, result, {}).files
    assert json.loads(files["evaluation/reach.json"]) == to_json(result)["reach"]


def test_a_summary_of_a_refused_model_says_why(run):
    found = records.summary(settings(), run, gate(0.99))
    assert found.registered is False
    assert found.reason == "test accuracy 0.98 is below --accuracy-threshold 0.99"


def test_a_record_holds_scores_their_bounds_the_baseline_and_every_block(run):
    found = records.record(settings(), run, summary(run), {"loss": b"png"})
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


def test_the_files_of_a_record_keep_the_keys_that_they_always_had(run):
    files = records.record(settings(), run, summary(run), {}).files
    told = {path: json.loads(content) for path, content in files.items()}
    assert told["evaluation/score.json"] == SCORE
    assert told["evaluation/parity.json"] == RUN["evaluation"]["parity"]
    assert told["evaluation/engines.json"] == RUN["package"]["distances"]
    assert told["evaluation/baseline.json"].keys() == RUN["baseline"].keys() - {"probabilities"}
    assert told.keys() == {
        f"evaluation/{name}.json" for name in ("score", "baseline", "test_part", "parity", "engines")
    }


def test_only_a_data_set_of_our_own_is_called_sms(run):
    assert records.record(settings(dataset="mine.csv"), run, summary(run), {}).dataset[0] == "own file"


def test_tags_say_where_a_model_comes_from(run):
    found = records.tags(run, summary(run))
    assert found["metaflow.run_id"] == "1764"
    assert found["fallback_for"] == "gpt2"
    assert found["data.test_sha256"] == "cd" * 32
    assert found["gate"] == "passed"
    assert found["warning"] == ""


def test_a_model_that_does_not_beat_the_baseline_is_tagged(run):
    better = from_json(Score, SCORE | {"metrics": metrics(roc_auc=0.991)})
    run = replace(run, baseline=replace(run.baseline, score=better))
    assert "linear baseline" in records.tags(run, summary(run))["warning"]


def test_a_model_that_is_no_fallback_is_not_called_one(run):
    run = starting(run, base_model=replace(run.start.base_model, requested="smollm2-135m"))
    assert about(run)["fallback"] is False
    assert records.tags(run, summary(run))["fallback_for"] == ""


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
    base_model = replace(run.start.base_model, name=place, requested=place)
    run = starting(run, base_model=base_model, corpus=replace(run.start.corpus, origin=place))
    found = about(run)
    assert found["base_model"]["name"] == found["dataset"]["origin"] == shown
    assert records.tags(run, summary(run))["base_model"] == shown


def test_a_package_tells_no_message(run):
    assert "win" not in json.dumps(about(run))


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
    "doubt": 0.3,
    "left_out": {},
    "passed_over": {},
}


def test_recent_rows_join_the_reference_and_the_scores_stay_those_of_the_frozen_part(run):
    run = replace(starting(run, feedback=from_json(LearntAnswers, TOLD)), recent=RecentRows([["new", "spam"]], [0.7]))
    found = records.record(settings(), run, summary(run), {})
    rows = json.loads(found.files["evaluation/test_part.json"])
    assert [(row["text"], row["part"]) for row in rows] == [
        ("win <b>now</b>", "test"),
        ("hi", "test"),
        ("new", "recent"),
    ]
    assert rows[2]["probability"] == 0.7
    assert found.metrics["test_accuracy"] == 0.98


def test_tags_tell_what_was_learnt_beside_the_dataset_and_what_was_forgotten(run):
    learnt = starting(run, feedback=from_json(LearntAnswers, TOLD))
    found = records.tags(learnt, summary(learnt))
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
    assert not [name for name in records.tags(run, summary(run)) if "feedback" in name or "forgotten" in name]
