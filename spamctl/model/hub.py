"""Find a model in the cache of a Hugging Face hub, or on the hub itself, with bounded waiting."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from http import HTTPStatus
from pathlib import Path

import httpx

from spamctl.errors import DataError, UnavailableError

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


def find(name: str) -> tuple[str, Path]:
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
