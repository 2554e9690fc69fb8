"""Every step of a verb runs on a machine that has nothing but the code package, and values come from S3."""

import json
from pathlib import Path

import pytest

from spamctl.cli.remote import Words, planned
from spamctl.config.sources import from_yaml, validate
from spamctl.config.train import TrainOptions
from spamctl.store.database import open_store
from tests.flows.conftest import OWN, QUICK

pytestmark = [pytest.mark.scale, pytest.mark.postgres, pytest.mark.timeout(3_600)]

ROOT = Path(__file__).parents[2]
# The command, whose flows know one more decorator: it does what Kubernetes' does, on this machine.
DOOR = """
import sys

from spamctl.cli import app, run
usual = run.Flow.of.__func__
def of(cls, verb):
    flow = usual(cls, verb)
    return cls(flow.verb, flow.name, ("-m", "tests.scale.elsewhere", flow.command[-1]))
run.Flow.of = classmethod(of)
sys.exit(app.main())
"""


@pytest.fixture(scope="module")
def desk(lay):
    """Lay a desk with messages and a tiny model."""
    return lay("elsewhere", covered=False)


@pytest.fixture(scope="module")
def store(postgres):
    """Make a store for the answers in a database that each machine can reach, as a server would."""
    address = postgres.new_database()
    with open_store(address, create=True):
        return address


@pytest.fixture(scope="module")
def spamctl(desk, s3, registry):
    """Run a verb whose steps run elsewhere, and return its exit code."""
    variables = s3.variables(s3.bucket("values")) | {"MLFLOW_TRACKING_URI": registry, "PYTHONPATH": str(ROOT)}

    def run(*words, **more):
        command = ["-c", DOOR, *words, "--with", "elsewhere", "--datastore", "s3"]
        return desk.ended(desk.start(*command, **variables, **more))

    return run


def test_a_filter_lives_with_every_step_elsewhere(desk, spamctl, store):
    words = ("--forgotten", store)
    assert spamctl("train", *OWN, *QUICK, *words) == 0, desk.err + desk.log
    assert "Registered as spam version 1" in desk.out
    assert not list(desk.path(".spamctl").glob("handed-*"))  # what was handed on lasts as long as the run
    assert spamctl("score", "messages.csv", "--capture", store) == 0, desk.err + desk.log
    assert "200" in desk.out
    assert spamctl("label", "--target-uri", store, "--export", "none") == 0, desk.err + desk.log
    assert spamctl("label", "--target-uri", store, "--export", "labelled.csv", "--export-simulated") == 0, desk.err
    assert len(desk.path("labelled.csv").read_text().splitlines()) > 100
    assert spamctl("monitor", "--datastore-uri", store) in (0, 3), desk.err + desk.log
    (report,) = desk.path("reports").glob("*/index.html")
    assert report.parent.name in desk.path("reports/index.html").read_text()
    assert not list(desk.path(".spamctl").glob("monitor-*"))  # fetched, shown and removed


def test_a_large_model_asks_for_its_gpu_on_a_cluster(desk, s3):
    """What Argo would be given is written without a cluster, and says what each step asks of its machine."""
    pytest.importorskip("kubernetes", reason="Metaflow writes for Argo through it: uv pip install kubernetes")
    recipe = from_yaml(TrainOptions, ROOT / "configs/train/gpt2-large.yaml")
    options = validate(TrainOptions, [recipe.values])
    variables = s3.variables(s3.bucket("values")) | {"MLFLOW_TRACKING_URI": "http://mlflow:5001"}
    words = Words(["kubernetes:image=spamctl"], "s3")
    desk.path(".spamctl").mkdir(exist_ok=True)
    with planned(options, words, variables, desk.folder) as plan:
        command = ["-m", "spamctl.flows.train", "--no-pylint", *plan.words]
        command += ["argo-workflows", "create", "--only-json"]
        ours = {"METAFLOW_USER": "ada", "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(desk.folder), "PYTHONPATH": str(ROOT)}
        assert desk.ended(desk.start(*command, **variables, **plan.environment, **ours)) == 0, desk.err
    template = json.loads(desk.out[desk.out.index("{") :])
    steps = {"start", "choose-depth", "fine-tune", "package", "evaluate", "register", "end"}
    containers = {each["name"]: each["container"] for each in template["spec"]["templates"] if each["name"] in steps}
    assert containers.keys() == steps
    limits = {name: one["resources"]["limits"].get("nvidia.com/gpu") for name, one in containers.items()}
    memory = {name: one["resources"]["requests"]["memory"] for name, one in containers.items()}
    wanting = {"choose-depth", "fine-tune", "package"}
    assert {name: count for name, count in limits.items() if count} == dict.fromkeys(wanting, "1")
    assert {name for name, size in memory.items() if float(size.rstrip("M")) == 24_000} == wanting
    assert all("SPAMCTL_STEP_SETUP" in {each["name"] for each in one["env"]} for one in containers.values())
