"""A version gets a new calibration and threshold from labelled answers, by the real command, and keeps its weights."""

import json
from itertools import product
from pathlib import Path

import pytest

from spamctl.message import NOT_SPAM, SPAM, Message
from tests import registered, tiny_models
from tests.flows.test_feedback import FROZEN, QUICK, Given, fill, forget
from tests.flows.test_train import OWN

# Spam of today hides an offer in a plan: a filter of yesterday ranks it above all plans, and below its threshold.
HIDDEN = [
    Message(f"{mood} shall we {plan} {time}? Get {offer}. {call}", SPAM)
    for (mood, time), plan, (offer, call) in product(
        zip(tiny_models.MOODS, tiny_models.TIMES, strict=True),
        tiny_models.PLANS,
        zip(tiny_models.OFFERS, [*tiny_models.CALLS, "Hurry"], strict=True),
    )
]
FRIENDS = [
    Message(f"{mood} shall we {plan} {time}, or {other}?", NOT_SPAM)
    for (mood, time), plan, other in product(
        zip(tiny_models.MOODS, tiny_models.TIMES, strict=True), tiny_models.PLANS, tiny_models.PLANS
    )
]
DRIFTED = [Given(message) for pair in zip(HIDDEN, FRIENDS, strict=True) for message in pair]
STATE = """
import hashlib, json
from pathlib import Path
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
client = MlflowClient("sqlite:///mlflow.db")
versions = {}
for version in client.search_model_versions("name = 'spam'"):
    folder = Path(download_artifacts(client.get_model_version_download_uri("spam", version.version)))
    files = {path.name: path.read_bytes() for path in (folder / "artifacts" / "package").iterdir()}
    manifest = json.loads(files.pop("manifest.json"))["manifest"]
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    run = client.get_run(version.run_id)
    part = json.loads(Path(client.download_artifacts(version.run_id, "evaluation/test_part.json")).read_text())
    versions[version.version] = {"tags": version.tags, "manifest": manifest, "files": digests, "part": part,
        "params": run.data.params, "metrics": run.data.metrics, "run": run.data.tags}
runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
aliases = client.get_registered_model("spam").aliases
print(json.dumps({"versions": versions, "aliases": aliases, "statuses": [run.info.status for run in runs]}))
"""


def recalibrate(desk, *words):
    return desk.ended(desk.start("-m", "spamctl", "recalibrate", "--suites", "none", "--threads", "1", *words))


def test_a_trained_version_catches_drifted_spam_again_with_the_same_weights(lay):
    desk = lay("recalibrated", covered=False)
    assert desk.ended(desk.train(*OWN, *QUICK)) == 0, desk.err
    fill(desk.path("spam.db"), [Given(FROZEN.train[0]), Given(FROZEN.test[0]), *DRIFTED])
    code = recalibrate(desk, "--feedback", "spam.db", "--max-false-positive-rate", "0.05")
    print(desk.out, desk.err)
    print(json.dumps(desk.ask(STATE))[:3000])
    assert code == 0
