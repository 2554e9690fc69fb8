"""Hold the search on a hub to what it finds, to what it refuses, and to the seconds that it may wait."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from huggingface_hub import constants

from spamctl.errors import DataError, UnavailableError
from spamctl.training import base_model
from spamctl.training.base_model import find_base_model, load_tokenizer, load_trunk
from tests import local_hub

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def pickles(tmp_path):
    """Return a folder as models were published before safetensors."""
    folder = tmp_path / "published" / "pickles"
    folder.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "pytorch_model.bin"):
        (folder / name).write_text("{}")
    return folder


@pytest.fixture
def server(tiny_gpt2, pickles):
    """Run a hub that has a tiny GPT-2, with and without an owner, and a model of pickles."""
    with local_hub.serving({"tiny": tiny_gpt2, "owner/tiny": tiny_gpt2, "pickles": pickles}) as server:
        yield server


@pytest.fixture(autouse=True)
def settings(server, monkeypatch, tmp_path):
    """Point the hub's library, which read its settings as it was loaded, to the local hub and an empty cache."""
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(base_model, "PATIENCE", 1.0)


@pytest.mark.parametrize("name", ["tiny", pytest.param("owner/tiny", marks=pytest.mark.slow)])
def test_a_model_is_downloaded_once_and_then_found_in_silence(server, tiny_gpt2, name, monkeypatch):
    found = find_base_model(name, "none")
    assert (found.name, found.origin, found.is_fallback) == (name, "hub, revision 0123456789ab", False)
    assert {path.name for path in found.folder.iterdir()} == {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    assert (found.folder / "model.safetensors").read_bytes() == (tiny_gpt2 / "model.safetensors").read_bytes()
    assert load_trunk(found.folder).depth == 3
    assert load_tokenizer(found.folder)[0].get_vocab_size() == 384

    monkeypatch.setattr(constants, "ENDPOINT", NOWHERE)
    asked, started = len(server.asked), time.monotonic()
    again = find_base_model(name, "none")
    assert time.monotonic() - started < 3
    assert (again.folder, again.origin) == (found.folder, "hub cache, revision 0123456789ab")
    assert len(server.asked) == asked


def test_no_pickle_is_asked_for(server):
    with pytest.raises(DataError, match="--base-model pickles: the hub has no safetensors weights"):
        find_base_model("pickles", "smollm2-135m")
    assert any("config.json" in path for path in server.asked)
    assert not any("pytorch_model.bin" in path for path in server.asked)


def test_an_incomplete_cache_is_no_model(monkeypatch):
    folder = base_model.find_on_hub("tiny")[1]
    for missing in ("model.safetensors", "tokenizer.json", "config.json"):
        (folder / missing).rename("aside")
        with monkeypatch.context() as later:
            later.setattr(constants, "ENDPOINT", NOWHERE)
            with pytest.raises(UnavailableError, match="the hub does not answer"):
                base_model.find_on_hub("tiny")
        Path("aside").rename(folder / missing)
    assert base_model.find_on_hub("tiny")[0].startswith("hub cache, ")
    (folder / "tokenizer.json").unlink()
    assert base_model.find_on_hub("tiny")[0].startswith("hub, ")


def test_a_model_in_parts_is_complete_with_every_part(tmp_path):
    for name in ("config.json", "tokenizer.json", "part-1.safetensors"):
        (tmp_path / name).write_text("{}")
    index = {"weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert not base_model.is_complete(tmp_path)
    (tmp_path / "part-2.safetensors").write_text("")
    assert base_model.is_complete(tmp_path)


@pytest.mark.parametrize(
    "name", ["my model", "a--b", "-x", "x" * 97, "a..b", "model.git", "", "gpt2\n", "пример", "a/b c"]
)
def test_no_hub_is_asked_for_what_is_no_name(server, name):
    with pytest.raises(DataError, match="no such folder, and no hub has such a name"):
        find_base_model(name, "smollm2-135m")
    assert server.asked == []


def test_a_model_that_does_not_exist_is_no_reason_for_the_fallback():
    with pytest.raises(DataError, match="--base-model gtp2: the hub has no such model, or it needs HF_TOKEN"):
        find_base_model("gtp2", "smollm2-135m")


@pytest.mark.slow
def test_a_guarded_model_needs_the_users_token(server, monkeypatch, tmp_path):
    monkeypatch.setattr(base_model, "PATIENCE", 5.0)
    server.token = "hf_right"
    for token in ("", "hf_wrong"):
        monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(DataError, match="needs HF_TOKEN") as refusal:
            base_model.find_on_hub("tiny")
        assert "hf_" not in str(refusal.value)
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    assert base_model.find_on_hub("tiny")[1].is_dir()


@pytest.mark.parametrize("fault", ["500", "503", "429", "404", "403", pytest.param("silent", marks=pytest.mark.slow)])
def test_a_hub_in_trouble_means_the_fallback(server, tiny_llama, fault):
    """What a proxy answers (404, 403 without a reason) says nothing about the model."""
    server.fault = fault
    started = time.monotonic()
    found = find_base_model("tiny", str(tiny_llama))
    assert time.monotonic() - started < 5
    assert (found.folder, found.requested, found.is_fallback) == (tiny_llama, "tiny", True)
    with pytest.raises(UnavailableError, match=r"--base-model tiny: the hub .*; try --base-model smollm2-135m"):
        find_base_model("tiny", "none")


@pytest.mark.parametrize("address", [NOWHERE, "http://no-such-host.invalid", "not an address"])
def test_no_hub_means_the_fallback(tiny_llama, monkeypatch, address):
    monkeypatch.setattr(constants, "ENDPOINT", address)
    started = time.monotonic()
    assert find_base_model("tiny", str(tiny_llama)).is_fallback
    assert time.monotonic() - started < 5
    with pytest.raises(UnavailableError, match=r"--base-model tiny: .*; --fallback-base-model owner/tiny: "):
        find_base_model("tiny", "owner/tiny")


@pytest.mark.slow
def test_a_full_disk_is_said(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UnavailableError, match=r"broke off \(NotADirectoryError\)"):
        base_model.find_on_hub("tiny")


def test_who_wants_no_hub_is_not_taken_to_one(server, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UnavailableError, match="not in the cache, and HF_HUB_OFFLINE forbids asking"):
        base_model.find_on_hub("tiny")
    assert server.asked == []


@pytest.mark.slow
def test_the_variables_of_the_hub_are_heeded(server, tmp_path, pytestconfig):
    code = "from spamctl.training.base_model import find_on_hub; print(*find_on_hub('tiny'))"
    variables = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home")}
    for origin in ("hub, revision", "hub cache, revision"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | variables, cwd=pytestconfig.rootpath, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.startswith(origin)
        assert str(tmp_path / "home") in done.stdout
        assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["silent", "silent files", "broken files"])
def test_no_wait_is_longer_than_ten_seconds_and_nothing_is_lost(server, monkeypatch, fault):
    monkeypatch.setattr(base_model, "PATIENCE", 5.0)
    server.fault = fault
    started = time.monotonic()
    with pytest.raises(UnavailableError, match=r"does not answer|the download (broke off|brought nothing for 8 s)"):
        base_model.find_on_hub("tiny")
    assert 4 < time.monotonic() - started < 12  # broken files move the download on for some seconds
    server.fault = ""
    assert load_trunk(base_model.find_on_hub("tiny")[1]).depth == 3
