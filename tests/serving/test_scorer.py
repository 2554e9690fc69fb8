"""Rows that wait together are scored together, in turn, and each as if it were alone."""

import threading
import time
import weakref
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest

from spamctl.engine.engine import TOKENS_PER_BATCH, Engine
from spamctl.errors import ArtefactError, SpamctlError
from spamctl.serving.batcher import PRESSED, Scorer
from tests import tiny_models, tiny_packages
from tests.faults.processes import until

TEXTS = [message.text for message in tiny_models.messages(60)]


class Gate:
    """Be an engine that scores nothing while its gate is shut, and remembers what it scored together."""

    most_streams, step = 1, 16

    def __init__(self, engine):
        self.engine, self.open, self.batches, self.reached = engine, threading.Event(), [], threading.Event()
        self.open.set()
        self.tokenize, self.verdict = engine.tokenize, engine.verdict

    def logits(self, rows, **how):
        self.reached.set()
        assert self.open.wait(30)
        self.batches.append([tuple(row.ids) for row in rows])
        return self.engine.logits(rows, **how)

    def shut(self, scorer):
        """Let the engine hang in a first batch, so that what comes now has to wait."""
        self.open.clear()
        self.reached.clear()
        first = scorer.submit(["ok"])
        assert self.reached.wait(30)
        self.batches.clear()
        return first


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return Engine(tiny_packages.write(tmp_path_factory.mktemp("scorer") / "package"))


@pytest.fixture
def gate(engine):
    return Gate(engine)


@pytest.fixture
def scorer(gate):
    """Return a scorer without a memory."""
    made = Scorer(lambda: gate)
    yield made
    gate.open.set()
    made.close()


def probabilities(scores):
    return [scored.verdict.probability for scored in scores]


def test_each_text_is_scored_as_if_it_were_alone(scorer, engine):
    alone = [engine.classify([text])[0].probability for text in TEXTS]
    assert probabilities(scorer.submit(TEXTS).result(30)) == pytest.approx(alone, abs=1e-6)
    assert scorer.waiting == 0


def test_no_texts_are_no_scores(scorer):
    assert scorer.submit([]).result(0) == []


def test_requests_of_many_threads_get_their_own_answers(scorer, engine):
    answers = {}

    def ask(number):
        mine = TEXTS[number : number + 7]
        answers[number] = scorer.submit(mine).result(30)

    with ThreadPoolExecutor(30) as threads:
        list(threads.map(ask, range(30)))
    for number, scores in answers.items():
        assert probabilities(scores) == pytest.approx(probabilities_of(engine, number), abs=1e-6)


def test_rows_that_wait_together_share_a_batch(scorer, gate):
    gate.shut(scorer)
    asked = [scorer.submit([text]) for text in TEXTS[:12]]
    assert scorer.waiting == 13
    gate.open.set()
    for future in asked:
        future.result(30)
    assert len(gate.batches) <= 1 + len({-(-len(row) // 16) for batch in gate.batches for row in batch})


def test_a_batch_holds_one_width_and_bounded_tokens(scorer, gate):
    gate.shut(scorer)
    asked = scorer.submit(["win " * 40] * 60 + ["ok"] * 200)
    gate.open.set()
    asked.result(30)
    for batch in gate.batches[1:]:
        (width,) = {-(-len(row) // 16) * 16 for row in batch}
        assert width * len(batch) <= TOKENS_PER_BATCH


def test_a_long_request_does_not_hold_up_a_short_one_behind_it(scorer, gate):
    gate.shut(scorer)
    order = []
    long = scorer.submit(["win " * 40] * 400)
    time.sleep(0.01)
    short = scorer.submit(["win " * 33])
    long.add_done_callback(lambda _: order.append("long"))
    short.add_done_callback(lambda _: order.append("short"))
    gate.open.set()
    long.result(30)
    assert order == ["short", "long"]


def test_a_request_that_was_given_up_is_not_scored(scorer, gate):
    gate.shut(scorer)
    given_up, wanted = scorer.submit(["win " * 40] * 3), scorer.submit(["cash " * 3])
    assert given_up.cancel()
    gate.open.set()
    assert wanted.result(30)
    with pytest.raises(CancelledError):
        given_up.result(0)
    assert scorer.submit(["ok"]).result(30)
    assert not [row for batch in gate.batches for row in batch if len(row) == 40]
    assert scorer.waiting == 0


def test_an_engine_that_fails_fails_the_requests_of_its_batch_and_no_other(engine):
    class Broken(Gate):
        def logits(self, rows, **how):
            if any(len(row.ids) == 5 for row in rows):
                raise RuntimeError("no memory")
            return super().logits(rows, **how)

    scorer = Scorer(lambda: Broken(engine))
    with pytest.raises(RuntimeError, match="no memory"):
        scorer.submit(["win " * 20, "win " * 5]).result(30)
    assert scorer.submit(["win " * 20]).result(30)
    assert scorer.waiting == 0
    scorer.close()


def test_a_text_that_cannot_be_tokenised_fails_alone(scorer):
    with pytest.raises(TypeError):
        scorer.submit([7]).result(30)
    assert scorer.submit(["ok"]).result(30)
    assert scorer.waiting == 0


def test_a_campaign_is_scored_once_with_the_same_verdict(gate):
    scorer = Scorer(lambda: gate, cached_rows=2)
    first = scorer.submit(TEXTS[:1]).result(30)
    again = scorer.submit([TEXTS[0] + " "]).result(30)
    assert probabilities(again) == probabilities(first)
    assert len(gate.batches) == 1
    scorer.submit(TEXTS[1:3]).result(30)
    batches = len(gate.batches)
    scorer.submit(TEXTS[:1]).result(30)
    assert len(gate.batches) == batches + 1
    scorer.close()


def test_closing_scores_what_waits_and_refuses_what_comes(gate):
    scorer = Scorer(lambda: gate)
    gate.shut(scorer)
    asked = scorer.submit(TEXTS)
    threading.Timer(0.1, gate.open.set).start()
    scorer.close()
    assert len(asked.result(0)) == len(TEXTS)
    with pytest.raises(SpamctlError, match="not served any more"):
        scorer.submit(["ok"]).result(0)


def test_each_batch_is_heard_of(engine):
    heard = []
    scorer = Scorer(lambda: engine, on_batch=lambda rows, seconds: heard.append((rows, seconds)))
    scorer.submit(["ok"] * 9).result(30)
    scorer.close()
    assert sum(rows for rows, _ in heard) == 9
    assert all(seconds > 0 for _, seconds in heard)


class Pair(Gate):
    """Be an engine that scores two batches at a time, and each only beside the other while `meet` is set."""

    most_streams = 2

    def __init__(self, engine):
        super().__init__(engine)
        self.opened, self.meet, self.both = [], threading.Event(), threading.Barrier(2)

    def open_streams(self):
        self.opened.append(threading.current_thread().name)

    def logits(self, rows, **how):
        if self.meet.is_set():
            self.both.wait(30)
        return super().logits(rows, **how)


@pytest.fixture
def pair(engine):
    return Pair(engine)


def press(scorer):
    """Let rows wait behind batch after batch."""
    for _ in range(PRESSED):
        scorer.submit(["win", "win " * 20, "win " * 40] * 2).result(30)


@pytest.fixture
def two(pair):
    """Return a scorer of two threads."""
    made = Scorer(lambda: pair)
    press(made)
    yield made
    pair.meet.clear()
    pair.open.set()
    made.close()


def test_as_many_batches_are_scored_at_a_time_as_there_are_streams(two, pair):
    assert pair.opened == ["scorer"]
    pair.meet.set()
    one, other = two.submit(["win"]), two.submit(["cash " * 20])
    assert one.result(30)
    assert other.result(30)


def test_no_stream_is_opened_for_those_who_wait_for_their_answer(pair):
    scorer = Scorer(lambda: pair)
    for _ in range(3 * PRESSED):
        scorer.submit(["win"]).result(30)
    scorer.submit(["win", "win " * 20]).result(30)
    scorer.close()
    assert pair.opened == []


def test_the_widths_of_one_request_are_shared_by_the_threads(two, pair, engine):
    pair.meet.set()
    texts = ["win", "cash " * 20]
    expected = [verdict.probability for verdict in engine.classify(texts)]
    assert probabilities(two.submit(texts).result(30)) == pytest.approx(expected, abs=1e-6)


def test_requests_of_many_threads_get_their_own_answers_from_two(two, engine):
    expected = {number: probabilities_of(engine, number) for number in range(30)}
    answers = {}

    def ask(number):
        answers[number] = [two.submit(TEXTS[number : number + 7]) for _ in range(5)]

    with ThreadPoolExecutor(30) as threads:
        list(threads.map(ask, range(30)))
    for number, futures in answers.items():
        for future in futures:
            assert probabilities(future.result(30)) == pytest.approx(expected[number], abs=1e-6)
    assert two.waiting == 0


def probabilities_of(engine, number):
    return [verdict.probability for verdict in engine.classify(TEXTS[number : number + 7])]


def test_a_request_whose_widths_fail_in_both_threads_fails_once(two, pair, monkeypatch):
    def no_memory(_rows, **_how):
        pair.both.wait(30)
        raise RuntimeError("no memory")

    with monkeypatch.context() as broken:
        broken.setattr(pair, "logits", no_memory)
        with pytest.raises(RuntimeError, match="no memory"):
            two.submit(["win", "cash " * 20]).result(30)
    assert two.submit(["ok"]).result(30)
    until(lambda: two.waiting == 0)  # the second thread may still be failing


def test_a_real_engine_opens_its_streams_and_scores_as_before(tmp_path, engine):
    folder, seen = tiny_packages.write(tmp_path / "package"), []

    def load():
        made = Engine(folder, threads=2)
        seen.append(weakref.ref(made))  # the scorer's thread is to let it go
        return made

    scorer = Scorer(load)
    press(scorer)
    until(lambda: seen[0]()._streams)
    answers = [scorer.submit([text]) for text in TEXTS * 5]
    alone = [engine.classify([text])[0].probability for text in TEXTS]
    assert [probabilities(answer.result(30))[0] for answer in answers] == alone * 5
    assert seen[0]()._streams
    scorer.close()
    assert seen[0]() is None


def test_closing_ends_every_thread_after_all_is_scored(pair):
    before = set(threading.enumerate())
    scorer = Scorer(lambda: pair)
    press(scorer)
    asked = [scorer.submit([text]) for text in TEXTS]
    scorer.close()
    assert all(future.result(0) for future in asked)
    assert set(threading.enumerate()) <= before


def test_streams_that_cannot_be_opened_are_done_without(pair, engine, monkeypatch, caplog):
    def no_memory():
        raise ArtefactError("OpenVINO cannot compile")

    monkeypatch.setattr(pair, "open_streams", no_memory)
    scorer = Scorer(lambda: pair)
    press(scorer)
    assert len(scorer.submit(TEXTS).result(30)) == len(TEXTS)
    scorer.close()
    assert "one after the other: OpenVINO cannot compile" in caplog.text


def test_an_engine_that_cannot_be_loaded_is_refused_at_once():
    def load():
        raise ArtefactError("the package is damaged")

    with pytest.raises(ArtefactError, match="damaged"):
        Scorer(load)


def test_the_engine_is_loaded_and_let_go_by_one_thread(gate):
    threads = []

    class Watched(Gate):
        def __del__(self):
            threads.append(threading.current_thread().name)

    def load():
        threads.append(threading.current_thread().name)
        return Watched(gate.engine)

    Scorer(load).close()
    assert threads == ["scorer", "scorer"]
