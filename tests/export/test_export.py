"""A classifier becomes a graph that scores as it did, and int8 keeps each score independent of its batch."""

import logging
import sys
import warnings

import numpy as np
import pytest

from spamctl.engine.manifest import SUFFIXES
from spamctl.export import openvino as export
from spamctl.export.openvino import EAGER, Distance, distance
from tests import trained
from tests.each import each

TRUTH = np.array([False, False, True, True])
EXACT = np.array([-2.0, -1.0, 1.0, 2.0])


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (EXACT, Distance(0.0, 0.0, 0.0)),
        (EXACT[::-1].copy(), Distance(1.0, 0.5, 1 / (1 + np.exp(-2.0)) - 1 / (1 + np.exp(2.0)))),
        (np.array([-2.0, 1.5, 1.0, 2.0]), Distance(0.25, 0.25, 1 / (1 + np.exp(-1.5)) - 1 / (1 + np.exp(1.0)))),
    ],
)
def test_the_distance_of_two_engines_is_what_arithmetic_says(other, expected):
    found = distance(TRUTH, EXACT, other, 0.0)
    assert found.auc_fall == pytest.approx(expected.auc_fall)
    assert found.changed == expected.changed
    assert found.largest == pytest.approx(expected.largest)


def test_an_engine_that_ranks_better_has_not_fallen():
    assert distance(TRUTH, EXACT[::-1].copy(), EXACT, 0.0).auc_fall == -1.0


@each(
    ("fall", "changed", "tolerance", "within"),
    [
        (0.02, 0.02, 0.02, True),
        (-0.5, 0.0, 0.0, True),
        (0.021, 0.0, 0.02, False),
        (0.0, 0.021, 0.02, False),
        (float("nan"), 0.0, 1.0, False),
    ],
)
def test_both_the_fall_and_the_changes_must_be_within(fall, changed, tolerance, within):
    assert Distance(fall, changed, largest=1.0).within(tolerance) is within


def test_quiet_keeps_chatter_off_the_output_and_gives_it_back(capsys):
    with export.quiet():
        print("chatter")
        warnings.warn("chatter", stacklevel=1)
        logging.getLogger("chatter").warning("chatter")
        logging.root.setLevel(logging.ERROR)  # as OpenVINO does
        logging.root.addFilter(lambda _record: False)
    assert capsys.readouterr() == ("", "")
    print("speech")
    assert capsys.readouterr().out == "speech\n"
    assert logging.getLogger("speech").isEnabledFor(logging.WARNING)
    assert not logging.root.filters


def test_quiet_does_not_swallow_an_error():
    stream = sys.stdout
    with pytest.raises(ZeroDivisionError), export.quiet():
        print(1 / 0)
    assert sys.stdout is stream


def infer(model, ids, lengths):
    import openvino

    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled({"input_ids": np.array(ids), "lengths": np.array(lengths)})[0]


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def made(request):
    """Return a tiny classifier that has learnt."""
    return trained.trained(request.param)


@pytest.fixture(scope="module")
def graph(made):
    """Return its graph."""
    return export.to_openvino(made.classifier)


@pytest.mark.slow
def test_the_graph_takes_any_number_of_rows_and_tokens_and_scores_as_torch_does(made, graph):
    import torch

    random = np.random.default_rng(0)
    for rows, tokens in ((1, 1), (1, 96), (5, 7), (64, 33)):
        ids = random.integers(0, 300, (rows, tokens))
        lengths = random.integers(1, tokens + 1, rows)
        with torch.inference_mode():
            expected = made.classifier(torch.from_numpy(ids), torch.from_numpy(lengths)).numpy()
        assert infer(graph, ids, lengths) == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("made", ["llama"], indirect=True)
def test_what_cannot_be_traced_goes_through_onnx_and_scores_the_same(made, graph, monkeypatch):
    monkeypatch.setattr(export, "scores_alike", lambda *_: False)
    other = export.to_openvino(made.classifier)
    ids, lengths = np.arange(1, 61).reshape(3, 20), [20, 3, 11]
    assert infer(other, ids, lengths) == pytest.approx(infer(graph, ids, lengths), abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["a length", "an error"])
def test_a_trace_that_holds_for_the_example_alone_is_no_export(made, wrong, monkeypatch):
    whole = made.classifier.judge

    def judge(hidden_states, lengths):
        if wrong == "an error":
            raise RuntimeError("no way")
        return whole(hidden_states, lengths) * (1 if hidden_states.shape[1] == 12 else 2)

    assert export.traced(made.classifier, EAGER) is not None
    monkeypatch.setattr(made.classifier, "judge", judge)
    assert export.traced(made.classifier, EAGER) is None


@each("n", [1, 2])
@each("dim", [-1, 0])
def test_the_difference_that_a_trace_takes_is_that_of_torch(n, dim):
    import torch

    values = torch.arange(12).reshape(3, 4) ** 2
    assert torch.equal(export._diff(values, n, dim), torch.diff(values, n, dim))
    assert torch.equal(export._diff(values, 1, dim, values), torch.diff(values, dim=dim, prepend=values))


@pytest.mark.slow
def test_the_graph_is_saved_in_files_that_a_package_may_hold(graph):
    files = export.to_files(graph)
    assert files.keys() == {"model.xml", "model.bin"}
    assert {f".{name.rpartition('.')[2]}" for name in files} <= SUFFIXES


def sample(made):
    """Return token ids that calibrate int8."""
    return export.calibrating([row.ids for row in made.rows("train")], seed=3)


def test_as_many_rows_calibrate_as_are_needed_and_each_once():
    rows = [[row] for row in range(300)]
    chosen = export.calibrating(rows, seed=0)
    assert len({ids[0] for ids in chosen}) == len(chosen) == export.CALIBRATION_ROWS
    assert export.calibrating(rows, seed=0) == chosen != export.calibrating(rows, seed=1)
    assert sorted(export.calibrating(rows[:5], seed=0)) == rows[:5]


@pytest.fixture(scope="module")
def smaller(made, graph):
    """Return the graph in int8, with int8 weights alone, and the files of the graph before."""
    before = export.to_files(graph)
    return export.quantise(graph, sample(made)), export.compress_weights(graph), before


@pytest.mark.slow
def test_int8_is_smaller_and_leaves_the_graph_it_came_from_alone(graph, smaller):
    *graphs, before = smaller
    for one in graphs:
        assert len(export.to_files(one)["model.bin"]) < len(before["model.bin"]) / 2
    assert export.to_files(graph) == before


@pytest.mark.slow
def test_int8_holds_no_table_of_all_tokens_in_float32(made, graph, smaller, monkeypatch):
    ids, lengths = np.arange(1, 61).reshape(3, 20), [20, 3, 11]
    slim, compressed, _ = smaller
    monkeypatch.setattr(export, "look_up_first", lambda model: model)
    whole = export.quantise(graph, sample(made))
    assert table_types(slim) == table_types(compressed) == {"i8"}
    assert "f32" in table_types(whole)
    assert infer(slim, ids, lengths) == pytest.approx(infer(whole, ids, lengths), abs=1e-6)


def table_types(model):
    """Return the types of the tables of tokens that a compiled graph takes rows from."""
    import openvino

    ran = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).get_runtime_model()
    sources = [
        node.input_value(0) for node in ran.get_ordered_ops() if node.get_rt_info()["layerType"].astype(str) == "Gather"
    ]
    return {
        source.get_node().get_rt_info()["outputPrecisions"].astype(str)
        for source in sources
        if source.get_partial_shape().rank.get_length() == 2
        and source.get_shape()[0] > 300
        and source.get_shape()[1] > 1
    }


@pytest.mark.slow
def test_int8_comes_out_the_same_each_time(made, graph, smaller):
    again = export.quantise(graph, sample(made))
    assert export.to_files(smaller[0])["model.bin"] == export.to_files(again)["model.bin"]


def test_a_verdict_that_changes_is_one_that_would_be_served():
    truth = np.array([False] * 100 + [True] * 2)
    exact = np.concatenate([np.arange(100.0), [95.5, 200.0]])
    moved = exact + 1000.0 * (exact < 50)  # the lower half of the good ones is flagged first now
    assert distance(truth, exact, exact + 7.0, 0.05).changed == 0  # each engine has its own threshold
    assert distance(truth, exact, moved, 0.05).changed > 0.05
    assert distance(truth, exact, np.where(exact == 95.5, 90.0, exact), 0.05).changed == pytest.approx(1 / 102)
