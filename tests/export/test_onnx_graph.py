"""A graph of ONNX Runtime's own operations scores as PyTorch does, and in int8 the same whatever is beside a row."""

import numpy as np
import pytest

from spamctl.engine import manifest
from spamctl.engine.manifest import SUFFIXES
from spamctl.engine.runtime import FEATURES, LOGITS, ONNX, session
from spamctl.export import onnx, smooth_quant
from spamctl.export.onnx import to_onnx_files
from spamctl.export.openvino import one_row, scores_alike
from spamctl.training.model import SpamClassifier, Trunk
from tests import tiny_models

PLACES = 64
OPENING = (5, 9)  # of every row, whether the classifier knows of it or not
LENGTHS = np.array([20, 3, 11])


def opened(ids):
    """Begin each row of token ids as a prompt does."""
    ids[:, : len(OPENING)] = OPENING
    return ids


IDS = opened(np.arange(1, 61).reshape(3, 20))


def llama(**changes):
    return tiny_models.llama_config(**{"head_dim": 16} | changes)


def sizes(**changes):
    """Return what another kind of model may have of a Llama."""
    return {name: value for name, value in llama(**changes).to_diff_dict().items() if name != "model_type"}


def biased():
    """Return the configuration of a Llama with a bias in each product."""
    return llama(attention_bias=True, mlp_bias=True)


def slowly_turning():
    """Return the configuration of a Llama whose places turn as those of Llama 3 do, for longer texts."""
    turn = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    return llama(rope_parameters=turn | {"original_max_position_embeddings": 32, "rope_theta": 10_000.0})


def mistral():
    """Return the configuration of a model each of whose tokens sees the last five."""
    from transformers import MistralConfig

    return MistralConfig(**sizes() | {"sliding_window": 5})


def qwen():
    """Return the configuration of a model with a bias before attention alone."""
    from transformers import Qwen2Config

    return Qwen2Config(**sizes(hidden_size=64))


def plain_gpt2():
    """Return the configuration of a GPT-2 with the exact GELU, and scores that nothing divides."""
    return tiny_models.gpt2_config(activation_function="gelu", scale_attn_weights=False)


FAMILIES = [tiny_models.gpt2_config, plain_gpt2, llama, biased, slowly_turning, mistral, qwen]


@pytest.fixture(params=FAMILIES, ids=lambda config: config.__name__)
def classifier(request):
    """Return a classifier of random weights, biases too, so that none that is left out goes unseen.

    That of every other family reads the mean of the last three tokens, and nothing of the first two.
    """
    prompted = FAMILIES.index(request.param) % 2
    return of(request.param(), closing=1 + 2 * prompted, opening=OPENING * prompted)


def of(config, closing=1, opening=()):
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(1)
        made = SpamClassifier(Trunk(tiny_models.causal_model(config).base_model)).eval()
        for name, weights in made.named_parameters():
            if name.endswith("bias") or "norm" in name or ".ln_" in name:
                torch.nn.init.normal_(weights, mean=float("bias" not in name), std=0.2)
    made.trunk.opening, made.trunk.closing = opening, closing
    return made


def run(files, folder, outputs, inputs):
    folder.mkdir(exist_ok=True)
    return session(manifest.write(files, folder) / ONNX, 1).run(outputs, inputs)


def test_it_scores_as_torch_does_and_tells_what_the_head_reads(classifier, tmp_path):
    import torch

    files = to_onnx_files(onnx.read_spec(classifier, PLACES))
    logits, features = run(files, tmp_path, [LOGITS, FEATURES], {"input_ids": IDS, "lengths": LENGTHS})
    with torch.inference_mode():
        ids, lengths = torch.from_numpy(IDS), torch.from_numpy(LENGTHS)
        expected = classifier.trunk.pool(classifier.trunk(ids), lengths).numpy()
        judged = classifier(ids, lengths).numpy()
    assert features == pytest.approx(expected, abs=1e-4)
    assert logits == pytest.approx(judged, abs=1e-4)
    found = session(tmp_path / ONNX, 1)
    assert scores_alike(lambda inputs: found.run([LOGITS], inputs)[0], classifier, PLACES)


def test_shifting_what_is_hard_to_round_changes_no_score(classifier, tmp_path):
    drawn = onnx.read_spec(classifier, PLACES)
    ready = rounded(drawn, tmp_path)
    inputs = {"input_ids": IDS, "lengths": LENGTHS}
    before, after = (run(to_onnx_files(made), tmp_path, [LOGITS], inputs)[0] for made in (drawn, ready.blueprint))
    assert after == pytest.approx(before, abs=1e-4)
    assert any((new.attention_norm.gain != old.attention_norm.gain).any()
               for new, old in zip(ready.blueprint.blocks, drawn.blocks, strict=True))  # fmt: skip


def test_in_int8_it_scores_nearly_as_in_float32_and_a_row_always_the_same(classifier, tmp_path):
    drawn = onnx.read_spec(classifier, PLACES)
    ready = rounded(drawn, tmp_path)
    files = to_onnx_files(ready.blueprint, ready.grids)
    random = np.random.default_rng(0)
    ids, lengths = opened(random.integers(1, 380, (12, 24))), random.integers(3, 25, 12)
    inputs = {"input_ids": ids, "lengths": lengths}
    exact = run(to_onnx_files(drawn), tmp_path, [LOGITS], inputs)[0]
    found = run(files, tmp_path, [LOGITS], inputs)[0]
    assert np.sqrt(np.square(found - exact).mean()) < 0.25 * exact.std()  # of so narrow a model
    assert not (found == exact).all()
    single = session(tmp_path / ONNX, 2)
    for row, length in enumerate(lengths):
        padded = np.full((1, -(-length // 4) * 4), 7)
        padded[0, :length] = ids[row, :length]
        (alone,) = single.run([LOGITS], {"input_ids": padded, "lengths": lengths[row : row + 1]})
        assert alone[0] == found[row]


def rounded(drawn, folder):
    """Return a blueprint that rows of random tokens have made ready for int8."""
    names = smooth_quant.names_in(drawn)
    files = to_onnx_files(drawn, watch=names)
    rows = opened(np.random.default_rng(0).integers(1, 380, (40, 16)))
    values = [run(files, folder, names, one_row(ids.tolist())) for ids in rows[:8]]
    loaded = session(folder / ONNX, 1)
    values += [loaded.run(names, one_row(ids.tolist())) for ids in rows[8:]]
    return smooth_quant.rounding(drawn, smooth_quant.reaches(names, values))


def test_it_is_saved_in_files_that_a_package_may_hold_the_same_each_time(tmp_path):
    drawn = onnx.read_spec(of(llama()), PLACES)
    files = to_onnx_files(drawn)
    assert files.keys() == {"model.onnx", "model.bin"}
    assert {f".{name.rpartition('.')[2]}" for name in files} <= SUFFIXES
    assert to_onnx_files(drawn) == files
    assert str(tmp_path).encode() not in files["model.onnx"]


def test_weights_of_int8_are_a_quarter_as_large(tmp_path):
    drawn = onnx.read_spec(of(llama(hidden_size=128, intermediate_size=512)), PLACES)
    ready = rounded(drawn, tmp_path)
    small, large = to_onnx_files(ready.blueprint, ready.grids)["model.bin"], to_onnx_files(drawn)["model.bin"]
    assert len(small) < len(large) / 3


def test_what_nothing_ever_moves_can_be_rounded():
    silent = smooth_quant.ChannelRange(np.zeros((4, 3), np.float32), np.zeros((4, 3), np.float32))
    grid = silent.grid(np.ones(3, np.float32))
    assert grid.scale > 0
    assert 0 <= grid.zero <= 255


@pytest.mark.parametrize(("low", "high"), [(-3.0, 1.0), (0.5, 2.0), (-2.0, -0.5)])
def test_a_grid_holds_nought_and_what_was_seen(low, high):
    reach = smooth_quant.ChannelRange(np.full((9, 2), low, np.float32), np.full((9, 2), high, np.float32))
    grid = reach.grid(np.ones(2, np.float32))
    ends = [(whole - grid.zero) * grid.scale for whole in (0, 255)]
    assert ends[0] <= min(low, 0) + grid.scale
    assert ends[1] >= max(high, 0) - grid.scale
    assert 0 <= grid.zero <= 255


def test_the_factor_of_a_channel_is_that_of_the_paper():
    """Xiao et al. 2023: the peak of what enters to the power of alpha, over that of the weights to the rest."""
    found = smooth_quant._factors(np.array([8.0, 0.5]), np.array([0.25, 2.0]))
    assert found == pytest.approx([8**0.85 / 0.25**0.15, 0.5**0.85 / 2**0.15])


def test_blocks_of_another_kind_are_not_read():
    from transformers import Gemma2Config

    assert onnx.read_spec(of(Gemma2Config(**sizes())), PLACES) is None
    assert onnx.read_spec(of(tiny_models.gpt2_config(activation_function="relu")), PLACES) is None


def test_a_place_beyond_the_last_of_the_model_is_there_to_pad_with():
    drawn = onnx.read_spec(of(tiny_models.gpt2_config(n_positions=10)), 16)
    assert drawn.places.shape[0] == 16
    assert drawn.places[:10].any(1).all()
    assert not drawn.places[10:].any()
