"""Every step of a verb runs on a machine that has nothing but the code package, and values come from S3."""

from pathlib import Path

import pytest

from tests.flows.conftest import OWN, QUICK

pytestmark = [pytest.mark.scale, pytest.mark.postgres]

ROOT = Path(__file__).parents[2]
# The command, whose flows know one more decorator: it does what Kubernetes' does, on this machine.
DOOR = """
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
    """Name a database for the answers, which each machine can reach."""
    return postgres.new_database()


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
