"""One registry serves many machines: MLflow over PostgreSQL, with its artefacts in S3."""

import contextlib
import signal
import time

import httpx
import pytest

from spamctl.registry import registration, tracking
from spamctl.registry.registration import Record
from tests import tiny_packages
from tests.flows.conftest import Desk
from tests.mlflow_loaded import load_mlflow
from tests.ports import closed_port

pytestmark = [pytest.mark.scale, pytest.mark.postgres, pytest.mark.timeout(3_600)]

SECONDS = 300
NAME = "shared"
MESSAGE = "You are a winner you have been specially selected to receive $1000 cash or a $2000 award."


def until(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def client(registry):
    """Register two versions from a machine of their own, the first as champion, and lend the client."""
    load_mlflow()
    record = Record({}, {}, dataset=("own file", "tiny", "ab" * 32))
    with tracking.open_tracking(registry) as client:
        for threshold in (0.5, 0.6):
            run_id = registration.log_run(client, NAME, registry, record)
            files = tiny_packages.files("", MESSAGE, threshold=threshold)
            registration.register(client, NAME, registration.log_model(run_id, files), run_id, {})
        client.set_registered_model_alias(NAME, "champion", "1")
        yield client


@pytest.fixture
def machines(tmp_path_factory, registry):
    """Serve the champion from two folders, as on two machines, and give desk and address of each."""
    with contextlib.ExitStack() as stack:
        found = []
        for name in ("east", "west"):
            desk, port = Desk(tmp_path_factory.mktemp(name), covered=False), closed_port()
            words = ("serve", "--model-name", NAME, "--port", str(port), "--follow-seconds", "1", "--capture", "off")
            process = desk.start("-m", "spamctl", *words, "--threads", "1", MLFLOW_TRACKING_URI=registry)
            stack.callback(process.wait, SECONDS)
            stack.callback(process.send_signal, signal.SIGTERM)
            found.append((desk, process, f"http://127.0.0.1:{port}"))
        for desk, process, _ in found:
            until(lambda desk=desk, process=process: "Try it:" in desk.out or process.poll() is not None)
            assert process.poll() is None, desk.err
        yield [(desk, address) for desk, _, address in found]


def version_at(address):
    answer = httpx.post(f"{address}/invocations", json={"inputs": [{"text": MESSAGE}]}, timeout=60).json()
    return answer["predictions"][0]["model_version"]


def test_artefacts_are_in_s3_and_nowhere_else(client, s3):
    kept = s3.client().list_objects_v2(Bucket="registry", Prefix="mlflow/")["Contents"]
    names = [item["Key"] for item in kept]
    assert len({name for name in names if name.endswith("manifest.json")}) >= 2
    assert "s3" not in client.get_model_version(NAME, "1").source  # the server is asked, and needs no key from us


def test_two_servers_follow_the_champion_of_one_registry(client, machines):
    assert [version_at(address) for _, address in machines] == ["1", "1"]
    client.set_registered_model_alias(NAME, "champion", "2")
    for desk, address in machines:
        until(lambda address=address: version_at(address) == "2")
        until(lambda desk=desk: "now serving shared version 2 (before: 1)" in desk.err)
    client.set_registered_model_alias(NAME, "champion", "1")
    for _, address in machines:
        until(lambda address=address: version_at(address) == "1")
