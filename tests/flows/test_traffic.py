"""Traffic from a csv file to counted answers and a kept truth, or to a line that says what has no verdict."""

import csv
import signal
import time
from contextlib import ExitStack

import pytest

from spamctl.data import corpus, split
from spamctl.store import queries, truth
from spamctl.store.database import open_store
from tests import tiny_models
from tests.canary import leaks
from tests.flows.conftest import kill_family
from tests.ports import closed_port
from tests.served import served
from tests.serving.odd_servers import odd_server, prediction, predictions, refusing, well

OWN = ("--dataset", "messages.csv", "--spam-label", "junk")
SAMPLES = 57
TOKEN = "s3cret-t0ken-of-mine"
CARD = """
import json
from metaflow import Flow, namespace
from metaflow.cards import get_cards
namespace(None)
run = Flow("TrafficFlow").latest_run
params = {d.id: repr(d.data) for step in run for d in step.task}
print(json.dumps({"cards": {card.id: card.get() for card in get_cards(run["send"].task)}, "values": params}))
"""


def troubled(number, texts):
    """Answer, refuse, answer half or answer nonsense, in turn."""
    rows = [prediction(text) for text in texts]
    match number % 4:
        case 1:
            return predictions(rows)
        case 2:
            return refusing(500, "INTERNAL_ERROR")(number, texts)
        case 3:
            return predictions(rows[: len(rows) // 2])
        case _:
            return predictions([row | {"uuid": "7"} for row in rows])


def traffic(desk, *words, store="spam.db", **variables):
    """Start `spamctl traffic`."""
    variables |= {"SPAMCTL_TRAFFIC_DATASTORE_URI": str(store)}
    return desk.start("-m", "spamctl", "traffic", *words, **variables)


def log_of(desk):
    return max(desk.path(".spamctl/logs").glob("traffic-*.log"), key=lambda path: path.stat().st_mtime_ns).read_text()


def result_of(desk):
    (result,) = [event for event in desk.events(log_of(desk)) if event["spamctl"] == "result"]
    return result


@pytest.fixture(scope="session")
def runs(lay, tmp_path_factory):
    """Start a run against the real server and one against a troubled one, each at a desk of its own."""
    with ExitStack() as stack:
        server = stack.enter_context(served(tmp_path_factory.mktemp("server")))
        trouble, seen = stack.enter_context(odd_server(troubled))
        desks = {"well": lay("well"), "troubled": lay("troubled")}
        many = ("--samples", str(SAMPLES), *OWN)
        started = {
            "well": traffic(
                desks["well"],
                "--target-uri",
                f"{server.address}/invocations",
                *many,
                "--drift-type",
                "mixed",
                store=server.database,
            ),
            "troubled": traffic(desks["troubled"], "--target-uri", trouble, *many, "--concurrency", "1"),
        }
        yield {
            "well": (desks["well"], started["well"], server),
            "troubled": (desks["troubled"], started["troubled"], seen),
        }
        for process in started.values():
            if process.poll() is None:
                kill_family(process)


@pytest.fixture(scope="session")
def done(runs):
    """Return the run in which all went well, with its result and its server."""
    desk, process, server = runs["well"]
    assert desk.ended(process) == 0, desk.out + desk.err
    return desk, result_of(desk), server


def test_exactly_the_samples_are_answered_and_captured_and_nothing_else(done):
    _, result, server = done
    assert (result["samples"], result["sent"], result["answered"], result["captured"]) == (SAMPLES,) * 4
    assert (result["refused"], result["garbled"], result["unanswered"]) == ({}, {}, {})
    with open_store(str(server.database)) as store:
        assert queries.count(store) == SAMPLES


def test_the_truth_of_every_row_is_kept_beside_it(done):
    _, result, server = done
    assert result["truth"] == {"store": str(server.database), "rows": SAMPLES, "joined": SAMPLES}
    with open_store(str(server.database)) as store:
        assert truth.count(store, result["run"]) == (SAMPLES, SAMPLES)
        rows = {row.uuid: row for page in queries.pages(store) for row in page}
        known = truth.find(store, list(rows))
    assert known.keys() == rows.keys()
    assert {row.ground_truth for row in rows.values()} == {None}
    assert {one.seed for one in known.values()} == {0}
    drifted = [one for one in known.values() if one.drift_type != "none"]
    assert len(drifted) == 29  # half of 57, rounded up
    assert {one.dose for one in drifted} == {0.5}


def test_accuracy_from_the_store_is_the_generators_own(done):
    _, result, server = done
    with open_store(str(server.database)) as store:
        counted = truth.tally(store, result["run"])
    right = sum(found.rows for found in counted if found.label == found.classification)
    assert result["scores"]["accuracy"]["value"] == right / SAMPLES
    caught = sum(found.rows for found in counted if found.label == found.classification == "spam")
    spam = sum(found.rows for found in counted if found.label == "spam")
    assert result["scores"]["recall"]["value"] == caught / spam
    for group in result["groups"]:
        origin, _, drift_type = group["name"].partition(", ")
        of = [found for found in counted if (found.origin, found.drift_type) == (origin, drift_type or "none")]
        assert group["rows"] == sum(found.rows for found in of)
        assert group["spam"] == sum(found.rows for found in of if found.label == "spam")


def test_real_messages_are_of_the_test_part_and_keep_their_labels(done):
    desk, result, server = done
    request = corpus.CorpusRequest(dataset=str(desk.path("messages.csv")), spam_label="junk")
    test = {message.text: message.label for message in split.split(corpus.read_corpus(request).messages).test}
    assert result["data"]["test"] == len(test)
    with open_store(str(server.database)) as store:
        rows = {row.uuid: row.text for page in queries.pages(store) for row in page}
        known = truth.find(store, list(rows))
    real = [(rows[uuid], one.label) for uuid, one in known.items() if one.origin == "test part"]
    assert len(real) >= 28
    assert dict(real) == {text: test[text] for text, _ in real}


def test_the_table_and_the_card_tell_the_same(done):
    desk, result, server = done
    for words in (f"All {SAMPLES} messages were answered", "95 % interval", "test part of", "mixed, strength 0.5"):
        assert words in desk.out
    assert desk.out.rstrip().endswith(f"Next: spamctl label --source truth --target-uri {server.database}")
    told = desk.ask(CARD)
    assert list(told["cards"]) == ["traffic"]
    assert f"All {SAMPLES} messages were answered" in told["cards"]["traffic"]
    assert result["run"] in told["cards"]["traffic"]
    assert "script" not in told["cards"]["traffic"]


def test_no_message_and_no_secret_is_in_the_log(done):
    desk, _, server = done
    with open_store(str(server.database)) as store:
        texts = [row.text for page in queries.pages(store) for row in page]
    log = log_of(desk) + desk.out + desk.err
    assert not [text for text in texts if text in log]
    assert "datastore_uri" not in desk.ask(CARD)["values"]


def test_steps_and_progress_are_told(done):
    desk, _, _ = done
    told = desk.events(log_of(desk))
    assert [event["stage"] for event in told if event["spamctl"] == "stage"] == ["draw", "send"]
    last = [event for event in told if event["spamctl"] == "progress"][-1]
    assert (last["task"], last["done"], last["total"]) == ("sending", SAMPLES, SAMPLES)


def test_what_a_troubled_server_does_is_counted_and_is_exit_code_1(runs):
    desk, process, seen = runs["troubled"]
    assert desk.ended(process) == 1
    result = result_of(desk)
    assert [len(texts) for _, texts in seen.came] == [10] * 5 + [7]
    assert result["answered"] == 20
    assert result["refused"] == {"500 INTERNAL_ERROR": 17}
    assert result["garbled"] == {"5 predictions for 10 messages": 10, "a prediction has no uuid": 10}
    assert result["judged"] == 20
    assert result["spam_share"] == 1
    assert result["scores"]["accuracy"]["value"] == result["true_spam_share"]
    last = desk.err.splitlines()[-1]
    assert last == (
        f"spamctl: 37 of {SAMPLES} messages have no verdict: 17 refused with 500 INTERNAL_ERROR, 10 answered in "
        "another format (5 predictions for 10 messages), 10 answered in another format (a prediction has no uuid); "
        "see whether --target-uri is a server of spamctl"
    )
    assert "Traceback" not in desk.err


def test_truth_without_answers_beside_it_is_said_loudly(runs):
    desk, process, _ = runs["troubled"]
    desk.ended(process)
    assert result_of(desk)["truth"] == {"store": "spam.db", "rows": 20, "joined": 0}
    assert "warning: spam.db holds 0 of the 20 captured answers: the server keeps them elsewhere" in desk.err


def test_a_server_that_is_down_is_said_at_once_and_nothing_is_begun(desk):
    uri = f"http://127.0.0.1:{closed_port()}/invocations"
    began = time.monotonic()
    assert desk.ended(traffic(desk, "--target-uri", uri, *OWN)) == 1
    assert time.monotonic() - began < 10
    (line,) = desk.err.splitlines()
    assert line.startswith(f"spamctl: --target-uri {uri}: no server listens there (connection refused); start it with ")
    assert "spamctl serve" in line
    assert not desk.path("spam.db").exists()
    assert not desk.path(".metaflow").exists()


def test_a_preview_shows_pairs_sends_nothing_and_needs_no_server(desk):
    uri = f"http://127.0.0.1:{closed_port()}/invocations"
    assert desk.ended(traffic(desk, "--target-uri", uri, *OWN, "--preview", "4", "--drift-type", "zero-width")) == 0, (
        desk.err
    )
    assert desk.out.count("  before  ") == desk.out.count("  after   ") == 4
    assert "\\u200" in desk.out
    assert "Nothing was sent." in desk.out
    texts = [message.text for message in tiny_models.messages(200)]
    assert [text for text in texts if text in desk.out]
    assert not [text for text in texts if text in log_of(desk) + desk.err]
    assert not list(desk.path(".spamctl").glob("preview*"))
    assert not desk.path("spam.db").exists()


def test_a_users_own_messages_are_sent_in_their_order_and_without_truth_if_wished(desk):
    texts = ["first, as it is", "  second &amp; third ", "", "fr\u200bee"]
    with desk.path("mine.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["body"], *([text] for text in texts), ["beyond the samples"]])
    words = ("--replay", "mine.csv", "--text-column", "body", "--no-truth", "--samples", "4", "--batch-size", "3")
    with odd_server(well) as (uri, seen):
        process = traffic(desk, "--target-uri", uri, *words, "--concurrency", "1", SPAMCTL_SERVE_TOKEN=TOKEN)
        assert desk.ended(process) == 0, desk.err
    assert [sent for _, sent in seen.came] == [texts[:3], texts[3:]]
    assert {headers["authorization"] for headers in seen.headers} == {f"Bearer {TOKEN}"}
    assert not desk.path("spam.db").exists()
    assert " truth        not kept" in desk.out
    assert "the first 4 (--samples) of 5 messages of mine.csv" in desk.err
    assert len(log_of(desk)) > 100
    assert leaks(desk.folder, TOKEN) == []


def wait_until(condition, process):
    deadline = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, "it ended too early"
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.mark.long
def test_a_run_that_was_cut_short_goes_on_and_nothing_is_written_twice(desk, tmp_path):
    with served(tmp_path) as server, open_store(str(server.database)) as store:
        words = ("--samples", "100", "--batch-size", "5", "--rate", "20", "--concurrency", "2")
        process = traffic(desk, "--target-uri", f"{server.address}/invocations", *OWN, *words, store=server.database)
        wait_until(lambda: queries.count(store) >= 20, process)
        process.send_signal(signal.SIGINT)
        assert desk.ended(process) == 130
        assert "resumes from the last finished step" in desk.err
        before = {row.uuid for page in queries.pages(store) for row in page}
        assert 20 <= len(before) < 100
        assert truth.find(store, list(before))  # some of it is kept already
        elsewhere = traffic(desk, "--resume")
        assert desk.ended(elsewhere) == 2
        assert f"spam.db: the run keeps its truth in {server.database}" in desk.err
        again = traffic(desk, "--resume", store=server.database)
        assert desk.ended(again) == 0, desk.err
        result = result_of(desk)
        assert (result["answered"], result["captured"]) == (100, 100)
        assert queries.count(store) == 100
        assert truth.count(store, result["run"]) == (100, 100)
        assert before <= {row.uuid for page in queries.pages(store) for row in page}
