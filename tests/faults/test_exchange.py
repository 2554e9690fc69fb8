"""The version is exchanged while clients post, and none of them notices more than another version's verdict."""

import json
import shutil
import signal
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from sqlalchemy import select

from spamctl.serving.state import Release
from spamctl.store import tables
from spamctl.store.database import open_store
from tests.faults.clients import Asked, Load, figure, get, in_turn, once
from tests.faults.processes import CYCLES, PATIENCE_S, a_server, release, until

pytestmark = pytest.mark.timeout(3 * PATIENCE_S + 30 * CYCLES)


@pytest.fixture
def releases(tmp_path):
    """Name the file that the server follows."""
    return tmp_path / "releases.json"


def tell(releases, served, shadow=None):
    """Say which version is to be served now, and which shadows it, as the follower does."""
    draft = releases.with_suffix(".draft")
    draft.write_text(json.dumps({"served": asdict(served), "shadow": shadow and asdict(shadow)}), encoding="utf-8")
    draft.replace(releases)


def served(server):
    """Return the version that is served now."""
    return get(server.port, "/version").json()["model_version"]


def rows(answers):
    """Yield each text with what was answered to it, and when it was asked."""
    for answer in answers:
        for text, row in zip(answer.asked.texts, answer.predictions, strict=True):
            yield text, row, answer.left


def test_no_request_fails_and_each_answer_is_of_one_version(packages, releases):
    versions = dict(zip("12", packages, strict=True))
    since = []
    with a_server(packages[0], releases=str(releases)) as server, Load(server.port, 16) as load:
        for version in [*"21" * CYCLES, "2"]:
            until(lambda count=load.count: load.count > count + 50)
            tell(releases, release(versions[version], version))
            until(lambda version=version: served(server) == version)
            since.append(time.monotonic())
        until(lambda: any(answer.left > since[-1] for answer in load.of(200)))
        load.stop()
    assert load.statuses() == {200}
    answered = list(rows(load.answers))
    for text, row, left in answered:
        assert row["captured"]
        assert row["probability"] == pytest.approx(versions[row["model_version"]].probability(text), abs=1e-5)
        assert left < since[-1] or row["model_version"] == "2"
    assert {row["model_version"] for _, row, _ in answered} == {"1", "2"}
    with open_store("spam.db") as store, store.reading() as connection:
        stored = {row.uuid: row.model_version for row in connection.execute(select(tables.data))}
    assert stored == {row["uuid"]: row["model_version"] for _, row, _ in answered}
    assert "Traceback" not in server.told


def byte_changed(folder):
    file = folder / "model.bin"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def file_lost(folder):
    (folder / "model.xml").unlink()


def manifest_emptied(folder):
    (folder / "manifest.json").write_bytes(b"")


def test_a_version_that_cannot_be_served_leaves_the_old_one_in_its_place(packages, releases, tmp_path):
    damages = [byte_changed, file_lost, manifest_emptied, shutil.rmtree]
    with a_server(packages[0], releases=str(releases)) as server, Load(server.port, 8) as load:
        for failed, damage in enumerate(damages, 1):
            folder = shutil.copytree(packages[1].folder, tmp_path / f"damaged-{failed}")
            damage(folder)
            tell(releases, release(folder, "2"))
            until(lambda failed=failed: server.told.count("version 1 stays: another one cannot be served") == failed)
            assert served(server) == "1"
        releases.write_text('{"served": ', encoding="utf-8")
        until(lambda: server.told.count("version 1 stays") == len(damages) + 1)
        load.stop()
        assert {row["model_version"] for _, row, _ in rows(load.answers)} == {"1"}
        assert load.statuses() == {200}
        assert figure(server.port, 'spamctl_exchanges_total{outcome="failed"}') == len(damages) + 1
    assert "Traceback" not in server.told


def test_the_version_is_exchanged_though_nothing_can_be_told(packages, releases):
    with Path("/dev/full").open("w") as full, a_server(packages[0], stderr=full, releases=str(releases)) as server:
        for version, package in zip("2121", packages[::-1] * 2, strict=True):
            tell(releases, release(package, version))
            until(lambda version=version: served(server) == version, within_s=30)
        server.end(signal.SIGKILL)  # it could not say how it ended either


def test_a_shadow_that_cannot_be_served_holds_up_nothing_else(packages, releases, tmp_path):
    with a_server(packages[0], releases=str(releases)) as server:
        once(server.port, "hello")
        tasks = Path(f"/proc/{server.process.pid}/task")
        threads = len(list(tasks.iterdir())) + 1  # the one that makes the exchange stays
        for turn, (version, package) in enumerate(zip("2121", packages[::-1] * 2, strict=True), 1):
            tell(releases, release(package, version), release(tmp_path / "nowhere", "3"))
            until(lambda turn=turn: server.told.count("stays: another one cannot be served: nowhere") == turn)
            assert once(server.port, "hello", request_id=f"{turn}").predictions[0]["model_version"] == version
            assert figure(server.port, f'spamctl_model_version{{model="spam",version="{version}"}}') == 1
        until(lambda: len(list(tasks.iterdir())) <= threads)  # each old version has ended
    assert "Traceback" not in server.told


def test_what_the_shadow_would_have_said_is_stored_beside_what_was_said(packages, releases):
    asked = [
        Asked(f"asked-{number}", (f"Congratulations winner! {number}", f"Morning! {number}")) for number in range(20)
    ]
    shadow = Release("spam", "2", "challenger", str(packages[1]))
    with a_server(packages[0], shadow=shadow, releases=str(releases)) as server:
        answers = in_turn(server.port, asked)
        tell(releases, release(packages[0]), None)
        until(lambda: get(server.port, "/version").json()["shadow"] is None)
        in_turn(server.port, [Asked("without", ("hello",))])
        until(lambda: figure(server.port, "spamctl_shadow_rows_total") == 2 * len(asked))
    with open_store("spam.db") as store, store.reading() as connection:
        found = {row.uuid: row for row in connection.execute(select(tables.shadow_verdicts))}
    assert len(found) == 2 * len(asked)
    for text, row, _ in rows(answers):
        assert row["model_version"] == "1"
        assert row["probability"] == pytest.approx(packages[0].probability(text), abs=1e-5)
        assert found[row["uuid"]].model_version == "2"
        assert found[row["uuid"]].probability == pytest.approx(packages[1].probability(text), abs=1e-5)
