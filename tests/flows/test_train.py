"""Trainings from a csv file to a registered version, or to a refusal that says why: the real command, a tiny GPT-2."""

import os
import re
import time
from functools import cache
from random import Random

import pytest

from spamctl.schema.message import NOT_SPAM, SPAM, Message
from tests import tiny_models
from tests.asking import answer_afresh
from tests.canary import leaks
from tests.flows.conftest import HUB_TOKEN, OWN, SECONDS, kill_family, write_messages
from tests.made_once import lay_store
from tests.ports import closed_port, silent_port

QUICK = ("--epochs", "1", "--engine", "float32")
STEPS = ["read", "depth", "tune", "package", "evaluate", "register"]
ALIASES = """
import json, mlflow
from mlflow import MlflowClient
client = MlflowClient("sqlite:///mlflow.db")
models = [] if not client.search_registered_models() else client.get_registered_model("spam").aliases
runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
print(json.dumps({"aliases": models, "runs": [{"id": r.info.run_id, "tags": r.data.tags, "params": r.data.params,
    "metrics": r.data.metrics, "name": r.info.run_name, "status": r.info.status,
    "lasted": (r.info.end_time or 0) - r.info.start_time,
    "files": [f.path for f in client.list_artifacts(r.info.run_id, "plots")],
    "losses": len(client.get_metric_history(r.info.run_id, "train_loss"))} for r in runs]}))
"""
ANSWERS = """
import json, mlflow
mlflow.set_tracking_uri("sqlite:///mlflow.db")
model = mlflow.pyfunc.load_model("models:/spam@champion")
info = mlflow.models.get_model_info("models:/spam@champion")
answers = model.predict([{"text": text} for text in TEXTS], params={"data_capture": False})
print(json.dumps({"answers": answers, "metadata": info.metadata}))
"""
FETCHED = """
import json, sys
from pathlib import Path
from spamctl.registry.versions import fetch
found = fetch("spam", "champion", Path(".spamctl/models").absolute())
print(json.dumps([found.version, found.remembered, "mlflow" in sys.modules]))
"""
CARDS = """
import json, sys
from metaflow import Run, namespace
from metaflow.cards import get_cards
namespace(None)
run = Run("TrainFlow/RUN")
shown = [step for step in run if step.id in ("choose_depth", "fine_tune", "register")]
cards = {step.id: {card.id: card.get() for card in get_cards(step.task)} for step in shown}
values = {step.id: {d.id: repr(d.data) for d in step.task} for step in run}
print(json.dumps({"cards": cards, "values": values}))
"""


@pytest.fixture(scope="session")
def training(lay):
    """Run a training when it is first asked for; return its desk and its exit code."""
    flags = ("--gate", "lower-bound", "--accuracy-threshold")
    words = {
        "registered": ("-m", "spamctl", "train", *OWN, *flags, "0.5"),
        "refused": ("-m", "spamctl", "train", *OWN, *QUICK, "--tune", "full", "--depth", "full", *flags, "1.0"),
        "direct": ("-m", "spamctl.flows.train", "--no-pylint", "run", "--accuracy-threshold", "0.7", *OWN, *QUICK,
                   "--tune", "lora", "--depth", "2", "--suites", "none"),
    }  # fmt: skip

    @cache
    def training(name):
        desk = lay(name, covered=name == "registered")
        if name != "registered":  # which makes its store itself
            lay_store(desk.folder)
        return desk, desk.ended(desk.start(*words[name]))

    return training


def wait_for(condition, process):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert process.poll() is None, "it ended too early"
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def resumed(lay):
    """Kill a training with all its processes as it fine-tunes, on a fallback model, and resume it."""
    desk = lay("resumed", covered=False)
    lay_store(desk.folder)
    fallback = (
        "--base-model",
        "gpt2",
        "--fallback-base-model",
        "./tiny-gpt2",
        "--depth",
        "2",
        "--tune",
        "head",
        "--head-units",
        "0",
    )
    long = ("--epochs", "40", "--patience", "40", "--batch-size", "4", "--engine", "float32")
    process = desk.train(*OWN, *fallback, *long)
    checkpoints = desk.path(".spamctl/checkpoints")
    wait_for(lambda: len(list(checkpoints.rglob("step-*.safetensors"))) > 1, process)
    kill_family(process)
    before = desk.events()
    newest = max(int(path.stem.partition("-")[2]) for path in checkpoints.rglob("step-*.safetensors"))
    code = desk.ended(desk.train("--resume"))
    assert code == 0, desk.err
    return desk, before, newest


@pytest.mark.long
def test_a_killed_training_goes_on_from_its_last_checkpoint_and_registers(resumed):
    desk, before, newest = resumed
    assert [event["stage"] for event in before if event["spamctl"] == "stage"] == ["read", "depth", "tune"]
    assert [event["stage"] for event in desk.told("stage")] == ["tune", "package", "evaluate", "register"]
    steps = [event["done"] for event in desk.told("progress") if event["task"] == "fine-tuning"]
    assert steps[0] == newest > 0
    assert f"fine-tuning goes on from step {newest}" in [event["text"] for event in desk.told("note")]
    assert "Registered as spam version 1" in desk.out


@pytest.mark.long
def test_a_fallback_is_said_loudly_everywhere(resumed):
    desk, before, _ = resumed
    (loud,) = [event["text"] for event in before if event["spamctl"] == "warning"]
    assert loud == "FALLBACK: gpt2 was not available, ./tiny-gpt2 is used instead"
    (result,) = desk.told("result")
    assert (result["fallback"], result["base_model"]) == (True, "./tiny-gpt2")
    assert "gpt2" in desk.out.partition("FALLBACK")[2]
    (run,) = desk.ask(ALIASES)["runs"]  # the killed training's, in which the resumed one went on
    assert (run["tags"]["fallback_for"], run["status"]) == ("gpt2", "FINISHED")
    assert desk.ask(ANSWERS.replace("TEXTS", "['ok']"))["metadata"]["fallback"] is True
    run = desk.ask(CARDS.replace("RUN", result["metaflow"]["run_id"]))
    assert "FALLBACK" in run["cards"]["register"]["evaluation"].upper()
    assert leaks(desk.folder, HUB_TOKEN) == []  # which the hub was shown in vain


@pytest.fixture(scope="session")
def registered(training):
    """Return the desk of a training that registered its model."""
    desk, code = training("registered")
    assert code == 0, desk.err
    return desk


@pytest.fixture(scope="session")
def refused(training):
    """Return the desk of a training whose model did not reach the threshold."""
    desk, code = training("refused")
    assert code == 3, desk.err
    return desk


@pytest.fixture(scope="session")
def store(registered):
    """Return what the store of the registered training holds."""
    return registered.ask(ALIASES)


@pytest.fixture(scope="session")
def steps(registered):
    """Return the cards and the values that the steps of the registered training left."""
    (result,) = registered.told("result")
    return registered.ask(CARDS.replace("RUN", result["metaflow"]["run_id"]))


def test_what_serving_fetches_first_lies_there_already(registered):
    assert registered.ask(FETCHED, answer_afresh) == ["1", False, False]


def test_the_steps_are_told_in_order_and_end_in_one_result(registered):
    assert [(event["stage"], event["index"], event["of"]) for event in registered.told("stage")] == [
        (name, index, 6) for index, name in enumerate(STEPS, start=1)
    ]
    (result,) = registered.told("result")
    assert result["registered"] is True
    assert result["gate"]["mode"] == "lower-bound"
    assert result["gate"]["accuracy"] > result["gate"]["low"] > 0.5
    assert set(STEPS) <= result["seconds"].keys()


def test_the_table_shows_scores_beside_the_baseline_and_the_next_command(registered):
    assert "Registered as spam version 1, now the champion" in registered.out
    assert re.search(r"accuracy +0\.\d{4}|accuracy +1\.0000", registered.out)
    for word in ("baseline", "95 % interval", "leakage", "block", "sqlite:///mlflow.db", "spamctl cards train"):
        assert word in registered.out
    assert "Traceback" not in registered.out + registered.err


def test_the_model_has_learnt_to_tell_them_apart(registered):
    (result,) = registered.told("result")
    assert result["scores"]["accuracy"]["value"] >= 0.9
    assert result["parity"]["changed"] == 0
    assert result["parity"]["max_delta"] < 1e-4
    assert result["leakage"] == {"exact": 0, "masked": 0}
    assert result["data"]["train"] + result["data"]["validation"] + result["data"]["test"] == 200


def test_the_run_in_mlflow_holds_parameters_curves_plots_and_where_it_comes_from(registered, store):
    (result,) = registered.told("result")
    (run,) = store["runs"]
    assert run["id"] == result["mlflow"]["run_id"]
    assert (run["name"], run["status"]) == ("spam: tiny-gpt2 on messages.csv", "FINISHED")
    assert run["lasted"] >= 1000 * sum(result["seconds"][step] for step in STEPS[:-1])
    assert run["tags"]["mlflow.source.name"] == "spamctl train"
    assert "tiny-gpt2, last-block tuned, on messages.csv (200 rows)" in run["tags"]["mlflow.note.content"]
    assert run["params"]["depth"] == "auto"
    assert run["params"]["used_depth"] == str(result["depth"])
    assert run["tags"]["metaflow.run_id"] == result["metaflow"]["run_id"]
    assert re.fullmatch(r"[0-9a-f]{64}", run["tags"]["data.sha256"])
    assert run["metrics"]["test_accuracy"] == result["scores"]["accuracy"]["value"]
    assert run["losses"] > 1
    assert {"plots/loss_curve.png", "plots/accuracy_by_depth.png", "plots/confusion_matrix.png"} <= set(run["files"])
    assert store["aliases"] == {"champion": 1} or store["aliases"] == {"champion": "1"}


def test_the_registered_model_answers(registered):
    texts = [message.text for message in tiny_models.messages(2)]
    told = registered.ask(ANSWERS.replace("TEXTS", repr(texts)))
    assert [answer["classification"] for answer in told["answers"]] == ["spam", "not spam"]
    assert told["answers"][0]["model_version"] == "1"
    assert told["metadata"]["base_model"]["name"] == "tiny-gpt2"


def test_each_step_that_shows_something_has_its_card(steps):
    cards = steps["cards"]
    assert list(cards["choose_depth"]) == ["depth"]
    assert list(cards["fine_tune"]) == ["loss"]
    assert list(cards["register"]) == ["evaluation"]
    assert "data:image/png;base64," in cards["choose_depth"]["depth"]
    assert "data:image/png;base64," in cards["register"]["evaluation"]
    assert "script src" not in cards["register"]["evaluation"]


def test_steps_pass_values_on_and_no_place_of_this_machine(registered, steps):
    known = {"name", "script_name", "origin_run_id"}
    for step, values in steps["values"].items():
        told = {name: value for name, value in values.items() if name not in known}
        assert not [name for name, value in told.items() if str(registered.folder) in value], step
    kept = [path for path in registered.path("mlruns").rglob("*") if path.is_file() and path.name != "MLmodel"]
    assert len(kept) > 10
    assert not [path for path in kept if os.fsencode(registered.folder) in path.read_bytes()]


def test_nothing_is_left_but_the_run_its_store_and_its_log(registered):
    assert {path.name for path in registered.folder.iterdir()} - {"home"} == {
        ".metaflow", ".spamctl", "err", "messages.csv", "mlflow.db", "mlflow.db.lock", "mlruns", "out", "tiny-gpt2",
    }  # fmt: skip
    assert not list(registered.path(".spamctl").rglob("*.safetensors"))


@pytest.mark.long
def test_a_model_under_the_threshold_is_not_registered_and_says_why(refused):
    (result,) = refused.told("result")
    assert result["registered"] is False
    last = refused.err.splitlines()[-1]
    assert re.fullmatch(r"spamctl: the lower bound of test accuracy 0\.\d+ is below --accuracy-threshold 1", last)
    assert "accuracy" in refused.out
    told = refused.ask(ALIASES)
    assert told["aliases"] == []
    assert "is below --accuracy-threshold 1" in told["runs"][0]["tags"]["gate"]
    assert not list(refused.path("mlruns").rglob("MLmodel"))


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_shuffled_labels_make_no_champion(lay, seed):
    desk = lay(f"shuffled-{seed}", covered=False)
    lay_store(desk.folder)
    texts, shuffled = [message.text for message in tiny_models.messages(200)], Random(seed)
    spam = set(shuffled.sample(texts, 30))
    write_messages(desk.path("messages.csv"), [Message(text, SPAM if text in spam else NOT_SPAM) for text in texts])
    words = ("--depth", "2", "--accuracy-threshold", "0.0")
    assert desk.ended(desk.train(*OWN, *QUICK, *words)) == 3, desk.err
    assert desk.ask(ALIASES)["aliases"] == []
    assert not list(desk.path("mlruns").rglob("MLmodel"))
    told = [
        "no better than chance",
        "catches none of",
        "calling every message not spam",
        "spam does not score higher than the rest",
    ]
    assert any(words in desk.err.splitlines()[-1] for words in told), desk.err
    assert "Traceback" not in desk.err + desk.out


@pytest.mark.long
def test_a_filter_that_fails_the_suites_is_registered_and_does_not_lead(lay):
    desk = lay("suites", covered=False)
    lay_store(desk.folder)
    own = desk.path("club.csv")
    own.write_text("text\n" + "\n".join(f"training moved to {n} o'clock" for n in range(1, 12)))
    words = ("--depth", "2", "--accuracy-threshold", "0.0", "--must-deliver", "club.csv")
    assert desk.ended(desk.train(*OWN, *QUICK, *words, SPAMCTL_TRAIN_SUITES="lead")) == 3, desk.err
    (result,) = desk.told("result")
    assert desk.ask(ALIASES)["aliases"] == {"challenger": 1}
    assert desk.err.splitlines()[-1].startswith("spamctl: it fails the suites: ")
    assert "club (yours)" in {line["name"] for line in result["suites"]["lines"]}
    assert "FAILS" in desk.out


@pytest.mark.long
def test_full_tuning_keeps_every_block_and_the_floats_that_were_asked_for(refused):
    (result,) = refused.told("result")
    assert (result["depth"], result["blocks"], result["tune"], result["engine"]) == (3, 3, "full", "float32")


@pytest.mark.long
def test_the_flow_can_be_run_without_the_command(training):
    desk, code = training("direct")
    assert code == 0, desk.out + desk.err
    (result,) = [event for event in desk.events(desk.out) if event["spamctl"] == "result"]
    assert result["registered"] is True
    assert (result["depth"], result["tune"]) == (2, "lora")
    assert result["scores"]["accuracy"]["value"] >= 0.7


def refusal(desk, code):
    """Return the one line with which a command was refused."""
    assert "Traceback" not in desk.err + desk.out
    last = desk.err.splitlines()[-1]
    assert last.startswith("spamctl: "), (code, desk.err)
    assert desk.out == ""
    return last


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--epochs", "0"), "--epochs: must be at least 1, got 0"),
        (("--depth", "deep"), "--depth: must be auto, full or a whole number"),
        (("--epoch", "3"), "--epochs"),
        (("--gate", "upper"), "--gate"),
    ],
)
def test_a_wrong_option_is_exit_code_2(desk, words, told):
    assert desk.ended(desk.train(*words)) == 2
    assert told in desk.err
    assert not desk.path(".metaflow").exists()


def test_a_missing_file_is_exit_code_2(desk):
    assert desk.ended(desk.train("--dataset", "none.csv")) == 2
    assert "none.csv" in refusal(desk, 2)


def test_a_file_of_one_class_is_exit_code_2(desk):
    write_messages(desk.path("messages.csv"), [m for m in tiny_models.messages(40) if not m.is_spam])
    assert desk.ended(desk.train(*OWN)) == 2
    assert "no row is labelled 'junk'" in refusal(desk, 2)


def test_no_base_model_and_no_fallback_is_exit_code_1(desk):
    words = (*OWN, "--base-model", "gpt2", "--fallback-base-model", "none")
    assert desk.ended(desk.train(*words)) == 1
    assert "--base-model gpt2: the hub does not answer" in refusal(desk, 1)


@pytest.mark.parametrize("silent", [False, True])
def test_an_unreachable_tracking_server_is_exit_code_1_within_15_seconds(desk, silent):
    with silent_port() as port:
        uri = f"http://127.0.0.1:{port if silent else closed_port()}"
        began = time.monotonic()
        assert desk.ended(desk.train(*OWN, MLFLOW_TRACKING_URI=uri)) == 1
        assert time.monotonic() - began <= 15
    assert "the tracking server does not answer" in refusal(desk, 1)
