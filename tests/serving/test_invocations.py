"""A message is scored, kept, and only then answered; who asks too much or too late is told so."""

import json
import sqlite3
import threading
import time
from pathlib import Path

import httpx
import pytest

from spamctl.engine.manifest import digest
from spamctl.serving.access import Access
from spamctl.serving.state import Deployment, Limits, Release
from spamctl.store import deletion, queries
from tests import tiny_models, tiny_packages
from tests.served import served

OFFER, QUESTION = [message.text for message in tiny_models.messages(2)]
LONG = "win " * 40
FOREIGN = "bihar arratsaldean elkartuko gara plazan"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served(tmp_path_factory.mktemp("invocations")) as running:
        yield running


def post(server, texts, headers=None, **params):
    body = {"inputs": [{"text": text} for text in texts]} | ({"params": params} if params else {})
    return httpx.post(f"{server.address}/invocations", json=body, headers=headers or {}, timeout=60)


def predictions(server, texts, headers=None, **params):
    answer = post(server, texts, headers, **params)
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


def stored(server):
    return queries.count(server.service.archive.store)


def test_an_answer_is_what_the_engine_says_and_what_the_store_keeps(server):
    answers = predictions(server, [OFFER, QUESTION])
    assert [answer["classification"] for answer in answers] == ["spam", "not spam"]
    assert answers[0]["probability"] == pytest.approx(tiny_packages.probability(OFFER), abs=1e-6)
    assert answers[0].keys() == {
        "classification", "probability", "uuid", "model_version", "captured", "truncated", "in_reach",
    }  # fmt: skip
    found = queries.find(server.service.archive.store, [answer["uuid"] for answer in answers])
    for answer, text in zip(answers, [OFFER, QUESTION], strict=True):
        row = found[answer["uuid"]]
        assert (row.text, row.classification, row.probability) == (
            text,
            answer["classification"],
            answer["probability"],
        )
        assert (row.model_name, row.model_version, row.source, row.ground_truth) == ("spam", "1", "serve", None)
        assert row.latency_ms > 0


def test_a_text_beyond_the_window_says_that_it_was_cut(server):
    (short, long) = predictions(server, [LONG, "win " * (tiny_packages.WINDOW + 1)])
    assert (short["truncated"], long["truncated"]) == (False, True)


def test_a_retry_under_the_same_id_is_written_once(server):
    before = stored(server)
    first, again = (predictions(server, [OFFER, OFFER], {"X-Request-Id": "retry-1"}) for _ in range(2))
    assert [answer["uuid"] for answer in first] == [answer["uuid"] for answer in again]
    assert len({answer["uuid"] for answer in first}) == 2
    assert stored(server) == before + 2
    assert predictions(server, [OFFER], {"X-Request-Id": "retry-2"})[0]["uuid"] != first[0]["uuid"]


def test_a_retry_after_the_champion_moved_is_told_what_is_stored(server, tmp_path):
    before = server.service.deployments.current.release
    package = tiny_packages.write(tmp_path / "package", scale=-4.0)  # calls spam what the other one lets pass
    other = Release("spam", "2", "champion", str(package), digest(package))
    first = predictions(server, [OFFER, QUESTION], {"X-Request-Id": "moved"}, explain=True)
    assert server.service.deployments.exchange(other, None)
    try:
        again = predictions(server, [OFFER, QUESTION], {"X-Request-Id": "moved"}, explain=True)
        new = predictions(server, [OFFER, QUESTION], {"X-Request-Id": "not-moved"}, explain=True)
    finally:
        server.service.deployments.exchange(before, None)
    bare = [{name: told for name, told in one.items() if name != "explanation"} for one in first]
    assert again == bare  # no word of the new version is behind the verdict of the old one
    assert [one["model_version"] for one in (*again, *new)] == ["1", "1", "2", "2"]
    assert [one["classification"] for one in (*again, *new)] == ["spam", "not spam", "not spam", "spam"]
    assert all(one["captured"] for one in (*again, *new))
    assert [one["explanation"] != [] for one in (*first, *new)] == [True] * 4
    kept = queries.find(server.service.archive.store, [one["uuid"] for one in (*again, *new)])
    for one, of in [*((one, before) for one in again), *((one, other) for one in new)]:
        row = kept[one["uuid"]]
        assert (row.classification, row.probability, row.model_version) == (
            one["classification"],
            one["probability"],
            one["model_version"],
        )
        assert row.package_sha256 == digest(Path(of.folder))
    newest = httpx.get(f"{server.address}/recent").json()["verdicts"]
    shown = {one["uuid"]: (one["classification"], one["model_version"]) for one in newest}
    assert [shown[one["uuid"]] for one in again] == [("spam", "1"), ("not spam", "1")]


@pytest.mark.parametrize(("way", "verdict"), [("deliver", "not spam"), ("judge", "spam")])
def test_a_message_out_of_reach_is_delivered_or_judged_and_counted_and_kept(tmp_path, way, verdict):
    with served(tmp_path, out_of_reach=way, reach=0.5, threshold=0.01) as server:
        known, foreign = predictions(server, [OFFER, FOREIGN], {"X-Request-Id": "reach"})
        assert (known["in_reach"], known["classification"]) == (True, "spam")
        assert (foreign["in_reach"], foreign["classification"]) == (False, verdict)
        assert foreign["probability"] == pytest.approx(tiny_packages.probability(FOREIGN), abs=1e-6)
        assert predictions(server, [OFFER, FOREIGN], {"X-Request-Id": "reach"}) == [known, foreign]
        row = queries.find(server.service.archive.store, [foreign["uuid"]])[foreign["uuid"]]
        assert (row.in_reach, row.classification) == (False, verdict)
        figures = httpx.get(f"{server.address}/metrics").text
        assert 'spamctl_out_of_reach_rows_total{version="1"} 2.0' in figures
        assert f'spamctl_rows_total{{verdict="{verdict}",version="1"}}' in figures


@pytest.mark.parametrize(("wish", "rows"), [(True, 1), (False, 0)])
def test_a_request_chooses_whether_it_is_kept(server, wish, rows):
    before = stored(server)
    (answer,) = predictions(server, [OFFER], data_capture=wish)
    assert answer["captured"] is wish
    assert stored(server) == before + rows


def test_without_a_store_nothing_is_kept_and_nothing_is_claimed(tmp_path):
    with served(tmp_path, capture=False) as running:
        assert predictions(running, [OFFER], data_capture=True)[0]["captured"] is False
    assert not (tmp_path / "spam.db").exists()


def test_a_verdict_is_explained_by_its_words(server):
    (answer,) = predictions(server, ["Get shall"], explain=True)
    get, shall = answer["explanation"]
    assert (get["word"], get["start"], get["end"]) == ("Get", 0, 3)
    assert (shall["word"], shall["start"], shall["end"]) == ("shall", 4, 9)
    weights = tiny_packages.words()
    together = 4 * (weights["Get"] + weights["shall"]) / 2
    assert get["push"] == pytest.approx(together - 4 * weights["shall"], abs=1e-5)
    assert "explanation" not in predictions(server, ["Get shall"])[0]


def test_explaining_many_rows_is_refused(server):
    answer = post(server, ["win"] * 11, explain=True)
    assert answer.status_code == 400
    assert answer.json()["message"] == "params.explain: takes at most 10 rows, got 11; send them in parts"


class Slow:
    """Keep a server's engine busy until it is let go."""

    def __init__(self, deployment):
        self._scorer = deployment._scorer
        self._engine = self._scorer._engine
        self.go, self.reached = threading.Event(), threading.Event()

    def __enter__(self):
        self._scorer._engine = self
        return self

    def __exit__(self, *_):
        self.go.set()
        self._scorer._engine = self._engine

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def logits(self, rows, **how):
        self.reached.set()
        assert self.go.wait(60)
        return self._engine.logits(rows, **how)


def test_who_comes_when_all_places_are_taken_is_told_to_come_again(tmp_path):
    with (
        served(tmp_path, limits=Limits(in_flight=2)) as running,
        Slow(running.service.deployments.current) as slow,
    ):
        answers = []
        askers = [threading.Thread(target=lambda: answers.append(post(running, [OFFER]))) for _ in range(2)]
        for asker in askers:
            asker.start()
        while running.service.in_flight < 2:
            slow.reached.wait(0.01)
        refused = post(running, [OFFER])
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert httpx.get(f"{running.address}/ping").status_code == 200
        slow.go.set()
        for asker in askers:
            asker.join()
        assert [answer.status_code for answer in answers] == [200, 200]
        assert post(running, [OFFER]).status_code == 200


def test_what_takes_too_long_is_given_up_and_not_kept(tmp_path):
    with (
        served(tmp_path, limits=Limits(timeout_s=0.2)) as running,
        Slow(running.service.deployments.current),
    ):
        late = post(running, [OFFER])
        assert late.status_code == 504
        assert late.json()["error_code"] == "DEADLINE_EXCEEDED"
        assert stored(running) == 0
        assert running.service.in_flight == 0


def test_an_engine_that_breaks_is_500_that_gives_nothing_away_and_the_next_is_answered(tmp_path, caplog):
    class Broken(Slow):
        def logits(self, *_, **__):
            raise RuntimeError(OFFER)

    with served(tmp_path) as running:
        with Broken(running.service.deployments.current):
            answer = post(running, [OFFER])
        assert answer.status_code == 500
        assert OFFER not in answer.text
        assert OFFER not in caplog.text
        assert answer.json()["request_id"] in caplog.text
        assert post(running, [OFFER]).status_code == 200


def test_a_shadow_scores_what_was_kept_and_answers_nothing(server, tmp_path):
    deployments = server.service.deployments
    release = Release("spam", "2", "challenger", str(tiny_packages.write(tmp_path / "shadow", threshold=0.99)))
    deployments.shadow = Deployment(release, threads=1)
    try:
        (kept,), (left,) = predictions(server, [OFFER]), predictions(server, [OFFER], data_capture=False)
        assert kept["model_version"] == left["model_version"] == "1"
        until(lambda: not server.service._background)
        with sqlite3.connect(server.database) as connection:
            rows = connection.execute("SELECT uuid, model_version, probability FROM shadow_verdicts").fetchall()
        connection.close()
    finally:
        deployments.shadow.close()
        deployments.shadow = None
    assert rows == [(kept["uuid"], "2", pytest.approx(kept["probability"], abs=1e-6))]


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_a_server_with_a_token_answers_who_has_it(tmp_path):
    token = "a-token-of-32-characters-for-this"
    with served(tmp_path, access=Access(token)) as running:
        assert post(running, [OFFER]).status_code == 401
        assert post(running, [OFFER], {"Authorization": f"Bearer {token}"}).status_code == 200
        assert httpx.get(f"{running.address}/recent", auth=("me", token)).json()["rows"] == 1


def test_what_was_removed_from_the_store_is_shown_and_held_no_more(server):
    kept, gone = predictions(server, [QUESTION, "a canary sings"])
    before = httpx.get(f"{server.address}/recent").json()["verdicts"]
    assert [verdict["text"] for verdict in before if verdict["uuid"] in {kept["uuid"], gone["uuid"]}] == [
        "a canary sings", QUESTION,
    ]  # fmt: skip
    assert "canary" not in server.service.recent.activity().to_json()  # what siblings tell each other
    deletion.forget(server.service.archive.store, gone["uuid"])
    after = httpx.get(f"{server.address}/recent").json()["verdicts"]
    assert kept["uuid"] in [verdict["uuid"] for verdict in after]
    assert gone["uuid"] not in [verdict["uuid"] for verdict in after]


def test_the_figures_count_what_was_done(server):
    def figure(name):
        lines = httpx.get(f"{server.address}/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    before = [figure(name) for name in ("spamctl_rows_total", "spamctl_captured_rows_total")]
    post(server, [OFFER] * 3)
    post(server, [OFFER] * 2, data_capture=False)
    after = [figure(name) for name in ("spamctl_rows_total", "spamctl_captured_rows_total")]
    assert [new - old for new, old in zip(after, before, strict=True)] == [5, 3]
    recent = httpx.get(f"{server.address}/recent").json()
    assert recent["verdicts"][0]["text"] == OFFER
    assert json.loads(httpx.get(f"{server.address}/ready").text) == {
        "ready": True, "model": True, "store": True, "reason": "",
    }  # fmt: skip
