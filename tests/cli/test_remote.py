"""Metaflow's words are passed on, and what they need is checked before a flow starts."""

import json
import os
import tarfile
from pathlib import Path

import pytest

from spamctl.cli.process import child_environment
from spamctl.cli.remote import Words, kept_setup, planned
from spamctl.config.label import LabelOptions
from spamctl.config.score import ScoreOptions
from spamctl.config.serve import ServeOptions
from spamctl.config.train import TrainOptions
from spamctl.errors import UnavailableError, UsageError
from spamctl.schema.codec import from_json
from spamctl.schema.event import VARIABLE, StepSetup
from tests.ports import closed_port

STORE = "postgresql://ada@db/spam"
CLOUD = {"METAFLOW_DATASTORE_SYSROOT_AZURE": "container/metaflow", "MLFLOW_TRACKING_URI": "http://mlflow:5001"}
POD = Words(["kubernetes"], "azure")
LABEL = LabelOptions(target_uri=STORE)


def plan_of(options, words, variables=CLOUD):
    """Return the plan of a run, and what it hands to steps."""
    Path(".spamctl").mkdir(exist_ok=True)
    with planned(options, words, variables, Path.cwd()) as plan:
        told = plan.environment.get(VARIABLE)
        return plan, from_json(StepSetup, json.loads(told)) if told else None


def refusal(options, words, variables=CLOUD, kind=UsageError):
    with pytest.raises(kind) as caught:
        plan_of(options, words, variables)
    assert list(Path(".spamctl").iterdir()) == []
    return str(caught.value)


def test_without_a_word_runs_stay_here():
    plan, setup = plan_of(LabelOptions(), Words(), {})
    assert (plan.words, plan.is_remote, plan.told, setup) == ((), False, "", None)
    assert set(plan.environment.values()) == {"local", ""}


def test_a_word_for_steps_on_this_machine_asks_for_nothing_else():
    plan, setup = plan_of(LabelOptions(), Words(["resources:memory=8000", "retry"]), {})
    assert plan.words == ("--with", "resources:memory=8000", "--with", "retry")
    assert setup is None


def test_a_variable_of_metaflow_says_the_same_as_a_word():
    for name in ("METAFLOW_DEFAULT_DATASTORE", "METAFLOW_DATASTORE"):
        plan, _ = plan_of(LABEL, Words(), CLOUD | {name: "azure"})
        assert plan.environment["METAFLOW_DEFAULT_DATASTORE"] == "azure"
        assert plan.told == "values of the run: container/metaflow"
    plan, setup = plan_of(
        LABEL, Words(), CLOUD | {"METAFLOW_DEFAULT_DATASTORE": "azure", "METAFLOW_DECOSPECS": "kubernetes"}
    )
    assert plan.is_remote
    assert setup


def test_a_server_runs_where_it_is_started():
    plan, setup = plan_of(ServeOptions(), Words(), {"METAFLOW_DEFAULT_DECOSPECS": "kubernetes"})
    assert plan.environment["METAFLOW_DEFAULT_DECOSPECS"] == ""
    assert (plan.is_remote, setup) == (False, None)


@pytest.mark.parametrize(
    ("words", "variables", "told"),
    [
        (Words([], "gopher"), {}, "--datastore: must be local, s3, azure or gs, got 'gopher'"),
        (Words([], "", "cloud"), {}, "--metadata: must be local or service, got 'cloud'"),
        (
            Words(["kubernetes"]),
            {},
            "--with kubernetes: steps on other machines cannot read this folder; add --datastore s3, azure or gs",
        ),
        (
            Words([], "s3"),
            {},
            "--datastore s3: METAFLOW_DATASTORE_SYSROOT_S3 is not set; set it to s3://BUCKET/metaflow",
        ),
        (
            Words([], "s3"),
            {"METAFLOW_DATASTORE_SYSROOT_S3": "bucket"},
            "METAFLOW_DATASTORE_SYSROOT_S3: must be like s3://BUCKET/metaflow, got 'bucket'",
        ),
        (
            Words(["environment:A=1", "kubernetes"], "azure"),
            CLOUD,
            '--with environment: must be environment:vars={"NAME": "value"}, got \'A=1\'',
        ),
    ],
)
def test_a_word_that_cannot_work_is_one_line(words, variables, told):
    assert refusal(LABEL, words, variables) == told


def test_an_s3_server_that_does_not_answer_is_one_line():
    address = f"http://127.0.0.1:{closed_port()}"
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    variables = keys | {"METAFLOW_DATASTORE_SYSROOT_S3": "s3://values/m", "METAFLOW_S3_ENDPOINT_URL": address}
    assert refusal(LABEL, Words([], "s3"), variables, UnavailableError) == (
        f"s3://values at {address}: the S3 server does not answer (EndpointConnectionError); "
        "start it, or correct METAFLOW_S3_ENDPOINT_URL"
    )


def test_without_credentials_none_are_guessed(monkeypatch):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    variables = {"METAFLOW_DATASTORE_SYSROOT_S3": "s3://values/m", "METAFLOW_S3_ENDPOINT_URL": "http://127.0.0.1:1"}
    told = refusal(LABEL, Words([], "s3"), variables)
    assert told.startswith("s3://values at http://127.0.0.1:1: Unable to locate credentials; set AWS_ACCESS_KEY_ID")


def test_what_steps_elsewhere_cannot_reach_is_named_at_once():
    told = refusal(LabelOptions(), POD, {"METAFLOW_DATASTORE_SYSROOT_AZURE": "c/m"})
    assert told.splitlines() == [
        "MLFLOW_TRACKING_URI is not set: steps elsewhere need an MLflow server; set it to http://HOST:5001",
        "--target-uri spam.db: a file of this machine; steps elsewhere need postgresql://...",
    ]
    Path("spam.db").touch()
    assert "--forgotten spam.db" in refusal(TrainOptions(), POD)


def test_what_steps_elsewhere_write_comes_back_into_this_folder():
    told = refusal(LabelOptions(target_uri=STORE, export="/srv/labels.csv"), POD)
    assert told == "--export /srv/labels.csv: what steps elsewhere write comes back below this folder only"
    assert plan_of(LabelOptions(target_uri=STORE, export="out/labels.csv"), POD)[0].is_remote


def test_a_job_gets_variables_but_no_password():
    _, setup = plan_of(LABEL, POD, CLOUD | {"SPAMCTL_CACHE_DIR": "/cache", "HOME": "/home/ada", "METAFLOW_USER": "ada"})
    assert {"SPAMCTL_LABEL_TARGET_URI", "MLFLOW_TRACKING_URI", "SPAMCTL_CACHE_DIR", "PYTHONSAFEPATH"} <= {
        *setup.variables
    }
    assert not {"HOME", "METAFLOW_USER"} & {*setup.variables}
    closed = LabelOptions(target_uri="postgresql://ada:hush@db/spam")
    told = refusal(closed, POD)
    assert "hush" not in told
    assert told.startswith("SPAMCTL_LABEL_TARGET_URI: holds a password")
    plan, setup = plan_of(closed, Words(["kubernetes:secrets=spam"], "azure"))
    assert setup.secrets == ("SPAMCTL_LABEL_TARGET_URI",)
    assert "SPAMCTL_LABEL_TARGET_URI" not in setup.variables
    assert "hush" not in repr(plan)


def test_variables_given_for_the_steps_join_ours():
    plan, setup = plan_of(LABEL, Words(['environment:vars={"HF_TOKEN": "t", "MLFLOW_X": "1"}', "kubernetes"], "azure"))
    assert plan.environment["HF_TOKEN"] == "t"
    assert {"HF_TOKEN", "MLFLOW_X"} <= {*setup.variables}
    assert plan.words == ("--with", "kubernetes")


def test_files_that_options_name_are_handed_on(tmp_path):
    Path("mine.csv").write_text("text,label\n")
    Path("model").mkdir()
    Path("model/weights").write_bytes(b"1")
    Path(".spamctl").mkdir()
    options = TrainOptions(dataset="sms-spam,mine.csv", base_model="./model", forgotten="none")
    packed = []
    for moment in (1_000, 2_000):
        os.utime("mine.csv", (moment, moment))
        with planned(options, POD, CLOUD, Path.cwd()) as plan:
            (flag,) = (word for word in plan.words if word.startswith("--handed_files="))
            archive = Path(flag.partition("=")[2])
            assert archive.stat().st_mode & 0o077 == 0
            with tarfile.open(archive) as tar:
                assert tar.getnames() == ["mine.csv", "model", "model/weights"]
            packed.append(archive.read_bytes())
        assert not archive.exists()
    assert packed[0] == packed[1]
    told = refusal(ScoreOptions(messages=str(tmp_path / "mine.csv")), POD)
    link = f"link it: ln -s {tmp_path / 'mine.csv'} ."
    assert told == f"--messages {tmp_path / 'mine.csv'}: steps elsewhere get files of this folder only; {link}"


def test_a_run_elsewhere_is_resumed_with_what_its_steps_were_given():
    Path(".spamctl").mkdir()
    gpu = TrainOptions(device="cuda", forgotten="none")
    place = kept_setup(Path.cwd(), "TrainFlow", "17")
    with planned(gpu, POD, CLOUD, Path.cwd()) as plan:
        plan.keep(place)
    with planned(TrainOptions(), POD, CLOUD, Path.cwd(), place) as again:
        assert again.environment[VARIABLE] == plan.environment[VARIABLE]
        assert again.is_remote
    place.unlink()
    with (
        pytest.raises(UsageError, match=r"^--resume: the run's steps were on this machine"),
        planned(TrainOptions(), POD, CLOUD, Path.cwd(), place),
    ):
        pass


def test_a_step_with_a_gpu_asks_for_it():
    Path(".spamctl").mkdir()
    gpu = TrainOptions(device="cuda", step_memory=16_000, processes=2, forgotten="none")
    assert plan_of(gpu, POD)[1].resources == {
        "choose_depth": {"gpu": 1, "memory": 16_000},
        "package": {"gpu": 1, "memory": 16_000},
        "fine_tune": {"gpu": 2, "memory": 16_000},
    }
    assert plan_of(TrainOptions(forgotten="none"), POD)[1].resources == {}


def test_a_profile_of_metaflow_is_read_if_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".metaflowconfig").mkdir()
    config = tmp_path / ".metaflowconfig" / "config_team.json"
    config.write_text('{"METAFLOW_DEFAULT_DATASTORE": "s3", "METAFLOW_KUBERNETES_NAMESPACE": "spam"}')
    environment = child_environment({"METAFLOW_PROFILE": "team", "METAFLOW_DEFAULT_METADATA": "service"}, tmp_path)
    assert environment["METAFLOW_DEFAULT_DATASTORE"] == "s3"
    assert environment["METAFLOW_KUBERNETES_NAMESPACE"] == "spam"
    assert environment["METAFLOW_DEFAULT_METADATA"] == "service"
    assert "METAFLOW_PROFILE" not in environment
    config.write_text("[]")
    with pytest.raises(UsageError, match="is no JSON object; correct the variable, or unset it"):
        child_environment({"METAFLOW_PROFILE": "team"}, tmp_path)
