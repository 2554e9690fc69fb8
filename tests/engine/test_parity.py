"""A package whose scores depend on padding, batch or order is found, and goes no further."""

import numpy as np
import pytest

from spamctl.engine import manifest, parity
from spamctl.engine.engine import Engine
from spamctl.engine.tokens import TokenRow
from spamctl.errors import ArtefactError
from spamctl.metrics import evaluation
from spamctl.schema.codec import to_json
from spamctl.schema.evaluation import TOLERANCE, Parity
from tests import tiny_models, tiny_packages
from tests.ticks import last

TEST = tiny_models.messages(150, seed=3)
FLAWS = [tiny_packages.PADS_IN_THE_MEAN, tiny_packages.LAST_COLUMN]


def engine_of(folder, flaw="", **changes):
    return Engine(tiny_packages.write(folder / "package", flaw, **changes), threads=1)


def proof_of(engine, messages=TEST):
    rows = engine.tokenize([message.text for message in messages])
    alone = np.array(list(parity.single_rows(engine, rows)))
    return parity.check(engine, rows, alone, seed=0)


def test_an_honest_package_passes(tmp_path):
    proof = proof_of(engine_of(tmp_path))
    proof.require()
    assert proof.rows == len(TEST)
    assert proof.changed == 0
    assert proof.max_delta < 1e-6
    assert to_json(proof) == {"rows": proof.rows, "max_delta": proof.max_delta, "changed": 0}


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_graph_that_reads_padding_is_refused(tmp_path, flaw):
    with pytest.raises(ArtefactError, match="padding is read somewhere"):
        proof_of(engine_of(tmp_path, flaw)).require()


def test_a_score_that_moves_is_refused_though_no_verdict_changes(tmp_path):
    proof = proof_of(engine_of(tmp_path, tiny_packages.PADS_IN_THE_MEAN, scale=0.01, threshold=1e-9))
    assert proof.changed == 0
    assert proof.max_delta > TOLERANCE
    with pytest.raises(ArtefactError, match="batching changes 0 of 150 verdicts"):
        proof.require()


def test_a_verdict_that_changes_is_refused_though_scores_hardly_move():
    with pytest.raises(ArtefactError, match="batching changes 1 of 9 verdicts"):
        Parity(rows=9, max_delta=0.0, changed=1).require()


@pytest.mark.parametrize("delta", [TOLERANCE, float("nan"), float("inf")])
def test_the_tolerance_itself_is_too_much(delta):
    with pytest.raises(ArtefactError):
        Parity(rows=9, max_delta=delta, changed=0).require()


@pytest.mark.parametrize("flaw", FLAWS)
def test_padding_to_the_window_finds_what_rows_of_one_length_hide(tmp_path, flaw):
    engine = engine_of(tmp_path, flaw)
    rows = [TokenRow([3, 4, index % 5], truncated=False) for index in range(40)]
    alone = np.array(list(parity.single_rows(engine, rows)))
    assert engine.logits(rows) == pytest.approx(alone)  # all ways but one agree
    assert parity.check(engine, rows, alone, seed=0).max_delta > TOLERANCE


def test_one_row_is_enough(tmp_path):
    proof_of(engine_of(tmp_path), TEST[:1]).require()


@pytest.mark.parametrize("flaw", FLAWS)
def test_evaluation_does_not_come_to_an_end_with_such_a_package(tmp_path, flaw):
    with pytest.raises(ArtefactError, match="is not registered"):
        last(evaluation.evaluate(engine_of(tmp_path, flaw), TEST, seed=0))


@pytest.fixture
def planted(monkeypatch):
    """Plant a known bug in a classifier: its own pooling reads pads."""
    import torch

    from spamctl.training import model

    def last_column(hidden_states, lengths, _closing, _opening):
        return torch.cat([hidden_states.mean(dim=1), hidden_states[:, -1]], dim=1) + 0 * lengths[:, None]

    def mean_of_all(hidden_states, lengths, closing, opening):
        honest = pool(hidden_states, lengths, closing, opening)
        width = hidden_states.shape[-1]
        return torch.cat([hidden_states.mean(dim=1), honest[:, width:]], dim=1)

    pool = model.pool
    bugs = {"last pad": last_column, "mean over pads": mean_of_all}
    return lambda name: monkeypatch.setattr(model, "pool", bugs[name])


@pytest.mark.slow
@pytest.mark.parametrize("bug", ["last pad", "mean over pads"])
def test_a_language_model_with_the_known_bug_is_refused(tmp_path, planted, bug):
    from tests import trained

    made = trained.trained("gpt2")
    planted(bug)
    engine = Engine(manifest.write(trained.package(made, trained.wish("float32")).files, tmp_path), threads=1)
    with pytest.raises(ArtefactError, match="padding is read somewhere"):
        last(evaluation.evaluate(engine, made.parts.test, seed=0))


@pytest.mark.slow
@pytest.mark.parametrize(("family", "engine"), [("gpt2", "float32"), ("gpt2", "auto"), ("llama", "float32")])
def test_a_language_model_without_it_passes(tmp_path, family, engine):
    from tests import trained

    made = trained.trained(family)
    packaged = Engine(manifest.write(trained.files(family, engine), tmp_path), threads=1)
    assert packaged.manifest.engine == {"auto": "int8"}.get(engine, engine)
    found = last(evaluation.evaluate(packaged, made.parts.test, seed=0))
    assert found.parity.changed == 0
    assert found.parity.max_delta < TOLERANCE
