"""Record the succession of champions, and roll back to an earlier one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spamctl.errors import UsageError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER = "champion", "challenger"
TAG = "spamctl.champions"
NAME = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,100}")  # of a model: neither a filter nor a path means anything else by it
_MOST = 100  # of a list that MLflow keeps as one tag of at most 5,000 characters


@dataclass(frozen=True, slots=True)
class Change:
    """The previous champion and the present one."""

    before: str
    after: str


def crown(client: MlflowClient, name: str, version: str) -> None:
    """Make a version the champion of the registered model `name`, and append it to the history."""
    _lead(client, name, version, [*champions(client, name), version])


def champions(client: MlflowClient, name: str) -> list[str]:
    """Return the versions that led, the present champion last; an alias that was moved by other means counts."""
    model = client.get_registered_model(name)
    known: list[str] = json.loads(model.tags.get(TAG, "[]"))
    now = model.aliases.get(CHAMPION)
    return known if now is None or known[-1:] == [str(now)] else [*known, str(now)]


def roll_back(client: MlflowClient, name: str, to: str = "") -> Change:
    """Make the champion before the present one, or the version `to`, champion again.

    A further call goes back one more. Raises UsageError, with nothing changed, if there is nothing to go back to.
    """
    from mlflow.exceptions import MlflowException

    try:
        led = champions(client, name)
    except MlflowException:
        raise UsageError(f"--model-name {name}: no model of this name is registered here; type spamctl train") from None
    there = {str(version.version) for version in versions_of(client, name)}
    if to and to not in there:
        known = ", ".join(sorted(there, key=int)[-10:])
        raise UsageError(f"--to {to}: {name} has no such version; there are {known}")
    now = led[-1] if led else ""
    if to == now and to:
        raise UsageError(f"--to {to}: version {to} of {name} is the champion already")
    earlier = [version for version in led if version != now and version in there]
    if not (to or earlier):
        raise UsageError(
            f"there is no champion of {name} before version {now or '(none)'}; name a version with --to VERSION"
        )
    after = to or earlier[-1]
    # What was taken back is no champion to return to; what was chosen by its number is one more step.
    history = [*led, to] if to else led[: len(led) - led[::-1].index(after)]
    _lead(client, name, after, history)
    return Change(now, after)


def versions_of(client: MlflowClient, name: str) -> list[ModelVersion]:
    """Return every version of the registered model `name`.

    MLflow's filters are text without parameters, and a quote would end the name in it: what is no name has no version.
    """
    return list(client.search_model_versions(f"name = '{name}'")) if NAME.fullmatch(name) else []


def _lead(client: MlflowClient, name: str, version: str, history: list[str]) -> None:
    """Move the alias, then write the history: if interrupted in between, `champions` completes it."""
    client.set_registered_model_alias(name, CHAMPION, version)
    client.set_registered_model_tag(name, TAG, json.dumps(history[-_MOST:]))
