"""A version gets a new calibration and threshold from labelled answers, by the real command, and keeps its weights."""

import json
import signal
from itertools import product

import pytest

from spamctl.schema.message import NOT_SPAM, SPAM, Message, digest
from tests import tiny_models
from tests.faults.processes import until
from tests.flows.test_feedback import FROZEN, Given, fill, forget

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
    versions[str(version.version)] = {"tags": version.tags, "manifest": manifest, "files": digests, "part": part,
        "params": run.data.params, "metrics": run.data.metrics, "run": run.data.tags}
runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
aliases = {alias: str(version) for alias, version in client.get_registered_model("spam").aliases.items()}
training = client.get_model_version("spam", "1").run_id
statuses = [run.info.status for run in runs]
print(json.dumps({"training": training, "versions": versions, "aliases": aliases, "statuses": statuses}))
"""


FORGOTTEN = DRIFTED[0].message
TWIN = Message(FORGOTTEN.text.upper(), SPAM)  # whose row stays when that of the other is forgotten
STORES = {"drifted.db": [Given(FROZEN.train[0]), Given(FROZEN.test[0]), *DRIFTED, Given(TWIN)]}
# Somebody wanted yesterday's offers caught and today's delivered, until the newest answers.
OFFERS = [message for message in tiny_models.messages(300)[200:] if message.is_spam]
WELCOME = [Message(message.text, NOT_SPAM) for message in HIDDEN[:60]]
STORES["contrary.db"] = [Given(one) for pair in zip(OFFERS, WELCOME, strict=False) for one in pair]
STORES["contrary.db"] += [Given(one) for pair in zip(HIDDEN[60:80], FRIENDS, strict=False) for one in pair]
STORES["few.db"] = DRIFTED[:20]
STORES["good.db"] = [Given(message) for message in FRIENDS]


def recalibrate(desk, store, *words):
    flags = ("--feedback", store, "--forgotten", "none", "--max-false-positive-rate", "0.05", "--threads", "1")
    return desk.ended(desk.start("-m", "spamctl", "recalibrate", *flags, *words))


@pytest.fixture(scope="module")
def trained(lay_trained):
    """Train a version and fill stores with answers; return the desk and the version as it was registered."""
    desk = lay_trained("recalibrated")
    uuids = {name: fill(desk.path(name), given) for name, given in STORES.items()}
    forget(desk.path("drifted.db"), uuids["drifted.db"][2])
    return desk, desk.ask(STATE)


@pytest.fixture(scope="module")
def recalibrated(trained):
    """Recalibrate the version to drifted spam; return the desk, what the command told, and its output."""
    desk, _ = trained
    assert recalibrate(desk, "drifted.db") == 0, desk.err + desk.out
    (result,) = desk.told("result")
    return desk, result, desk.out


def test_drifted_spam_is_caught_again_by_the_same_weights(trained, recalibrated):
    _, before = trained
    desk, result, out = recalibrated
    after = desk.ask(STATE)
    old, new = before["versions"]["1"], after["versions"][result["model_version"]]
    assert after["aliases"]["champion"] == result["model_version"]
    assert set(after["statuses"]) == {"FINISHED"}

    assert new["files"] == old["files"]
    changed = {name for name, value in new["manifest"].items() if value != old["manifest"][name]}
    assert changed == {"slope", "intercept", "threshold", "golden", "about"}
    assert new["manifest"]["about"]["recalibrated"]["from_version"] == "1"

    recent = result["measured"]["parts"]["recent"]
    assert recent["challenger"]["recall"]["value"] > recent["champion"]["recall"]["value"] + 0.1
    assert recent["challenger"]["false_positive_rate"]["low"] <= 0.05
    assert result["measured"]["parts"]["test"]["rows"] == len(FROZEN.test)
    # Neither a message of the dataset nor a forgotten one, nor one like it, is fitted to or measured on.
    assert result["feedback"]["left_out"]["known from the dataset"] == 2
    assert result["feedback"]["left_out"]["forgotten"] == 1
    assert result["feedback"]["fitted"]["rows"] + recent["rows"] + result["feedback"]["doubtful"] == len(DRIFTED) - 1
    assert FORGOTTEN.text.lower() not in json.dumps(new["part"]).lower()
    assert [row["text"] for row in new["part"] if row["part"] == "test"] == [row["text"] for row in old["part"]]

    tags = new["tags"]
    assert tags["recalibrated.from_version"] == "1"
    assert tags["recalibrated.answers"] == str(result["feedback"]["fitted"]["rows"])
    assert tags["data.feedback"] == tags["recalibrated.feedback"] == "drifted.db"
    assert tags["data.test_sha256"] == old["tags"]["data.test_sha256"] == digest(FROZEN.test)
    assert tags["data.sha256"] == old["tags"]["data.sha256"]
    assert new["run"]["mlflow.source.name"] == "spamctl recalibrate"
    assert new["metrics"]["recent_recall"] > new["metrics"]["recent_recall_before"]
    assert new["metrics"]["threshold_before"] == old["manifest"]["threshold"]
    for word in ("recall", "frozen test part, 40", "recent messages, ", "byte for byte", "\N{RIGHTWARDS ARROW}"):
        assert word in out


@pytest.mark.long
def test_a_version_that_is_worse_on_what_is_new_stays_challenger(recalibrated):
    desk, _, _ = recalibrated
    champion = desk.ask(STATE)["aliases"]["champion"]
    assert recalibrate(desk, "contrary.db", "--model-version", "1") == 3, desk.err + desk.out
    (result,) = desk.told("result")
    assert result["registered"]
    assert result["alias"] == "challenger"
    assert desk.err.splitlines()[-1] == f"spamctl: {result['reason']}"
    after = desk.ask(STATE)
    assert after["aliases"] == {"champion": champion, "challenger": result["model_version"]}


@pytest.mark.parametrize(
    ("store", "fault"),
    [
        ("few.db", "7 spam and 7 not spam labelled answers are left to fit to"),
        ("good.db", "0 spam and 126 not spam labelled answers are left to fit to"),
    ],
)
def test_too_few_answers_of_a_class_are_refused_and_nothing_is_registered(trained, store, fault):
    desk, _ = trained
    before = desk.ask(STATE)
    assert recalibrate(desk, store) == 2
    last = desk.err.splitlines()[-1]
    assert last.startswith(f"spamctl: --feedback {store}: {fault}")
    assert "needs 20 of each" in last
    assert "with spamctl label" in last
    assert desk.ask(STATE) == before


@pytest.mark.long
def test_ctrl_c_registers_nothing_and_the_next_run_begins_anew(trained):
    desk, _ = trained
    before = desk.ask(STATE)
    process = desk.start(
        "-m", "spamctl", "recalibrate", "--feedback", "drifted.db", "--forgotten", "none", "--threads", "1"
    )
    until(lambda: "[3/4]" in desk.err or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    assert desk.ended(process) == 130, desk.err
    assert desk.err.splitlines()[-1] == "Stopped. No version was changed; spamctl recalibrate starts over."
    after = desk.ask(STATE)
    assert (after["versions"], after["aliases"]) == (before["versions"], before["aliases"])
    assert len(after["statuses"]) == len(before["statuses"]) + 1

    # What was stopped before it could end its run is ended by the next one, which knows whose weights it is given.
    # A model of a few thousand weights fails the suites, and where they decide it does not lead.
    assert recalibrate(desk, "drifted.db", "--model-version", "latest", "--suites", "lead") == 3, desk.err
    (result,) = desk.told("result")
    assert result["reason"].startswith("it fails the suites: ")
    assert result["suites"]["deciding"]
    state = desk.ask(STATE)
    assert set(state["statuses"]) == {"FINISHED", "KILLED"}
    new, old = (state["versions"][result[name]] for name in ("model_version", "from_version"))
    assert (new["files"], new["tags"]["recalibrated.from_version"]) == (old["files"], result["from_version"])
    assert new["tags"]["recalibrated.training_run"] == before["training"]
    assert result["feedback"]["left_out"]["known from the dataset"] == 2
    assert not desk.told("warning")
