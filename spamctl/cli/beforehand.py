"""Check within a moment, before a flow is started, that its files, its store and its model exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from spamctl.config.options import Options
from spamctl.errors import OptionsError
from spamctl.sqlite_url import file_of

if TYPE_CHECKING:
    from rich.console import Console

WORDS = {"none", "sms-spam", "everyday"}  # which are no paths
FILES = ("dataset", "good", "spam", "replay", "labels", "token_file", "must_deliver", "must_catch")
# Verbs that read a store which another has made, by the option that names it.
STORES = {"label": "target_uri", "monitor": "datastore_uri", "train": "feedback", "recalibrate": "feedback"}
VERSIONED = ("serve", "monitor", "recalibrate")


def look(options: Options, variables: Mapping[str, str], console: Console) -> None:
    """Look for what the options name; tell what has changed by itself.

    Raises OptionsError for what is not there, as the flow would after seconds, and leaves no file behind for it.
    """
    if faults := [*_missing_files(options), *_missing_stores(options)]:
        raise OptionsError(faults)
    if not hasattr(options, "model_name") and not hasattr(options, "experiment"):
        return
    from spamctl.reports.escape import visible
    from spamctl.serving import beforehand

    told = beforehand.look(
        variables,
        model=getattr(options, "model_name", ""),
        version=getattr(options, "model_version", "") if options.verb in VERSIONED else "",
        experiment=getattr(options, "experiment", ""),
    )
    if told:
        console.print(f"warning: {visible(told)}", style="bold yellow", markup=False, soft_wrap=True)


def _missing_files(options: Options) -> Iterator[str]:
    values = options.items()
    for option in options.declared():
        path = str(values[option.name])
        if option.name in FILES and path not in WORDS and "," not in path and not _is_there(path):
            yield f"{option.flag} {path} does not exist: correct the path"
    model = str(values.get("base_model", ""))
    if (model.startswith(("/", "./", "../", "~")) or model.endswith(".gguf")) and not _is_there(model):
        yield f"--base-model {model}: no such file or folder; correct the path"


def _missing_stores(options: Options) -> Iterator[str]:
    name = STORES.get(options.verb, "")
    address = str(options.items().get(name, "none"))
    file = file_of(address) if "://" in address else Path(address)
    if address != "none" and address.strip() and file is not None and not _is_there(str(file)):
        yield f"{file}: there is no store yet: spamctl serve makes it, or correct the address"


def _is_there(path: str) -> bool:
    """Return whether a path exists; one that cannot be checked is left to its reader."""
    try:
        return Path(path).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return True
