"""A classifier is written for the runtime that is faster with it, and for the other one where that cannot run it."""

import pytest

from spamctl.export import package
from spamctl.export.package import SHORT, exporter
from spamctl.training.model import SpamClassifier, Trunk
from tests import tiny_models, trained

ONNX_FILES, XML_FILES = {"model.onnx", "model.bin"}, {"model.xml", "model.bin"}
ROWS = [[1, 2, 3]] * 4

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made():
    """Return a tiny Llama that has learnt."""
    return trained.trained("llama")


def classifier_of(config):
    return SpamClassifier(Trunk(tiny_models.causal_model(config).base_model))


@pytest.mark.parametrize(("tokens", "files"), [(SHORT, ONNX_FILES), (SHORT + 1, XML_FILES)])
def test_how_long_messages_are_decides(made, tokens, files):
    assert exporter(made.classifier, [[1] * tokens, [2] * tokens], trained.MAX_TOKENS).float32().keys() == files


def test_each_of_its_numbers_is_written(made):
    export = exporter(made.classifier, ROWS, trained.MAX_TOKENS)
    rows = [row.ids for row in made.rows("train")]
    assert export.float32().keys() == export.int8(rows, seed=0).keys() == ONNX_FILES
    assert export.int8_weights().keys() == XML_FILES
    assert export.int8(rows, seed=0) == export.int8(rows, seed=0) != export.int8(rows, seed=1)


@pytest.mark.parametrize("config", [tiny_models.llama_config(), tiny_models.gpt2_config()], ids=str)
def test_a_size_of_head_that_cannot_be_turned_is_left_to_openvino(config):
    turns = config.model_type == "llama"
    files = exporter(classifier_of(config), ROWS, 32).float32().keys()
    assert files == (XML_FILES if turns else ONNX_FILES)


def test_a_graph_that_scores_otherwise_is_not_taken(made, monkeypatch):
    monkeypatch.setattr(package, "scores_alike", lambda *_: False)
    assert exporter(made.classifier, ROWS, trained.MAX_TOKENS).float32().keys() == XML_FILES
