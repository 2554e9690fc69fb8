"""A package is measured on every test message, alone, as it will be served."""

from dataclasses import replace

import numpy as np
import pytest

from spamctl.engine.engine import Engine
from spamctl.metrics import evaluation, scores
from spamctl.progress import ProgressUpdate
from spamctl.schema.codec import to_json
from tests import tiny_models, tiny_packages
from tests.ticks import last

TEST = tiny_models.messages(80, seed=5)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """Return the engine of a bag of tokens."""
    return Engine(tiny_packages.write(tmp_path_factory.mktemp("evaluation") / "package"), threads=1)


@pytest.fixture(scope="module")
def found(engine):
    """Return its evaluation."""
    return last(evaluation.evaluate(engine, TEST, seed=0))


def test_the_probabilities_are_those_that_a_message_gets_alone(engine, found):
    alone = [engine.classify([message.text])[0].probability for message in TEST]
    assert found.probabilities == alone


def test_the_scores_are_those_of_these_probabilities_at_the_packages_threshold(engine, found):
    truth = np.array([message.is_spam for message in TEST])
    assert found.score == scores.score(truth, np.array(found.probabilities), engine.threshold, seed=0)
    assert found.score.threshold == engine.threshold


def test_the_proof_covers_every_test_message(found):
    assert found.parity.rows == len(TEST)
    assert found.parity.holds


def test_texts_that_were_cut_are_counted(engine):
    cut = [replace(message, text="word " * 200) for message in TEST[:4]]
    assert last(evaluation.evaluate(engine, TEST + cut, seed=0)).truncated == 4


def test_slices_and_mistakes_are_told_as_plain_values(engine):
    flipped = [replace(message, label=TEST[index - 1].label) for index, message in enumerate(TEST)]
    found = last(evaluation.evaluate(engine, flipped, seed=0))
    assert found.mistakes
    told = to_json(found)
    assert {type(row) for row in told["mistakes"] + told["slices"]} == {dict}


def test_each_message_is_a_tick(engine):
    ticks = list(evaluation.evaluate(engine, TEST, seed=0))
    assert {type(tick) for tick in ticks} == {ProgressUpdate}
    assert [tick.done for tick in ticks] == list(range(1, len(TEST) + 1))
    assert {tick.total for tick in ticks} == {len(TEST)}
