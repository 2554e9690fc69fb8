"""Three replicas behind haproxy are one server: none of them is missed, and all of them give one version's answers."""

import os
import time

import psycopg
import pytest

from spamctl.store import queries
from spamctl.store.database import open_store
from tests import tiny_packages
from tests.faults.clients import ROWS, Load, in_turn
from tests.mlflow_loaded import load_mlflow
from tests.scale import site as sites
from tests.scale.site import PATIENCE_S, a_site, until
from tests.store import servers
from tests.store.test_survival import assert_whole, requests_stored

pytestmark = [pytest.mark.scale, pytest.mark.postgres, pytest.mark.slow, pytest.mark.timeout(3 * PATIENCE_S)]
CLIENTS = 6
MOVED_S = 6.0  # at a look a second; 10 s are promised
MOST_RETRIED = 0.01
CONNECTIONS = 6  # of a replica at most: one that writes, and five that read and label


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Lend a site to all tests of this file, which come one after the other."""
    if sites.haproxy() is None:
        pytest.skip(sites.MISSING)
    if servers.server_programs() is None:
        pytest.skip(servers.MISSING)
    load_mlflow()
    with servers.a_server() as server, a_site(tmp_path_factory.mktemp("site"), server.new_database()) as running:
        yield running


def busy():
    """Return how many times as much this machine has to do as it has cores, at least 1."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def answered(load, number):
    """Wait for so many more answers."""
    count = load.count
    until(lambda: load.count >= count + number)


def assert_answers_of_one_version(site, answers):
    """Hold that each answer is of one version, and says what that version says."""
    for answer in answers:
        assert len({row["model_version"] for row in answer.predictions}) == 1
        for text, row in zip(answer.asked.texts, answer.predictions, strict=True):
            expected = tiny_packages.probability(text, site.scales[row["model_version"]])
            assert row["probability"] == pytest.approx(expected, abs=1e-5)
            assert row["captured"]


def versions(site):
    return {replica.get("/version").json()["model_version"] for replica in site.replicas}


def test_a_champions_move_reaches_all_and_no_answer_mixes_versions(site):
    with Load(site.port, CLIENTS, name="move") as load:
        answered(load, 50)
        site.promote("2")
        began = time.monotonic()
        until(lambda: versions(site) == {"2"})
        took_s = time.monotonic() - began
        answered(load, 50)
        load.stop()
    assert load.statuses() == {200}
    assert_answers_of_one_version(site, load.answers)
    assert {row["model_version"] for answer in load.answers for row in answer.predictions} == {"1", "2"}
    assert load.answers[-1].predictions[0]["model_version"] == "2"
    print(f"the champion's move reached all replicas within {took_s:.1f} s")
    assert took_s < MOVED_S * busy()


def test_the_figures_of_the_replicas_add_up(site):
    stored = sum(requests_stored(site.store).values())
    rows = [replica.figure("spamctl_rows_total") for replica in site.replicas]
    assert all(rows)  # each has had its share
    assert sum(rows) == stored
    assert sum(replica.figure("spamctl_captured_rows_total") for replica in site.replicas) == stored
    told = [replica.get("/recent").json() for replica in site.replicas]
    assert {one["scope"] for one in told} == {"this replica"}
    assert [one["rows"] for one in told] == rows


def test_the_connections_of_a_replica_are_bounded(site):
    with psycopg.connect(site.store, autocommit=True) as connection, Load(site.port, 3 * CLIENTS, name="many") as load:
        most = 0
        for _ in range(10):
            answered(load, 10)
            for replica in site.replicas:
                replica.get("/recent")
            ours = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            most = max(most, connection.execute(ours).fetchone()[0])
        load.stop()
    assert 0 < most <= CONNECTIONS * len(site.replicas)


@pytest.fixture
def mortal(site):
    """Lend a replica that a test may kill; afterwards it is there again, for the tests to come."""
    replica = site.replicas[0]
    yield replica
    if replica.process.poll() is not None:
        replica.start()
    until(replica.is_ready)
    until(lambda: site.statistics()["act"] == str(len(site.replicas)))


def test_kill_9_of_a_replica_under_load_loses_nothing(site, mortal):
    before = len(site.tries())
    with Load(site.port, CLIENTS, name="kill") as load:
        answered(load, 300)
        mortal.kill()
        answered(load, 300)
        load.stop()
    until(lambda: len(site.tries()) >= before + load.count)
    retried = sum(tries > 1 for tries in site.tries()[before:])
    failed = [answer for answer in load.answers if answer.status != 200]
    print(f"{load.count} requests: {retried} repeated by haproxy, {len(failed)} by the client")
    again = in_turn(site.port, [answer.asked for answer in failed])
    assert all(answer.is_captured for answer in again)
    assert retried + len(failed) <= MOST_RETRIED * load.count
    assert_answers_of_one_version(site, [*load.of(200), *again])
    stored = {name: rows for name, rows in requests_stored(site.store).items() if name.startswith("kill-")}
    assert stored == dict.fromkeys((answer.asked.request_id for answer in load.answers), ROWS)
    assert_whole(site.store)


def test_a_rolling_restart_fails_no_request(site):
    with Load(site.port, CLIENTS, name="roll") as load:
        for replica in site.replicas:
            answered(load, 50)
            assert replica.stop() == 0
            answered(load, 50)
            replica.start()
            until(replica.is_ready)
            until(lambda: site.statistics()["act"] == str(len(site.replicas)))
        load.stop()
    assert load.statuses() == {200}
    assert_answers_of_one_version(site, load.answers)
    assert load.captured() == {answer.asked.request_id for answer in load.answers}
    with open_store(site.store) as store:
        uuids = [row["uuid"] for answer in load.answers[:500] for row in answer.predictions]
        assert queries.find(store, uuids).keys() == set(uuids)
    assert "Traceback" not in "".join(replica.log for replica in site.replicas)
