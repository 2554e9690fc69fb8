"""Every batch has one fate, each retry goes under the same id, and what strays from the wire format is named."""

import asyncio
import contextlib
import socket
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from starlette.responses import JSONResponse, Response, StreamingResponse

from spamctl.store import queries
from spamctl.store.database import open_store
from spamctl.traffic import client
from spamctl.traffic.client import Batch, Pace, Target, send
from tests import tiny_models, tiny_packages
from tests.each import each
from tests.ports import closed_port
from tests.served import served
from tests.serving.odd_servers import odd_server, prediction, predictions, refusing, saying, well
from tests.store.made_rows import ODD_TEXTS

QUICK = 0.02
PACE = Pace()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """Wait hundredths of a second where the client would wait for seconds."""
    monkeypatch.setattr(client, "_FIRST_PAUSE_S", QUICK)
    monkeypatch.setattr(client, "_LONGEST_PAUSE_S", 2 * QUICK)


def batches(count, rows=10):
    return [
        Batch(f"batch-{number}", tuple(f"message {number * rows + row}" for row in range(rows)))
        for number in range(count)
    ]


def sent(cut, uri, pace=PACE, **target):
    """Send batches, and return what became of them in their order."""
    outcomes = list(send(cut, Target(uri, **({"timeout_s": 20.0} | target)), pace))
    assert sorted(outcome.number for outcome in outcomes) == list(range(len(cut)))
    return sorted(outcomes, key=lambda outcome: outcome.number)


def fates(outcomes):
    return Counter((outcome.fate, outcome.reason) for outcome in outcomes)


def test_the_real_server_answers_every_message_and_keeps_it_once(tmp_path):
    texts = [message.text for message in tiny_models.messages(60)]
    cut = [Batch(f"batch-{first}", tuple(texts[first : first + 7])) for first in range(0, 60, 7)]
    with served(tmp_path) as server:
        outcomes = sent(cut, f"{server.address}/invocations")
        again = sent(cut, f"{server.address}/invocations")
    answers = [answer for outcome in outcomes for answer in outcome.answers]
    assert [answer.probability for answer in answers] == pytest.approx(
        [tiny_packages.probability(text) for text in texts], abs=1e-6
    )
    assert {outcome.fate for outcome in outcomes} == {"answered"}
    assert {outcome.tries for outcome in outcomes} == {1}
    assert min(outcome.latency_s for outcome in outcomes) > 0
    assert [answer.uuid for outcome in again for answer in outcome.answers] == [answer.uuid for answer in answers]
    with open_store(str(server.database)) as store:
        stored = {row.uuid: row.text for page in queries.pages(store) for row in page}
    assert stored == {answer.uuid: text for answer, text in zip(answers, texts, strict=True)}


def test_any_text_arrives_as_it_is():
    texts = tuple(words for words in ODD_TEXTS.values() if words != "\ud83d\ude00")  # in JSON that is one character
    with odd_server(well) as (uri, odd):
        (outcome,) = sent([Batch("odd", texts)], uri)
    assert outcome.fate == "answered"
    assert odd.came == [("odd", list(texts))]


def test_no_batches_are_no_outcomes():
    with odd_server(well) as (uri, odd):
        assert sent([], uri) == []
    assert odd.came == []


@pytest.mark.parametrize("token", ["", "s3cret-token"])
def test_the_token_goes_with_every_request(token):
    with odd_server(well) as (uri, odd):
        sent(batches(3), uri, token=token)
    assert {headers.get("authorization") for headers in odd.headers} == {f"Bearer {token}" if token else None}


@each(
    ("status", "code", "reason"),
    [
        (400, "INVALID_PARAMETER_VALUE", "400 INVALID_PARAMETER_VALUE"),
        (401, "", "401 Unauthorized"),
        (404, "<script>", "404 Not Found"),
        (500, "", "500 Internal Server Error"),
        (500, "\x1b[31mRED", "500 Internal Server Error"),
        (599, "", "599"),
        (302, "", "302 Found"),
    ],
)
def test_a_refusal_is_counted_by_its_code_and_not_tried_again(status, code, reason):
    with odd_server(refusing(status, code)) as (uri, odd):
        outcomes = sent(batches(3), uri)
    assert fates(outcomes) == {("refused", reason): 3}
    assert len(odd.came) == 3


@each("status", sorted(client.AGAIN))
def test_a_server_that_asks_for_patience_is_asked_again_a_bounded_number_of_times(status):
    with odd_server(refusing(status, "BUSY")) as (uri, odd):
        (outcome,) = sent(batches(1), uri, retries=2)
    assert (outcome.fate, outcome.reason, outcome.tries) == ("refused", f"{status} BUSY", 3)
    assert odd.request_ids == ["batch-0"] * 3


def test_a_batch_is_answered_when_the_server_has_recovered():
    def behave(number, texts):
        return refusing(503)(number, texts) if number <= 2 else well(number, texts)

    with odd_server(behave) as (uri, odd):
        (outcome,) = sent(batches(1), uri)
    assert (outcome.fate, outcome.tries) == ("answered", 3)
    assert odd.request_ids == ["batch-0"] * 3


@pytest.mark.parametrize("asked", ["1", "a date"])
def test_retry_after_is_obeyed(asked):
    def behave(number, texts):
        if number > 1:
            return well(number, texts)
        until = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)  # whole seconds: at least 1
        return JSONResponse({}, 429, {"Retry-After": until if asked == "a date" else asked})

    with odd_server(behave) as (uri, _):
        began = time.monotonic()
        (outcome,) = sent(batches(1), uri)
    assert (outcome.fate, outcome.tries) == ("answered", 2)
    assert time.monotonic() - began >= 0.95


@each("asked", ["3600", "", "soon", "-1", "1e9", "٣", "Wed, 99 Nov 2026 00:00:00 GMT", "9" * 500])
def test_any_wish_for_patience_is_bounded_by_the_deadline(asked):
    with odd_server(refusing(429, **{"Retry-After": asked.encode().decode("latin-1")})) as (uri, _):
        began = time.monotonic()
        (outcome,) = sent(batches(1), uri, timeout_s=1.0, retries=3)
    assert outcome.fate == "refused"
    assert time.monotonic() - began < 2


def test_a_server_that_is_too_slow_leaves_a_batch_unanswered_in_time():
    async def late(number, texts):
        await asyncio.sleep(1.5)
        return well(number, texts)

    with odd_server(late) as (uri, odd):
        began = time.monotonic()
        outcomes = sent(batches(2), uri, timeout_s=0.3)
        assert time.monotonic() - began < 1.2
    assert fates(outcomes) == {("unanswered", "no answer within 0.3 s"): 2}
    assert len(odd.came) == 2


def test_a_server_that_is_only_slow_answers_everything():
    async def late(number, texts):
        await asyncio.sleep(0.1)
        return well(number, texts)

    with odd_server(late) as (uri, _):
        outcomes = sent(batches(4), uri)
    assert fates(outcomes) == {("answered", ""): 4}
    assert min(outcome.latency_s for outcome in outcomes) >= 0.1


def test_an_answer_that_never_ends_is_not_waited_for():
    async def drip():
        while True:
            yield b" "
            await asyncio.sleep(0.01)

    with odd_server(lambda *_: StreamingResponse(drip(), media_type="application/json")) as (uri, _):
        (outcome,) = sent(batches(1), uri, timeout_s=0.3)
    assert fates([outcome]) == {("unanswered", "no answer within 0.3 s"): 1}


def test_an_answer_that_is_too_large_is_not_kept(monkeypatch):
    monkeypatch.setattr(client, "_LARGEST_ANSWER", 10_000)
    with odd_server(saying(b" " * 20_000)) as (uri, _):
        (outcome,) = sent(batches(1), uri)
    assert fates([outcome]) == {("garbled", "the answer is too large"): 1}


def test_half_an_answer_is_no_answer_and_its_neighbours_are_not_touched():
    def half(number, texts):
        rows = [prediction(text) for text in texts]
        return predictions(rows[:5] if "message 10" in texts else rows)

    with odd_server(half) as (uri, odd):
        outcomes = sent(batches(3), uri)
    assert [outcome.fate for outcome in outcomes] == ["answered", "garbled", "answered"]
    assert outcomes[1].reason == "5 predictions for 10 messages"
    assert outcomes[1].answers == ()
    assert len(odd.came) == 3


def test_nobody_listens():
    uri = f"http://127.0.0.1:{closed_port()}/invocations"
    assert fates(sent(batches(2), uri, retries=1)) == {("unanswered", "no connection"): 2}


def test_a_server_that_hangs_up_is_tried_again_then_given_up():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop = threading.Event()
        calls = []

        def hang_up():
            listener.settimeout(0.1)
            while not stop.is_set():
                try:
                    caller, _ = listener.accept()
                except TimeoutError:
                    continue
                calls.append(caller.recv(65536))
                caller.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        (outcome,) = sent(batches(1), f"http://127.0.0.1:{listener.getsockname()[1]}/invocations", retries=2)
        stop.set()
        thread.join()
    assert (outcome.fate, outcome.reason, outcome.tries) == ("unanswered", "the connection broke", 3)
    assert len(calls) == 3


def test_what_speaks_no_http_is_no_server():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet():
            for _ in range(2):
                caller, _ = listener.accept()
                caller.recv(65536)
                caller.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                caller.close()

        thread = threading.Thread(target=greet)
        thread.start()
        (outcome,) = sent(batches(1), f"http://127.0.0.1:{listener.getsockname()[1]}/x", retries=1)
        thread.join()
    assert outcome.fate == "unanswered"


def test_a_server_that_dies_is_given_up_after_a_few_batches():
    with odd_server(well) as (uri, odd):
        outcomes = send(batches(200), Target(uri, timeout_s=20.0, retries=1), Pace(concurrency=2))
        first = next(outcomes)
    began = time.monotonic()
    rest = list(outcomes)
    assert time.monotonic() - began < 10
    assert first.fate == "answered"
    reasons = fates(rest)
    assert sum(rows for (fate, _), rows in reasons.items() if fate == "unanswered") > 100
    assert reasons["unanswered", client._UNSENT] > 100
    assert sum(bool(outcome.tries) for outcome in rest if outcome.fate == "unanswered") <= client.GONE + 2
    assert len(rest) == 199
    assert len(odd.came) >= len(rest) - sum(reasons[key] for key in reasons if key[0] == "unanswered")


def test_requests_are_under_way_at_once_but_no_more_than_asked_for():
    under_way, most = 0, 0

    async def count(number, texts):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.05)
        under_way -= 1
        return well(number, texts)

    with odd_server(count) as (uri, _):
        sent(batches(12, rows=1), uri, Pace(concurrency=3))
    assert most == 3


def test_a_rate_is_kept():
    with odd_server(well) as (uri, _):
        began = time.monotonic()
        sent(batches(6), uri, Pace(rate=100.0))
    assert 0.5 <= time.monotonic() - began < 3  # the last of 60 messages leaves after 50 hundredths


def test_a_reader_that_stops_stops_the_sending():
    with odd_server(well) as (uri, odd):
        with contextlib.closing(send(batches(10_000), Target(uri), Pace())) as outcomes:
            assert next(outcomes).fate == "answered"
        came = len(odd.came)
        time.sleep(0.2)
        assert len(odd.came) <= came + 4
    assert came < 5_000
    assert not [thread for thread in threading.enumerate() if thread.name == "sender"]


def test_a_fault_in_making_the_batches_is_not_swallowed():
    def broken():
        yield batches(1)[0]
        raise ZeroDivisionError

    with odd_server(well) as (uri, _), pytest.raises(ExceptionGroup) as refused:
        list(send(broken(), Target(uri), Pace()))
    assert refused.group_contains(ZeroDivisionError)


def test_a_retry_after_a_lost_answer_writes_nothing_twice(tmp_path):
    """The server answers, the answer is lost on the way, and the batch is sent again."""
    with served(tmp_path) as server, lossy_proxy(server.address, lose=2) as uri:
        (outcome,) = sent(batches(1), uri)
        assert outcome.fate == "answered"
        assert outcome.tries == 3
        with open_store(str(server.database)) as store:
            assert queries.count(store) == 10
            assert set(queries.find(store, [answer.uuid for answer in outcome.answers])) == {
                answer.uuid for answer in outcome.answers
            }


@contextlib.contextmanager
def lossy_proxy(address, lose):
    """Pass requests on to a server, and lose its first answers: the caller hears that the gate is broken."""

    async def pass_on(number, texts):
        body = {"inputs": [{"text": text} for text in texts]}
        async with httpx.AsyncClient() as caller:
            answer = await caller.post(f"{address}/invocations", json=body, headers={"X-Request-Id": "batch-0"})
        assert answer.status_code == 200
        return Response(answer.content, 502 if number <= lose else 200)

    with odd_server(pass_on) as (uri, _):
        yield uri
