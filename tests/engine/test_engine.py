"""The engine gives each message its own score, whoever is beside it, and refuses what it cannot vouch for."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamctl.engine import manifest as artefact
from spamctl.engine.engine import GOLDEN, Embedder, Engine, by_length
from spamctl.engine.tokens import TokenRow
from spamctl.errors import ArtefactError
from spamctl.schema.message import NOT_SPAM, SPAM
from tests import tiny_models, tiny_packages
from tests.ticks import last, told

TEXTS = [message.text for message in tiny_models.messages(60)]
OFFER, QUESTION = TEXTS[:2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder that holds a bag of tokens."""
    return tiny_packages.write(tmp_path_factory.mktemp("engine") / "package")


@pytest.fixture(scope="module")
def engine(folder):
    """Return the engine of a bag of tokens."""
    return Engine(folder, threads=1)


@pytest.fixture
def seal(tmp_path):
    """Seal parts with a manifest and return the folder of the package."""

    def seal(parts, manifest):
        place = tmp_path / "package"
        place.mkdir()
        return artefact.write(artefact.seal(parts, manifest), place)

    return seal


def test_a_verdict_is_the_class_the_probability_and_whether_text_was_cut(engine):
    offer, question, long = engine.classify([OFFER, QUESTION, "free " * (tiny_packages.WINDOW + 1)])
    assert offer.classification == SPAM
    assert offer.probability == pytest.approx(tiny_packages.probability(OFFER), abs=1e-6)
    assert question.classification == NOT_SPAM
    assert question.probability == pytest.approx(tiny_packages.probability(QUESTION), abs=1e-6)
    assert [offer.truncated, question.truncated, long.truncated] == [False, False, True]
    assert type(offer.probability) is float


def test_nothing_to_classify_is_no_verdict(engine):
    assert engine.classify([]) == []


def test_a_message_without_words_gets_a_verdict(engine):
    (empty,) = engine.classify([""])
    assert empty.probability == pytest.approx(tiny_packages.probability(""), abs=1e-6)


def test_a_probability_at_the_threshold_is_spam(engine, seal):
    exact = engine.classify([OFFER])[0].probability
    strict = Engine(seal(tiny_packages.parts(), tiny_packages.manifest(threshold=exact)), threads=1)
    assert strict.classify([OFFER])[0].classification == SPAM


def test_the_calibration_is_applied_to_the_logits(tmp_path):
    tilted = Engine(tiny_packages.write(tmp_path / "tilted", slope=2.0, intercept=-1.0), threads=1)
    logits = tilted.logits(tilted.tokenize([OFFER]))
    assert tilted.probabilities(logits) == pytest.approx(1 / (1 + np.exp(-(2 * logits - 1))))


def test_a_message_out_of_reach_is_judged_in_training_and_delivered_where_that_is_asked_for(tmp_path):
    place = tiny_packages.write(tmp_path / "package", "", *GOLDEN, reach=0.5, threshold=0.01)
    judging, delivering = Engine(place, threads=1), Engine(place, threads=1, out_of_reach="deliver")
    for text, in_reach in ((OFFER, True), ("bihar arratsaldean elkartuko gara plazan", False)):
        (judged,), (served,) = judging.classify([text]), delivering.classify([text])
        assert judged.in_reach is served.in_reach is in_reach
        assert judged.probability == served.probability
        assert (judged.classification, served.classification) == (SPAM, SPAM if in_reach else NOT_SPAM)
    assert delivering.replay_golden() < 1e-5  # golden messages are compared by their probabilities


def test_in_a_package_that_does_not_say_every_message_is_in_reach(engine):
    assert all(verdict.in_reach for verdict in engine.classify([OFFER, "bihar arratsaldean elkartuko gara plazan"]))


@pytest.mark.parametrize("shape", [(1, 1), (1, tiny_packages.WINDOW), (70, 1), (70, 30)])
def test_any_number_of_rows_of_any_length_is_scored(engine, shape):
    rows = [TokenRow([row % 7 + 1] * shape[1], truncated=False) for row in range(shape[0])]
    alone = [engine.logits([row])[0] for row in rows]
    assert engine.logits(rows) == pytest.approx(alone, abs=1e-6)


@given(
    rows=st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=20), min_size=1, max_size=12),
    pad=st.integers(0, 40),
    seed=st.integers(0, 9),
)
def test_batches_order_and_padding_change_no_score(engine, rows, pad, seed):
    tokens = [TokenRow(ids, truncated=False) for ids in rows]
    order = np.random.default_rng(seed).permutation(len(rows)).tolist()
    alone = [engine.logits([row])[0] for row in tokens]
    batches = [order[: len(order) // 2], order[len(order) // 2 :]]
    together = engine.logits(tokens, batches=[batch for batch in batches if batch], pad=pad)
    assert together == pytest.approx(alone, abs=1e-5)


def test_threads_that_score_at_once_do_not_mix_their_answers(engine):
    expected = [verdict.probability for verdict in engine.classify(TEXTS)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda text: engine.classify([text])[0].probability, TEXTS * 5))
    assert answers == pytest.approx(expected * 5, abs=1e-6)


@given(st.lists(st.integers(1, 300), max_size=80), st.integers(1, 32), st.integers(1, 2048))
def test_every_row_is_in_one_batch_of_like_lengths_and_bounded_size(lengths, step, tokens):
    batches = by_length(np.array(lengths, dtype=np.int64), step, tokens)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or max(lengths[row] for row in batch) * len(batch) <= tokens
        assert len({-(-lengths[row] // step) for row in batch}) == 1


def test_golden_messages_are_scored_again(tmp_path):
    assert 0 <= Engine(tiny_packages.write(tmp_path / "package", "", *GOLDEN), threads=1).replay_golden() < 1e-5


@pytest.mark.parametrize(("told", "words"), [(0.49, "another verdict"), (0.6, "away from their packaged scores")])
def test_a_golden_message_that_scores_otherwise_here_is_refused(seal, told, words):
    honest = tiny_packages.manifest(OFFER, threshold=0.5)
    altered = replace(honest, golden=(replace(honest.golden[0], probability=told),))
    engine = Engine(seal(tiny_packages.parts(), altered), threads=1)
    with pytest.raises(ArtefactError, match=words):
        engine.replay_golden()


@pytest.mark.parametrize("name", ["model.xml", "model.bin", "tokenizer.json"])
@pytest.mark.parametrize("content", [b"", b"{}", b"<net/>"])
def test_a_part_that_is_none_is_refused_in_one_line(seal, tmp_path, name, content):
    folder = seal(tiny_packages.parts() | {name: content}, tiny_packages.manifest())
    with pytest.raises(ArtefactError) as refused:
        Engine(folder, threads=1)
    assert "\n" not in str(refused.value)
    assert str(tmp_path) not in str(refused.value)


@pytest.mark.parametrize("name", ["model.xml", "model.bin", "tokenizer.json"])
def test_a_missing_part_is_refused_in_one_line(seal, tmp_path, name):
    rest = {part: content for part, content in tiny_packages.parts().items() if part != name}
    with pytest.raises(ArtefactError) as refused:
        Engine(seal(rest, tiny_packages.manifest()), threads=1)
    assert "\n" not in str(refused.value)
    assert str(tmp_path) not in str(refused.value)


def test_the_engine_needs_no_torch(folder):
    program = (
        "import sys, pathlib\n"
        "from spamctl.engine.engine import Engine\n"
        "Engine(pathlib.Path(sys.argv[1]), threads=1).classify(['ok'])\n"
        "print(sorted({'torch', 'transformers', 'sklearn', 'scipy', 'nncf', 'metaflow'} & set(sys.modules)))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, folder], env=os.environ, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


@pytest.fixture
def streaming(folder):
    """Return an engine that scores two batches at a time."""
    made = Engine(folder, threads=2)
    made.open_streams()
    return made


def test_streams_change_no_score_whoever_scores_beside(engine, streaming):
    rows = engine.tokenize([*TEXTS, "win " * 50, ""])
    parts = [range(start, min(start + size, len(rows))) for size in (1, 2, 7) for start in range(0, len(rows), size)]

    def score(part):
        return streaming.logits([rows[index] for index in part], batches=[range(len(part))])

    expected = engine.logits(rows)
    with ThreadPoolExecutor(6) as pool:
        for part, logits in zip(parts * 3, pool.map(score, parts * 3), strict=True):
            assert logits.tolist() == expected[list(part)].tolist()


@pytest.mark.parametrize("threads", [1, 2])
def test_many_at_once_get_the_scores_and_features_that_each_gets_alone(folder, threads):
    many, few = (Embedder(folder, threads=threads, in_bulk=in_bulk) for in_bulk in (True, False))
    rows = few.tokenize([*TEXTS, "win " * 50, ""] * 9)
    assert many.logits(rows).tolist() == few.logits(rows).tolist()
    ticks, features = told(many.features_of(rows, "reading"))
    assert [tick.done for tick in ticks] == sorted({tick.done for tick in ticks})
    assert (ticks[0].done < ticks[-1].done, ticks[-1].done) == (True, len(rows))
    assert {(tick.task, tick.total) for tick in ticks} == {("reading", len(rows))}
    assert np.array_equal(features, np.concatenate([last(few.features_of([row], "one")) for row in rows]))


def test_two_batches_are_scored_at_a_time(streaming):
    rows = streaming.tokenize(TEXTS[:4])
    taken = [streaming._streams.get() for _ in range(2)]
    alone = ThreadPoolExecutor(1).submit(streaming.logits, rows)
    with pytest.raises(TimeoutError):
        alone.result(0.3)
    for stream in taken:
        streaming._streams.put(stream)
    assert alone.result(30).tolist() == streaming.logits(rows).tolist()


def test_streams_that_would_answer_otherwise_are_not_used(folder, monkeypatch):
    made = Engine(folder, threads=2)
    expected = made.logits(made.tokenize(TEXTS)).tolist()

    def differs():
        raise ArtefactError("a golden message gets another verdict")

    monkeypatch.setattr(made, "replay_golden", differs)
    with pytest.raises(ArtefactError, match="golden"):
        made.open_streams()
    assert made._streams is None
    assert made.logits(made.tokenize(TEXTS)).tolist() == expected


@pytest.mark.skipif((os.cpu_count() or 1) < 2 or sys.platform != "linux", reason="needs Linux and two cores")
def test_an_engine_of_few_threads_is_bound_to_no_core(folder):
    program = (
        "import os, pathlib, sys, threading, time\n"
        "from spamctl.engine.engine import Engine\n"
        "engine, seen, until = Engine(pathlib.Path(sys.argv[1]), threads=1), set(), time.monotonic() + 1\n"
        "def watch():\n"
        "    while time.monotonic() < until:\n"
        "        for thread in os.listdir('/proc/self/task'):\n"
        "            seen.add(len(os.sched_getaffinity(int(thread))))\n"
        "watcher = threading.Thread(target=watch)\n"
        "watcher.start()\n"
        "while watcher.is_alive():\n"
        "    engine.classify(['ok'] * 64)\n"
        "print(seen == {len(os.sched_getaffinity(0))})\n"
    )
    answer = subprocess.run([sys.executable, "-c", program, folder], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "True"


@pytest.mark.slow
@pytest.mark.parametrize("family", ["gpt2", "llama", "narrow"])
def test_the_engine_agrees_with_the_classifier_that_was_exported(tmp_path, family):
    import torch

    from spamctl.training.features import pad_ids
    from tests import trained

    made = trained.trained(family)
    engine = Engine(artefact.write(trained.files(family), tmp_path), threads=1)
    rows = made.rows("test") + made.tokenizer.encode(["", "a", "win " * 200, *GOLDEN])
    with torch.inference_mode():
        logits = made.classifier(*pad_ids([row.ids for row in rows])).numpy()
    assert engine.probabilities(engine.logits(rows)) == pytest.approx(engine.probabilities(logits), abs=1e-5)
