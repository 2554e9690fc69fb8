"""A training's run in MLflow is open while it goes on, holds its losses as they come, and says how it ended."""

import platform
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from spamctl.registry import runs, tracking
from spamctl.registry.registration import Record
from spamctl.registry.runs import Live, Opening, begin_run, close_run, end_run, live_run
from tests.made_once import lay_store
from tests.mlflow_loaded import load_mlflow

pytestmark = pytest.mark.slow
CURVES = {"train_loss": [(1, 0.5), (2, 0.25), (3, 0.125)], "validation_loss": [(3, 0.375)]}
RECORD = Record({"epochs": 3}, {"test_accuracy": 0.98}, CURVES, dataset=("own file", "m.csv", "ab" * 32))


@pytest.fixture
def client(tmp_path, monkeypatch):
    load_mlflow()
    monkeypatch.chdir(tmp_path)
    lay_store(tmp_path)
    with tracking.open_tracking("sqlite:///mlflow.db") as client:
        yield client


def opening(run="17", origin=""):
    return Opening(
        "spam: tiny on m.csv", "Training of spam", time.time() - 60, (run, origin), {"epochs": 3}, {"a": "b"}
    )


def tick(step, loss, validation_loss=None):
    return SimpleNamespace(progress=SimpleNamespace(step=step, loss=loss, validation_loss=validation_loss))


def steps(client, run_id, name="train_loss"):
    return [(point.step, point.value) for point in client.get_metric_history(run_id, name)]


def test_an_open_run_says_what_it_is_before_anything_is_measured(client):
    run = client.get_run(begin_run("spam", opening()))
    assert (run.info.status, run.info.run_name) == ("RUNNING", "spam: tiny on m.csv")
    assert run.data.params == {"epochs": "3"}
    told = {name: run.data.tags[name] for name in ("mlflow.note.content", "mlflow.source.name", "metaflow.run_id", "a")}
    assert told == {
        "mlflow.note.content": "Training of spam",
        "mlflow.source.name": "spamctl train",
        "metaflow.run_id": "17",
        "a": "b",
    }


def test_a_closed_run_lasted_as_long_as_the_training_and_has_each_loss_once(client):
    run_id = begin_run("spam", opening())
    with live_run(run_id) as told:
        for given in (tick(1, 0.5), tick(2, 0.25), tick(2, float("nan"), 0.375), SimpleNamespace()):
            told.watch(given)
    assert told.fault == ""
    assert client.get_run(run_id).info.status == "RUNNING"
    assert steps(client, run_id) == CURVES["train_loss"][:2]
    close_run(client, run_id, RECORD)
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert 60_000 <= run.info.end_time - run.info.start_time < 120_000
    assert steps(client, run_id) == CURVES["train_loss"]
    assert run.data.metrics["test_accuracy"] == 0.98


def test_losses_are_seen_while_the_training_goes_on(client, monkeypatch):
    monkeypatch.setattr(runs, "SECONDS", 0.05)
    run_id = begin_run("spam", opening())
    deadline = time.monotonic() + 60
    with live_run(run_id) as told:
        told.watch(tick(1, 0.5))
        while not steps(client, run_id):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_training_that_goes_on_goes_on_in_its_run(client):
    run_id = begin_run("spam", opening("17"))
    with live_run(run_id) as told:
        told.watch(tick(1, 0.5))
    end_run(run_id, interrupted=True)
    assert client.get_run(run_id).info.status == "KILLED"
    assert begin_run("spam", opening("18", origin="17")) == run_id
    with live_run(run_id) as told:
        for step in (1, 2):  # what was told is told again
            told.watch(tick(step, 0.5 / step))
    assert client.get_run(run_id).info.status == "RUNNING"
    assert steps(client, run_id) == CURVES["train_loss"][:2]
    assert begin_run("spam", opening("19", origin="18' OR '1'='1")) != run_id


def test_a_training_that_fails_ends_its_run_and_says_why(client):
    run_id = begin_run("spam", opening())
    end_run(run_id, interrupted=False, reason="calibration: no")
    run = client.get_run(run_id)
    assert (run.info.status, run.data.tags["refusal"]) == ("FAILED", "calibration: no")


def test_a_store_that_takes_no_losses_stops_no_training(client):
    run_id = begin_run("spam", opening())
    client.delete_run(run_id)
    with Live(client, run_id) as told:
        told.watch(tick(1, 0.5))
    assert "deleted" in told.fault


def test_a_run_that_a_killed_training_left_open_is_closed_by_the_next(client):
    killed, open_still, elsewhere = (begin_run("spam", opening(run)) for run in ("1", "2", "3"))
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    client.set_tag(killed, runs.PROCESS_TAG, f"{platform.node()} {gone.pid} 1")
    client.set_tag(elsewhere, runs.PROCESS_TAG, f"another-machine {gone.pid} 1")
    last = begin_run("spam", opening("4"))
    states = [client.get_run(run_id).info.status for run_id in (killed, open_still, elsewhere, last)]
    assert states == ["KILLED", "RUNNING", "RUNNING", "RUNNING"]


def test_a_run_that_goes_on_is_of_the_process_that_goes_on_with_it(client):
    run_id = begin_run("spam", opening())
    client.set_tag(run_id, runs.PROCESS_TAG, f"{platform.node()} 1 1")
    with live_run(run_id):
        pass
    begin_run("spam", opening("18"))
    assert client.get_run(run_id).info.status == "RUNNING"
