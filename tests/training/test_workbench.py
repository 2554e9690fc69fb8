"""Hold the workbench to what it lays out, and to what it refuses."""

import shutil

import pytest
import torch

from spamctl.errors import DataError
from spamctl.training.base_model import find_base_model
from spamctl.training.features import supports_bfloat16
from spamctl.training.fine_tune import open_workbench
from tests import tiny_models


def base_model(folder):
    return find_base_model(str(folder), "none")


@pytest.fixture
def threads():
    """Give back the number of threads that was set before."""
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


@pytest.mark.parametrize(("model", "blocks"), [("tiny_gpt2", 3), ("tiny_llama", 4)])
def test_messages_become_logits(model, blocks, request, messages):
    bench = open_workbench(base_model(request.getfixturevalue(model)), max_tokens=64)
    assert bench.trunk.depth == blocks
    rows = bench.tokenize([[message.text, message.label] for message in messages])
    assert [row.ids for row in rows] == [tiny_models.tokenizer().encode(message.text) for message in messages]
    classifier = bench.classifier(2)
    assert classifier.trunk.depth == 2
    ids = torch.tensor([rows[0].ids])
    assert classifier(ids, torch.tensor([ids.shape[1]])).shape == (1,)


def test_a_long_message_is_cut_to_what_was_asked_for(tiny_gpt2):
    bench = open_workbench(base_model(tiny_gpt2), max_tokens=8)
    (row,) = bench.tokenize([["~" * 99, "spam"]])
    assert (len(row.ids), row.truncated) == (8, True)


def test_the_window_of_the_model_is_the_limit(tiny_gpt2):
    found = base_model(tiny_gpt2)
    assert open_workbench(found, max_tokens=tiny_models.WINDOW).tokenizer.max_tokens == tiny_models.WINDOW
    with pytest.raises(DataError, match=r"^--max-tokens 513: \S+tiny-gpt2 reads at most 512$"):
        open_workbench(found, max_tokens=tiny_models.WINDOW + 1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_refused(tiny_gpt2):
    with pytest.raises(DataError, match="--device cuda: PyTorch sees no GPU here; use --device auto or cpu"):
        open_workbench(base_model(tiny_gpt2), max_tokens=8, device="cuda")
    assert open_workbench(base_model(tiny_gpt2), max_tokens=8, device="auto").device == torch.device("cpu")


def test_threads_are_bounded_as_asked(tiny_gpt2, threads):
    open_workbench(base_model(tiny_gpt2), max_tokens=8)
    assert torch.get_num_threads() == threads  # OMP_NUM_THREADS, or the machine, has decided
    open_workbench(base_model(tiny_gpt2), max_tokens=8, threads=threads + 1)
    assert torch.get_num_threads() == threads + 1


def test_the_frozen_pass_has_the_precision_that_was_asked_for(tiny_gpt2):
    found, cpu = base_model(tiny_gpt2), torch.device("cpu")
    types = {
        precision: open_workbench(found, max_tokens=8, device="cpu", precision=precision).dtype
        for precision in ("auto", "bf16", "float32")
    }
    assert (types["bf16"], types["float32"]) == (torch.bfloat16, torch.float32)
    assert types["auto"] == (torch.bfloat16 if supports_bfloat16(cpu) else torch.float32)


def test_the_tokenizer_of_another_model_is_refused(tiny_gpt2, tmp_path):
    folder = shutil.copytree(tiny_gpt2, tmp_path / "mixed")
    tiny_models.causal_model(tiny_models.gpt2_config(vocab_size=100, bos_token_id=1, eos_token_id=1)).save_pretrained(
        folder
    )
    with pytest.raises(DataError, match="the tokenizer knows more tokens than the model; they belong to two models"):
        open_workbench(base_model(folder), max_tokens=8)


@pytest.mark.parametrize("special", [False, True])
def test_a_token_that_was_added_and_has_no_embedding_is_refused_unless_no_text_becomes_it(tiny_gpt2, tmp_path, special):
    from tokenizers import AddedToken
    from transformers import AutoTokenizer

    folder = shutil.copytree(tiny_gpt2, tmp_path / "added")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    size = len(tokenizer)
    tokenizer.add_tokens([AddedToken("free cruise", special=special), AddedToken("tok3", special=special)])
    tokenizer.save_pretrained(folder)
    found = base_model(folder)
    if special:
        bench = open_workbench(found, max_tokens=32)
        (row,) = bench.tokenize([("Get a free cruise, tok3", "spam")])
        assert max(row.ids) < size
        return
    known = rf"2 tokens that the model does not know \(ids {size} to {size + 1}, embeddings {size}\): save it without"
    with pytest.raises(DataError, match=known):
        open_workbench(found, max_tokens=32)
    model = tiny_models.causal_model(tiny_models.gpt2_config())
    model.resize_token_embeddings(size + 2)
    model.save_pretrained(folder)
    (row,) = open_workbench(found, max_tokens=32).tokenize([("Get a free cruise, tok3", "spam")])
    assert max(row.ids) == size + 1
