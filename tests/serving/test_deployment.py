"""Versions are exchanged while requests run, and none of them fails or is mixed."""

import threading
from pathlib import Path

import pytest

from spamctl.errors import ArtefactError
from spamctl.serving.state import Deployment, Deployments, Release
from tests import tiny_models, tiny_packages

TEXTS = [message.text for message in tiny_models.messages(20)]


@pytest.fixture
def release(tmp_path):
    """Return a way to make a release that differs by its threshold."""

    def made(version, threshold=0.5):
        folder = tiny_packages.write(tmp_path / f"v{version}", "", *TEXTS[:2], threshold=threshold)
        return Release("spam", version, "", str(folder))

    return made


@pytest.fixture
def opened():
    """Return a way to open deployments that are closed in the end."""
    every = []

    def made(served, shadow=None, **more):
        every.append(Deployments(served, shadow, threads=1, cached_rows=0, **more))
        return every[-1]

    yield made
    for one in every:
        one.close()


def test_a_deployment_says_what_it_is_and_answers(release):
    deployment = Deployment(release("1", 0.4), threads=1)
    (scored,) = deployment.submit(["win cash now"]).result(30)
    assert scored.verdict.probability == pytest.approx(tiny_packages.probability("win cash now"), abs=1e-6)
    assert (deployment.threshold, deployment.release.version, deployment.waiting) == (0.4, "1", 0)
    assert deployment.golden_delta < 1e-6
    deployment.close()


def test_the_same_release_is_not_loaded_again(release, opened):
    served = release("1")
    deployments = opened(served)
    before = deployments.current
    assert deployments.exchange(served, None) is False
    assert deployments.current is before


def test_a_request_keeps_the_version_that_it_began_with(release, opened):
    deployments = opened(release("1"))
    new = release("2")
    with deployments.hold() as held:
        exchange = threading.Thread(target=deployments.exchange, args=(new, None))
        exchange.start()
        while deployments.current is held:
            exchange.join(0.01)
        assert held.submit(TEXTS).result(30)
        assert exchange.is_alive()
    exchange.join(30)
    assert not exchange.is_alive()
    assert deployments.current.release == new


def test_no_request_fails_while_versions_are_exchanged(release, opened):
    deployments, failures, seen, stop = opened(release("1")), [], set(), threading.Event()

    def ask():
        while not stop.is_set():
            try:
                with deployments.hold() as deployment:
                    seen.add(deployment.release.version)
                    assert len(deployment.submit(TEXTS).result(30)) == len(TEXTS)
            except Exception as error:
                failures.append(error)

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    for version in ("2", "3", "4"):
        assert deployments.exchange(release(version), None)
    stop.set()
    for asker in askers:
        asker.join()
    assert failures == []
    assert {"1", "4"} <= seen | {deployments.current.release.version}


def test_a_release_that_cannot_be_loaded_leaves_what_is_served(release, opened):
    deployments, damaged = opened(release("1")), release("2")
    before = deployments.current
    file = Path(damaged.folder, "model.bin")
    file.write_bytes(file.read_bytes() + b"!")
    with pytest.raises(ArtefactError, match=r"model\.bin"):
        deployments.exchange(damaged, None)
    assert deployments.current is before
    assert before.submit(["ok"]).result(30)


def test_a_shadow_comes_changes_and_goes(release, opened):
    served, second, third = release("1"), release("2"), release("3")
    deployments = opened(served, second)
    assert deployments.shadow.release == second
    assert deployments.exchange(served, third)
    assert deployments.shadow.release == third
    assert deployments.exchange(third, None)
    assert (deployments.current.release, deployments.shadow) == (third, None)
