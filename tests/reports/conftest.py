"""Give the report tests a result, hostile texts, and a browser that can reach nothing."""

import subprocess
from dataclasses import dataclass

import pytest

from spamctl.schema.codec import from_json
from spamctl.schema.train import TrainResult
from tests import chromium
from tests.hostile import PAYLOADS


def score(value, low, high):
    """Return a score with its 95 % interval."""
    return {"value": value, "low": low, "high": high}


SCORES = {
    "accuracy": score(0.9956, 0.9887, 0.9983),
    "precision": score(0.9917, 0.9543, 0.9985),
    "recall": score(0.9754, 0.9301, 0.9916),
    "f1": score(0.9835, 0.9642, 0.9959),
    "mcc": score(0.9810, 0.9596, 0.9953),
    "roc_auc": score(0.9991, 0.9980, 0.9999),
    "pr_auc": score(0.9952, 0.9893, 0.9994),
    "false_positive_rate": score(0.0013, 0.0002, 0.0072),
    "brier": score(0.0061, 0.0040, 0.0089),
    "ece": score(0.0123, 0.0098, 0.0201),
}
BASELINE = {
    "accuracy": score(0.9857, 0.9757, 0.9916),
    "precision": score(1.0000, 0.9648, 1.0000),
    "recall": score(0.8934, 0.8261, 0.9367),
    "f1": score(0.9437, 0.9097, 0.9717),
    "mcc": score(0.9376, 0.9003, 0.9683),
    "roc_auc": score(0.9942, 0.9893, 0.9978),
    "pr_auc": score(0.9836, 0.9710, 0.9929),
    "false_positive_rate": score(0.0000, 0.0000, 0.0049),
    "brier": score(0.0143, 0.0109, 0.0184),
    "ece": score(0.0123, 0.0090, 0.0161),
}


GATE = {
    "threshold": 0.7,
    "mode": "point",
    "accuracy": 0.9956,
    "low": 0.9887,
    "majority": 0.8656,
    "passed": True,
    "reason": "",
}


def summary(**changes):
    """Return the result of a training run that registered a champion, with some of it changed."""
    every = {
        "spamctl": "result",
        "verb": "train",
        "registered": True,
        "alias": "champion",
        "model_name": "spam",
        "model_version": "3",
        "reason": "",
        "gate": GATE,
        "base_model": "smollm2-135m",
        "fallback": False,
        "depth": 9,
        "blocks": 30,
        "tune": "last-block",
        "engine": "int8",
        "data": {"origin": "bundled copy", "train": 3173, "validation": 453, "test": 908, "test_spam": 122},
        "threshold": 0.43,
        "scores": SCORES,
        "baseline": BASELINE,
        "parity": {"rows": 908, "max_delta": 3.1e-06, "changed": 0},
        "leakage": {"exact": 0, "masked": 0},
        "seconds": {"read": 0.4, "depth": 64.8, "tune": 71.3, "package": 21.0},
        "mlflow": {"tracking_uri": "sqlite:///mlflow.db", "experiment": "spam", "run_id": "8f1e0c"},
        "metaflow": {"run_id": "1795413"},
        "next": "spamctl cards train",
    }
    return from_json(TrainResult, every | changes)


@dataclass(frozen=True)
class Visit:
    """Hold what a browser made of a page: its elements after every script had its chance, and what it asked for."""

    dom: str
    asked: list[str]


@pytest.fixture
def result():
    return summary


@pytest.fixture
def payloads():
    return PAYLOADS


@pytest.fixture
def visit(tmp_path):
    """Return a function that opens a page in headless Chromium, where no name resolves."""
    program = chromium.program("chromium")

    def opened(page):
        log = tmp_path / "requests.json"
        places = (f"--user-data-dir={tmp_path / 'chromium'}", f"--log-net-log={log}")
        waits = ("--virtual-time-budget=5000", "--host-resolver-rules=MAP * ~NOTFOUND")
        command = [program, *chromium.FLAGS, *waits, *places, "--dump-dom"]
        done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, check=True, timeout=120)
        return Visit(done.stdout, chromium.elsewhere(log))

    return opened
