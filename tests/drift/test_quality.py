"""Quality comes from trusted labels alone, each rate with its interval, and none where no row can tell."""

from dataclasses import replace

import numpy as np
import pytest

from spamctl.drift import quality
from spamctl.schema.codec import to_json
from tests.drift.made_samples import messages, sample

RATES = ("accuracy", "precision", "recall", "f1", "false_positive_rate", "calibration_error")


def rng():
    return np.random.default_rng(0)


def test_rates_are_those_of_the_counts_with_wilsons_intervals():
    rows = sample(messages(200, 0), wrong=0.1)
    found = to_json(quality.measured(rows, rng()))
    hits = rows.called_spam & rows.is_spam
    assert found["rows"] == 200
    assert found["spam"] == 60
    assert found["accuracy"]["value"] == (rows.called_spam == rows.is_spam).mean()
    assert found["precision"]["value"] == hits.sum() / rows.called_spam.sum()
    assert found["recall"]["value"] == hits.sum() / 60
    p, r = found["precision"]["value"], found["recall"]["value"]
    assert found["f1"]["value"] == pytest.approx(2 * p * r / (p + r))
    for name in RATES:
        assert 0 <= found[name]["low"] <= found[name]["value"] <= found[name]["high"] <= 1


@pytest.mark.parametrize(
    ("share", "unknown"), [(1.0, {"false_positive_rate"}), (0.0, {"precision", "recall", "f1"}), (0.5, set())]
)
def test_what_one_class_cannot_tell_is_none_and_never_nought(share, unknown):
    found = to_json(quality.measured(sample(messages(30, 0, share=share)), rng()))
    assert {name for name in RATES if found[name] is None} == unknown


def test_one_row_is_measured():
    assert quality.measured(sample([("win", True)]), rng()).accuracy.value == 1


def test_simulated_labels_are_agreement_and_no_quality():
    rows = sample(messages(50, 0), wrong=0.2, labels="simulated")
    assert quality.measured(rows, rng()) is None
    assert to_json(quality.simulated(rows)) == {"rows": 50, "agreement": (rows.called_spam == rows.is_spam).mean()}
    assert to_json(quality.by_group(rows)) == {"version": [], "family": [], "source": []}
    assert quality.simulated(sample(messages(5, 0))) is None


def test_sources_and_coverage_are_counted():
    rows = sample(messages(4, 0))
    rows = replace(rows, truth=["spam", "spam", "", "spam"], label_sources=["file", "simulated", "", "review"])
    found = to_json(quality.measured(rows, rng()))
    assert found["label_sources"] == {"file": 1, "review": 1}
    assert found["coverage"] == 0.5


def test_groups_are_measured_apart_and_unnamed_ones_are_none():
    rows = replace(sample(messages(90, 0), versions=("2", "1", "2")), families=["modern"] * 30 + [""] * 60)
    found = to_json(quality.by_group(rows))
    assert [(one["name"], one["rows"]) for one in found["version"]] == [("2", 60), ("1", 30)]
    assert [one["name"] for one in found["family"]] == ["modern"]
    assert found["source"] == []


def test_labels_of_doubtful_rows_are_told_from_a_fair_draw():
    rows = sample(messages(300, 0))
    doubt = np.argsort(np.abs(rows.probabilities - 0.5))
    fair = np.random.default_rng(1).permutation(300)
    for chosen, alike in ((doubt[:60], False), (fair[:60], True), (fair, True), ([], True)):
        truth = [rows.truth[row] if row in set(chosen) else "" for row in range(300)]
        assert quality.alike(replace(rows, truth=truth), rng()) == alike
