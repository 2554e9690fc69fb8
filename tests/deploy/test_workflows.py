"""Argo's templates hold the user's options and no secret, and their commands run in the image, step by step."""

import base64
import json
import os
import re
import sys
from dataclasses import asdict
from pathlib import Path

import psycopg
import pytest
import yaml
from sqlalchemy import insert

from spamctl.store import tables
from spamctl.store.database import open_store
from tests.deploy import containers
from tests.deploy.conftest import VARIABLES
from tests.deploy.test_image import builder, context, registry
from tests.each import each
from tests.store import made_rows
from tests.store.conftest import postgres

__all__ = ["builder", "context", "postgres", "registry"]

pytestmark = [pytest.mark.scale, pytest.mark.timeout(1800)]

BRACES = re.compile(r"\{\{(.+?)\}\}")
ODD = '\'; echo "$(id)" `id` \\ #é'
TRAIN = f"model_name: mine\nepochs: 7\nlearning_rate: 5e-5\nheader: false\nspam_label: {json.dumps(ODD)}\n"


@pytest.fixture(scope="session")
def s3():
    """Run an S3 server for all tests."""
    pytest.importorskip(
        "kubernetes", reason="Metaflow writes workflows with it: pip install kubernetes, or make test-scale"
    )
    swift = pytest.importorskip("tests.scale.swift", reason="no S3 server to start")
    if swift.programs() is None:
        pytest.skip(swift.MISSING)
    with swift.an_s3_server() as server:
        yield server


@pytest.fixture(scope="session")
def bucket(s3):
    """Return the variables that lead to a bucket for deployments."""
    return s3.variables(s3.bucket("deployments"))


@pytest.fixture
def written(deploy, bucket):
    """Return a way to write a deployment with workflows: their objects by verb and kind."""

    def write(*flags, more=(), **values):
        done = deploy(
            "--datastore", "s3://deployments/flows", *flags, variables=VARIABLES | bucket | dict(more), **values
        )
        assert done.code == 0, done.err
        return {
            (path.stem, one["kind"]): one
            for path in Path("out/workflows").iterdir()
            for one in yaml.safe_load_all(path.read_text(encoding="utf-8"))
        }

    return write


def parameters(template):
    return {one["name"]: json.loads(one["value"]) for one in template["spec"]["arguments"]["parameters"]}


def test_templates_hold_the_users_options(written):
    objects = written("--monitor-schedule", "7 * * * *", "--step-cpus", "3", train=TRAIN, monitor="since: 2d\n")
    assert objects.keys() == {
        *((verb, "WorkflowTemplate") for verb in ("train", "label", "monitor")),
        ("monitor", "CronWorkflow"),
    }
    train = parameters(objects["train", "WorkflowTemplate"])
    assert (train["model-name"], train["epochs"], train["learning-rate"]) == ("mine", 7, 5e-5)
    assert (train["header"], train["spam-label"], train["batch-size"]) == (False, ODD, 32)
    assert parameters(objects["monitor", "WorkflowTemplate"])["since"] == "2d"
    assert objects["monitor", "CronWorkflow"]["spec"]["schedules"] == ["7 * * * *"]
    named = objects["monitor", "CronWorkflow"]["spec"]["workflowSpec"]["workflowTemplateRef"]["name"]
    assert named == objects["monitor", "WorkflowTemplate"]["metadata"]["name"] == "spamctl-monitor"
    spec = objects["train", "WorkflowTemplate"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    used = [one["container"] for one in spec["templates"] if "container" in one]
    assert {one["image"] for one in used} == {"spamctl-jobs:0.2.0"}
    assert {one["resources"]["requests"]["cpu"] for one in used} == {"3"}
    assert list({(e["name"], e["value"]) for one in used for e in one["env"][-3:-2]}) == [("OMP_NUM_THREADS", "3")]
    assert {one["envFrom"][0]["secretRef"]["name"] for one in used} == {"spamctl-jobs"}


def test_messages_to_score_make_a_fourth_workflow(written):
    options = "messages: s3://mails/inbox.jsonl\noutput: s3://mails/verdicts/\nworkers: 4\n"
    objects = written("--score-schedule", "0 4 * * *", score=options)
    given = parameters(objects["score", "WorkflowTemplate"])
    assert (given["messages"], given["output"]) == ("s3://mails/inbox.jsonl", "s3://mails/verdicts/")
    assert given["workers"] == 4
    assert objects["score", "CronWorkflow"]["spec"]["schedules"] == ["0 4 * * *"]


def test_argos_own_models_know_every_key(written):
    models = pytest.importorskip("hera.workflows.models", reason="pip install hera, or make test-scale")
    objects = written("--label-schedule", "5 * * * *", train=TRAIN)
    for (_, kind), one in objects.items():
        known = getattr(models, kind).model_validate(one)
        assert known.model_dump(mode="json", by_alias=True, exclude_none=True) == one


def test_argos_models_do_lose_a_wrong_key(written):
    models = pytest.importorskip("hera.workflows.models", reason="pip install hera, or make test-scale")
    cron = written("--label-schedule", "5 * * * *")["label", "CronWorkflow"]
    cron["spec"]["every"] = []
    known = models.CronWorkflow.model_validate(cron)
    assert known.model_dump(mode="json", by_alias=True, exclude_none=True) != cron


def test_no_secret_stands_in_a_workflow_and_steps_have_theirs(written, bucket):
    written(more={"SPAMCTL_MONITOR_WEBHOOK": "https://hooks.example.org/sekrit"})
    for path in Path("out/workflows").iterdir():
        told = path.read_text(encoding="utf-8")
        assert not [secret for secret in ("w0rd", "sekrit", bucket["AWS_SECRET_ACCESS_KEY"] + "\n") if secret in told]
    server, jobs = yaml.safe_load_all(Path("out/secret.yaml").read_text(encoding="utf-8"))
    assert server["stringData"] == VARIABLES
    assert jobs["metadata"]["name"] == "spamctl-jobs"
    assert "SPAMCTL_SERVE_TOKEN" not in jobs["stringData"]
    store = VARIABLES["SPAMCTL_SERVE_DATASTORE_URI"]
    assert (
        jobs["stringData"]["SPAMCTL_MONITOR_DATASTORE_URI"] == jobs["stringData"]["SPAMCTL_LABEL_TARGET_URI"] == store
    )
    assert jobs["stringData"]["SPAMCTL_MONITOR_WEBHOOK"] == "https://hooks.example.org/sekrit"
    assert jobs["stringData"]["AWS_SECRET_ACCESS_KEY"] == bucket["AWS_SECRET_ACCESS_KEY"]


@each(
    ("changed", "folder", "told"),
    [
        (
            {},
            "s3://no-such-bucket/flows",
            "--datastore s3://no-such-bucket/flows: Metaflow wrote no workflow for train",
        ),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "s3://deployments/flows", "--datastore s3://deployments/flows: Metaflow"),
    ],
)
def test_storage_that_refuses_is_one_line(deploy, bucket, changed, folder, told):
    done = deploy("--datastore", folder, variables=VARIABLES | bucket | changed)
    assert done.code == 1
    assert done.err.startswith(f"spamctl: {told}")
    assert done.err.count("\n") == 1
    assert not Path("out").exists()


class Argo:
    """Runs the steps of a template one after the other, each in a container of its own, as Argo would."""

    def __init__(self, template, image, variables, mounts):
        self.spec, self.image, self.variables, self.mounts = template["spec"], image, variables, mounts
        self.templates = {one["name"]: one for one in self.spec["templates"]}
        self.told = {"workflow.name": "run-1", "workflow.creationTimestamp": "2026-11-30T20:00:00Z"}
        self.given = {one["name"]: one["value"] for one in self.spec["arguments"]["parameters"]}

    def filled(self, text, inputs):
        """Put in what Argo puts in for double braces."""

        def value(found):
            if function := re.fullmatch(r"=toBase64\(workflow\.parameters\['(.+)'\]\)", found[1]):
                return base64.b64encode(self.given[function[1]].encode()).decode()
            return (self.told | inputs)[found[1]]

        return BRACES.sub(value, text)

    def run(self, folder):
        """Run every step, and return what each said."""
        (dag,) = [one["dag"] for one in self.spec["templates"] if "dag" in one]
        done, said = set(), {}
        for task in dag["tasks"]:
            needed = task["depends"].removesuffix(".Succeeded")
            assert not needed or needed in done
            given = task["arguments"]["parameters"]
            inputs = {f"inputs.parameters.{one['name']}": self.filled(one["value"], {}) for one in given}
            said[task["name"]] = self._run_step(task["name"], self.templates[task["template"]], inputs, folder)
            done.add(task["name"])
        return said

    def _run_step(self, name, template, inputs, folder):
        out = folder / f"out-{name}"
        out.mkdir()
        os.chown(out, containers.USER, containers.USER)
        container = template["container"]
        # What has no value of its own is a field of the pod.
        variables = {one["name"]: self.filled(one.get("value", "a-pod"), inputs) for one in container["env"]}
        mounts = [{"destination": "/mnt/out", "source": str(out), "type": "bind", "options": ["rbind"]}, *self.mounts]
        with containers.bundle(self.image, variables=variables | self.variables, mounts=mounts) as one:
            code, told = one.run(*(self.filled(word, inputs) for word in container["command"]), timeout=900)
        assert code == 0, told
        for parameter in template.get("outputs", {}).get("parameters", []):
            value = (out / Path(parameter["valueFrom"]["path"]).name).read_text(encoding="utf-8").strip()
            self.told[f"tasks.{name}.outputs.parameters.{parameter['name']}"] = value
        return told


@pytest.fixture
def jobs(builder, context, tmp_path):
    """Return the image of the flows, and the mount that brings this environment's packages in the place of its own.

    All else is as the Containerfile says; installing two gigabytes of packages would prove what installing 121 does.
    """
    if sys.version_info[:2] != (3, 11):
        pytest.skip("the packages of another Python than Debian's cannot be lent to its image")
    lock = context / "jobs.lock"
    before = lock.read_text(encoding="utf-8")
    lock.write_text("", encoding="utf-8")
    try:
        image = builder.image(builder.build("jobs", context, tmp_path))
    finally:
        lock.write_text(before, encoding="utf-8")
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    place = next((image.root / "srv/spamctl/venv/lib").glob("python3.*/site-packages"))
    inside = f"/{place.relative_to(image.root)}"
    return image, [{"destination": inside, "source": packages, "type": "bind", "options": ["rbind", "ro"]}]


@pytest.mark.image
@pytest.mark.long
@pytest.mark.postgres
def test_the_commands_of_a_template_run_in_the_image_in_their_order(
    written, bucket, jobs, registry, postgres, tmp_path
):
    address = postgres.new_database()
    with open_store(address, create=True) as store, store.writing() as connection:
        connection.execute(insert(tables.data), [asdict(one) for one in made_rows.rows(12)])
    template = written(label="source: predictions\nground_truth_quality: 1.0\n")["label", "WorkflowTemplate"]
    image, mounts = jobs
    secrets = {
        **{name: value for name, value in bucket.items() if name.startswith("AWS_")},
        "MLFLOW_TRACKING_URI": registry,
        "SPAMCTL_LABEL_TARGET_URI": address,
    }
    said = Argo(template, image, secrets, mounts).run(tmp_path)
    assert list(said) == ["start", "end"]
    assert '"verb": "label"' in said["end"]
    with psycopg.connect(address) as connection:
        assert connection.execute("SELECT count(*), min(label_source) FROM data").fetchone() == (12, "simulated")
