"""A package is chosen, calibrated and given its threshold by validation rows, scored by the engine that serves."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest

from spamctl.engine import calibration, manifest, parity
from spamctl.engine.engine import GOLDEN, MARGIN, Embedder, Engine, nearest_to_threshold, turning_messages
from spamctl.engine.ngrams import LEAST, Vocabulary
from spamctl.engine.runtime import ONNX, XML, multiplies_int8
from spamctl.engine.tokens import WORDS
from spamctl.export.package import features_in_int8
from spamctl.metrics import scores
from spamctl.schema.codec import to_json
from spamctl.schema.train import Distance
from tests import tiny_packages, trained
from tests.ticks import last

FAMILIES = {"gpt2": ONNX, "narrow": XML}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made():
    """Return a tiny GPT-2 that has learnt."""
    return trained.trained("gpt2")


def engine_of(package, folder):
    return Engine(manifest.write(package.files, folder), threads=1)


@pytest.mark.parametrize("family", FAMILIES)
def test_int8_is_packaged_if_it_keeps_its_scores(family, tmp_path):
    package = trained.packaged(family, "auto")
    engine = engine_of(package, tmp_path)
    assert package.engine == engine.manifest.engine == "int8"
    assert package.warnings == ()
    assert package.distances.keys() == {"int8"}
    assert package.distances["int8"].within(0.02)


def test_calibration_and_threshold_are_those_of_the_engines_own_validation_scores(made, tmp_path):
    package = trained.packaged("gpt2", "auto")
    engine = engine_of(package, tmp_path)
    truth = made.truth("validation")
    logits = engine.logits(made.rows("validation"))
    scale = calibration.fit(truth, logits)
    point = scores.choose_threshold(truth, scale.apply(logits), 0.05)
    assert (engine.manifest.slope, engine.manifest.intercept) == pytest.approx((scale.slope, scale.intercept))
    assert engine.threshold == package.point.threshold == pytest.approx(point.threshold)


@pytest.mark.parametrize("family", FAMILIES)
def test_int8_gives_a_row_one_score_in_every_company(family, tmp_path):
    engine = engine_of(trained.packaged(family, "auto"), tmp_path)
    rows = trained.trained(family).rows("test")
    alone = np.array(list(parity.single_rows(engine, rows)))
    order = np.random.default_rng(1).permutation(len(rows)).tolist()
    assert engine.logits(rows, batches=[order]).tolist() == alone.tolist()
    assert engine.logits(rows, batches=[order[:7], order[7:]], pad=80, fill=5).tolist() == alone.tolist()


def test_the_package_says_what_it_is_and_replays_its_golden_messages(tmp_path):
    engine = engine_of(trained.packaged("gpt2", "auto"), tmp_path)
    assert engine.manifest.about == {"depth": 2}
    assert engine.manifest.max_tokens == trained.MAX_TOKENS
    texts = [row.text for row in engine.manifest.golden]
    assert texts[: len(GOLDEN)] == list(GOLDEN)
    assert set(texts[len(GOLDEN) :]) <= set(turning_messages())
    assert engine.replay_golden() == 0.0


@pytest.mark.parametrize("family", FAMILIES)
def test_golden_messages_of_either_verdict_lie_near_the_threshold(family, tmp_path):
    engine = engine_of(trained.packaged(family, "auto"), tmp_path)
    p, at = [row.probability for row in engine.manifest.golden], engine.threshold
    pool = engine.probabilities(engine.logits(engine.tokenize(turning_messages())))
    assert engine.manifest.golden_verdicts == {True, False}
    for side in (1, -1):
        far = [side * (one - at) for one in pool if side * (one - at) >= MARGIN]
        assert min(side * (one - at) for one in p if side * (one - at) > 0) <= min(far, default=1)


def test_what_is_nearest_to_a_threshold_is_chosen_on_either_side_of_it():
    texts, p = list("abcdefg"), [0.1, 0.3, 0.345, 0.35, 0.36, 0.38, 0.9]
    assert nearest_to_threshold(texts, p, 0.35) == ["f", "g", "b", "a"]
    assert nearest_to_threshold(texts, p, 0.01) == ["a", "b"]
    assert nearest_to_threshold(["x", "y"], [0.0, 0.02], 0.01) == ["x"]
    assert nearest_to_threshold([], [], 0.5) == []


@pytest.mark.parametrize(("family", "graph"), FAMILIES.items())
def test_a_package_holds_five_files_and_no_message_of_ours(family, graph):
    package = trained.packaged(family, "auto")
    assert package.files.keys() == {"manifest.json", "model.bin", graph, "tokenizer.json", "lookalikes.json"}
    for part in ("train", "validation", "test"):
        for message in getattr(trained.trained(family).parts, part)[:20]:
            told = json.dumps(message.text).encode()[1:-1]
            assert not [name for name, content in package.files.items() if told in content]


def test_floats_are_packaged_if_no_int8_keeps_its_scores(made):
    package = trained.package(made, trained.wish("auto", tolerance=-1.0))
    assert package.engine == "float32"
    assert list(package.distances) == ["int8", "int8-weights"]
    assert [warning.split()[0] for warning in package.warnings] == ["int8", "int8-weights"]
    assert all("--int8-tolerance -1" in warning for warning in package.warnings)


@pytest.mark.skipif(not multiplies_int8(), reason="this processor has no int8 products (VNNI): use a newer one")
def test_a_head_can_learn_from_the_features_that_it_will_be_given(made, tmp_path):
    train = [row.ids for row in made.rows("train")]
    compute = features_in_int8(made.classifier, made.tokenizer, train, trained.wish().seed)
    rows = made.rows("test")
    given = last(compute([row.ids for row in rows], "reading"))
    served = Embedder(manifest.write(trained.packaged("gpt2", "auto").files, tmp_path), threads=1)
    assert np.array_equal(given, last(served.features_of(rows, "reading")))


def test_a_graph_of_openvino_is_not_learnt_from():
    narrow = trained.trained("narrow")
    train = [row.ids for row in narrow.rows("train")]
    config = narrow.classifier.trunk.config
    narrow.classifier.trunk.model.set_attn_implementation("sdpa")
    assert features_in_int8(narrow.classifier, narrow.tokenizer, train, 0) is None
    assert config._attn_implementation == "sdpa"  # PyTorch computes them, as fast as before


def test_what_learnt_in_int8_is_not_held_to_the_verdicts_of_floats(made):
    package = trained.package(made, replace(trained.wish("auto", tolerance=-1.0), learnt_in_int8=True))
    assert list(package.distances) == ["int8", "int8-weights"]  # the fall of ROC-AUC still counts
    assert Distance(0.0, 0.5, 0.5).within(0.02, learnt_in_int8=True)
    assert not Distance(0.03, 0.0, 0.0).within(0.02, learnt_in_int8=True)
    assert not Distance(0.0, 0.5, 0.5).within(0.02)


def test_the_engine_that_is_asked_for_is_the_only_one_tried(made):
    package = trained.package(made, trained.wish("int8-weights"))
    assert (package.engine, list(package.distances)) == ("int8-weights", ["int8-weights"])
    assert trained.packaged("gpt2", "float32").distances == {}


def test_a_window_that_is_no_whole_number_of_lanes_can_be_filled(tmp_path):
    engine = Engine(tiny_packages.write(tmp_path / "package", max_tokens=13), threads=1)
    assert engine.classify(["win " * 50])[0].truncated


def test_the_reach_is_chosen_on_validation_rows_and_packaged_with_the_words(made, tmp_path):
    tokenizer = copy.copy(made.tokenizer)
    tokenizer.vocabulary = Vocabulary.of(tokenizer.cleaned([message.text for message in made.parts.train]))
    knowing = replace(made, tokenizer=tokenizer)
    package = trained.package(knowing, trained.wish("float32"))
    engine = engine_of(package, tmp_path)
    assert package.files[WORDS] == tokenizer.vocabulary.bits
    assert package.reach is not None
    assert engine.manifest.reach == package.reach.limit >= LEAST
    assert engine.manifest.about["out_of_reach"] == to_json(package.reach)
    rows = knowing.rows("validation")
    verdicts = engine.classify([message.text for message in made.parts.validation])
    assert [verdict.in_reach for verdict in verdicts] == [row.novelty <= package.reach.limit for row in rows]
    assert package.reach.good + package.reach.spam == len(rows)
    assert not engine.classify(["bihar arratsaldean elkartuko gara plazan"])[0].in_reach
