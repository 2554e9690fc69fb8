"""The serving image is built and run: it answers, captures to PostgreSQL and follows the registry, without torch."""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import httpx
import psycopg
import pytest

from spamctl.registry import registration, tracking
from tests import registered, tiny_models
from tests.deploy import containers
from tests.mlflow_loaded import load_mlflow
from tests.ports import closed_port
from tests.scale.servers import an_mlflow_server
from tests.store.conftest import postgres

__all__ = ["postgres"]

pytestmark = [pytest.mark.scale, pytest.mark.image, pytest.mark.postgres, pytest.mark.long, pytest.mark.timeout(1800)]

IMAGES = os.environ.get("SPAMCTL_TESTS_IMAGES", "")  # a folder that keeps base image and wheels for the next run
PATIENCE_S = 1500
TOKEN = "a-token-of-many-letters"
OFFER = tiny_models.messages(1)[0].text


def until(condition, describe=lambda: ""):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, describe()
        time.sleep(0.3)


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    """Return what builds images on a Debian of its own."""
    if why := containers.missing():
        pytest.skip(why)
    folder = Path(IMAGES) if IMAGES else tmp_path_factory.mktemp("images")
    folder.mkdir(exist_ok=True)
    builder = containers.Builder(folder)
    if f"{containers.BASE}:latest" not in builder.buildah("images", "--format", "{{.Name}}:{{.Tag}}"):
        builder.make_base()
    return builder


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    """Return the folder `image` of a deployment, written by the real command."""
    folder = tmp_path_factory.mktemp("deployment")
    variables = {
        "MLFLOW_TRACKING_URI": "http://mlflow:5000",
        "SPAMCTL_SERVE_TOKEN": TOKEN,
        "SPAMCTL_SERVE_DATASTORE_URI": "postgresql://db/spam",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    containers.call(sys.executable, "-m", "spamctl", "deploy", "--to", folder / "out", **variables)
    return folder / "out" / "image"


@pytest.fixture(scope="module")
def serving(builder, context, pip):
    """Return the serving image, built from wheels that pip has fetched as its lock says."""
    wheels = builder.folder / "wheels"
    words = ("download", "--quiet", "--no-deps", "--dest", wheels, "--find-links", wheels)
    done = pip(*words, "--requirement", context / "serve.lock")
    assert done.code == 0, done.err
    return builder.image(builder.build("serve", context, wheels))


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """Run MLflow's server over a folder, and return its address."""
    with an_mlflow_server(tmp_path_factory.mktemp("registry")) as address:
        yield address


def register(registry, threshold):
    """Register one more version of spam through the server."""
    load_mlflow()
    with tracking.open_tracking(registry) as client:
        run_id = registration.log_run(client, "spam", registry, registered.RECORD)
        model_uri = registration.log_model(run_id, registered.package(threshold))
        return registration.register(client, "spam", model_uri, run_id, {})


def promote(registry, version):
    with tracking.open_tracking(registry) as client:
        client.set_registered_model_alias("spam", "champion", version)


def status(address):
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(address, timeout=5).status_code
    return 0


def ask(address, token=TOKEN):
    answer = httpx.post(
        f"{address}/invocations", json={"inputs": [{"text": OFFER}]}, timeout=60,
        headers={"Authorization": f"Bearer {token}"},
    )  # fmt: skip
    return answer.json().get("predictions", [answer.status_code])[0]


def test_the_serving_image_holds_no_torch_and_is_not_root(serving):
    names = {path.name for path in (serving.root / "srv/spamctl/venv/lib").glob("python3.*/site-packages/*")}
    assert {"mlflow", "onnxruntime", "openvino", "psycopg"} <= names
    assert {"torch", "transformers", "nncf", "evidently"}.isdisjoint(names)
    assert serving.config["User"] == "10001:10001"
    assert serving.command == ["python", "-m", "spamctl", "serve"]


def test_an_image_without_a_token_says_so_in_a_line(serving):
    with containers.bundle(serving) as container:
        code, told = container.run()
    assert code == 2
    assert told.startswith("spamctl: --host 0.0.0.0: others can reach it and no token is set")
    assert told.count("\n") == 1


def test_the_image_answers_captures_follows_and_stops(serving, registry, postgres):
    first, second = register(registry, 0.5), register(registry, 0.6)
    promote(registry, first)
    store, port = postgres.new_database(), closed_port()
    address = f"http://127.0.0.1:{port}"
    variables = {
        "MLFLOW_TRACKING_URI": registry,
        "SPAMCTL_SERVE_TOKEN": TOKEN,
        "SPAMCTL_SERVE_DATASTORE_URI": store,
        "SPAMCTL_SERVE_ALLOWED_HOSTS": "*",
        "SPAMCTL_SERVE_PORT": str(port),
        "SPAMCTL_SERVE_FOLLOW_SECONDS": "1",
        "SPAMCTL_SERVE_THREADS": "1",
    }
    with containers.bundle(serving, variables=variables) as container:
        process = container.start()
        until(lambda: status(f"{address}/ready") == 200 or process.poll() is not None, container.log.read_text)
        assert process.poll() is None, container.log.read_text()
        assert ask(address, token="another-token-of-letters") == 401
        answer = ask(address)
        assert (answer["classification"], answer["model_version"]) == ("spam", first)
        assert answer["captured"] is True
        with psycopg.connect(store) as connection:
            assert connection.execute("SELECT uuid::text, text FROM data").fetchall() == [(answer["uuid"], OFFER)]
        promote(registry, second)
        until(lambda: ask(address)["model_version"] == second, container.log.read_text)
        container.kill(signal.SIGTERM)
        assert process.wait(60) == 0, container.log.read_text()
        assert "Every answer that said captured is in" in container.log.read_text()
