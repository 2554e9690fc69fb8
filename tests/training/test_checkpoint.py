"""Hold checkpoints to coming back whole, or not at all."""

import random
import shutil

import pytest
import torch
from safetensors.torch import save_file

from spamctl.training.loop import KEEP, Checkpoint, Checkpoints, checkpoint_folder

TENSORS = {
    "weights/head": torch.arange(6.0).reshape(2, 3),
    "adamw/0/step": torch.tensor(7.0),
    "best/block": torch.ones(3, dtype=torch.bfloat16),
    "random": torch.arange(16, dtype=torch.uint8),
}


@pytest.fixture
def checkpoints(tmp_path):
    """Return a folder in which steps 10 and 20 were kept."""
    kept = Checkpoints(tmp_path / "kept")
    for step in (10, 20):
        kept.save(step, Checkpoint(TENSORS, {"step": step, "best_loss": None}))
    return kept


def newest_file(checkpoints):
    return max(checkpoints.folder.glob("*.safetensors"))


def flip(path, byte, bit=0):
    content = bytearray(path.read_bytes())
    content[byte] ^= 1 << bit
    path.write_bytes(content)


def test_what_was_kept_comes_back(checkpoints):
    (found,) = checkpoints.newest()
    assert found.place == {"step": 20, "best_loss": None}
    assert found.tensors.keys() == TENSORS.keys()
    for name, tensor in found.tensors.items():
        assert tensor.dtype == TENSORS[name].dtype
        assert torch.equal(tensor, TENSORS[name])


def test_only_the_newest_few_are_kept(checkpoints):
    for step in (30, 40, 100):
        checkpoints.save(step, Checkpoint(TENSORS, {"step": step}))
    assert len(list(checkpoints.folder.iterdir())) == KEEP
    assert next(checkpoints.newest()).place == {"step": 100}


def test_an_empty_or_absent_folder_holds_none(tmp_path):
    assert list(Checkpoints(tmp_path).newest()) == []
    assert list(Checkpoints(tmp_path / "absent").newest()) == []
    Checkpoints(tmp_path / "absent").clear()


DAMAGE = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "cut in its header": lambda path: path.write_bytes(path.read_bytes()[:40]),
    "empty": lambda path: path.write_bytes(b""),
    "a bit of a tensor": lambda path: flip(path, -1),
    "a digit of its place": lambda path: flip(path, path.read_bytes().index(b'step\\": 20') + 8),
    "foreign": lambda path: save_file({"weights/head": torch.zeros(2)}, path),
    "no safetensors": lambda path: path.write_text("not a checkpoint"),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_broken_one_is_skipped_with_a_warning(checkpoints, damage):
    DAMAGE[damage](newest_file(checkpoints))
    warning, found = checkpoints.newest()
    assert warning.startswith("checkpoint step-00000020.safetensors is broken")
    assert found.place["step"] == 10


def test_no_flipped_bit_goes_unseen(checkpoints):
    path, dice = newest_file(checkpoints), random.Random(0)
    whole = path.read_bytes()
    for _ in range(60):
        flip(path, dice.randrange(len(whole)), dice.randrange(8))
        *_, found = checkpoints.newest()
        same = found.tensors.keys() == TENSORS.keys() and found.place["step"] == 20
        assert found.place["step"] == 10 or (same and all(torch.equal(found.tensors[n], TENSORS[n]) for n in TENSORS))
        path.write_bytes(whole)


def test_if_all_are_broken_each_is_named(checkpoints):
    for path in checkpoints.folder.iterdir():
        path.write_bytes(b"")
    assert [str(found)[:24] for found in checkpoints.newest()] == [
        "checkpoint step-00000020",
        "checkpoint step-00000010",
    ]


def test_a_half_written_file_is_not_looked_at(checkpoints):
    whole = newest_file(checkpoints)
    shutil.copy(whole, checkpoints.folder / "step-00000030.4711.part")
    (found,) = checkpoints.newest()
    assert found.place["step"] == 20
    checkpoints.clear()
    assert not checkpoints.folder.exists()


def test_saving_leaves_nothing_half_written(checkpoints):
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == [
        "step-00000010.safetensors",
        "step-00000020.safetensors",
    ]


def test_the_folder_is_named_by_all_that_decides_the_outcome():
    facts = ({"epochs": 3, "seed": 0}, {"sha256": "ab"}, {"name": "gpt2"}, 9)
    assert checkpoint_folder(*facts) == checkpoint_folder({"seed": 0, "epochs": 3}, *facts[1:])
    others = {
        checkpoint_folder({"epochs": 4, "seed": 0}, *facts[1:]),
        checkpoint_folder(*facts[:3], 10),
        checkpoint_folder(*facts),
    }
    assert len(others) == 3
    assert checkpoint_folder(*facts).parts[:2] == (".spamctl", "checkpoints")
