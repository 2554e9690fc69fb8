"""Read a registry in a SQLite file without MLflow: its versions, and the succession of champions."""

from __future__ import annotations

import json
import logging
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from spamctl.errors import ArtefactError, UnavailableError, UsageError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

# Record the succession of champions, and roll back to an earlier one.

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


LATEST = "latest"
ALIASES = (CHAMPION, CHALLENGER)
PATIENCE = 5.0  # seconds
ARTEFACTS = "mlruns"
# Where MLflow keeps the absolute places of artefacts, by table: how to read each row's key, its place and whether
# `:experiment` is about to write there, and how to write a place. No statement is put together from parts.
PLACES = {
    "experiments": (
        "SELECT experiment_id, artifact_location, name = :experiment FROM experiments WHERE artifact_location != ''",
        "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?",
    ),
    "runs": (
        (
            "SELECT run_uuid, artifact_uri, status != 'FINISHED' AND experiment_id IN "
            "(SELECT experiment_id FROM experiments WHERE name = :experiment) FROM runs WHERE artifact_uri != ''"
        ),
        "UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?",
    ),
    "logged_models": (
        "SELECT model_id, artifact_location, 0 FROM logged_models WHERE artifact_location != ''",
        "UPDATE logged_models SET artifact_location = ? WHERE model_id = ?",
    ),
    "model_versions": (
        "SELECT rowid, storage_location, 0 FROM model_versions WHERE storage_location != ''",
        "UPDATE model_versions SET storage_location = ? WHERE rowid = ?",
    ),
}
MOVE = "bring that folder back, or lay the mlruns that was beside mlflow.db beside it again"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ArtifactLocation:
    """A location recorded by a registry, in the row `key` of `table`."""

    table: str
    key: object
    told: str
    is_written: bool = False  # something is about to be written there

    @property
    def path(self) -> Path | None:
        """Return the place as a path of this machine; None if it is none."""
        return local_path(self.told)

    def beside(self, home: Path) -> Path | None:
        """Return where the same lies beside a registry in the folder `home`; None if it is no place of our kind."""
        parts = self.path.parts if self.path else ()
        if ARTEFACTS not in parts:
            return None
        last = len(parts) - 1 - parts[::-1].index(ARTEFACTS)
        return home.joinpath(*parts[last:])


def local_path(place: str) -> Path | None:
    """Return the path that a place of MLflow's means, such as `file:///runs/spam`; None if it is on no disk here."""
    parts = urlsplit(place)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    return Path(place) if place.startswith("/") else None


def adopt(file: Path, experiment: str = "") -> str:
    """Point a moved or copied registry at the artefacts beside it; return a note about that, or an empty string.

    MLflow keeps absolute places. In a copy they lead into the original, where a training would then write: what lies
    beside the copy is meant from now on, and what is new in `experiment` goes there. What lies in the original alone is
    read there. Raises UnavailableError if the file cannot be read or written now.
    """
    if not file.is_file():
        return ""
    with _opened(file, "ro") as database:
        if not _moved(database, experiment, file.parent):
            return ""
    with _opened(file, "rw") as database:
        database.execute("BEGIN IMMEDIATE")
        moved = _moved(database, experiment, file.parent)  # another process may have been first
        for place, there in moved:
            told = there.as_uri() if place.told.startswith("file:") else str(there)
            database.execute(PLACES[place.table][1], (told, place.key))
        database.execute("COMMIT")
    before = sorted({str(place.path).removesuffix(f"/{there.relative_to(file.parent)}") for place, there in moved})
    said = f"this folder was moved or copied from {', '.join(before)}: {file.name} now means the {ARTEFACTS} beside it"
    logger.warning("%s", said)
    return said if moved else ""


def require_there(place: str, what: str) -> None:
    """Raise ArtefactError if a place that a registry names is one of this machine, and nothing is there."""
    path = local_path(place)
    if path and not path.exists():
        raise ArtefactError(
            f"{what}: the registry expects its files in {path}, and they are not there; "
            f"the folder seems to have been moved: {MOVE}"
        )


def require_version(file: Path, name: str, wanted: str) -> None:
    """Raise UsageError, before anything is started, if a registry holds no such version.

    Raises UnavailableError if the file cannot be read now.
    """
    aliases, numbers = _versions(file, name)
    there = {*aliases, *numbers, *([LATEST] if numbers else [])}
    if wanted not in there:
        raise no_version(name, wanted, numbers)


def no_version(name: str, wanted: str, numbers: Iterable[str]) -> UsageError:
    """Describe which versions exist instead of the requested one."""
    known = sorted(map(int, numbers))
    if not known:
        return UsageError(f"--model-name {name}: no model of this name is registered here; type spamctl train first")
    what = f"has no {wanted}" if wanted in ALIASES else f"has no version {wanted}"
    there = ", ".join(map(str, known[-10:]))
    return UsageError(f"--model-version {wanted}: {name} {what}; there are the versions {there}, or type spamctl train")


def _versions(file: Path, name: str) -> tuple[set[str], list[str]]:
    """Return the aliases of a registered model, and the numbers of its versions."""
    if not file.is_file():
        return set(), []
    with _opened(file, "ro") as database:
        if not _has(database, "model_versions"):
            return set(), []
        aliases = database.execute("SELECT alias FROM registered_model_aliases WHERE name = ?", (name,))
        numbers = database.execute(
            "SELECT version FROM model_versions WHERE name = ? AND current_stage != 'Deleted_Internal'", (name,)
        )
        return {alias for (alias,) in aliases}, [str(number) for (number,) in numbers]


@contextmanager
def _opened(file: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """Open a registry's file; what SQLite cannot do now is told in one line."""
    try:
        source = f"{file.absolute().as_uri()}?mode={mode}"
        with closing(sqlite3.connect(source, uri=True, timeout=PATIENCE, isolation_level=None)) as database:
            yield database
    except sqlite3.Error as error:
        raise UnavailableError(f"MLflow's registry {file}: {error}; try again, or name another") from error


def _has(database: sqlite3.Connection, table: str) -> bool:
    return bool(database.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone())


def _places(database: sqlite3.Connection, experiment: str) -> Iterator[ArtifactLocation]:
    """Yield every place that a registry names; what `experiment` writes next goes to its own and to its open runs'."""
    for table, (read, _) in PLACES.items():
        if _has(database, table):
            for found, told, is_written in database.execute(read, {"experiment": experiment}):
                yield ArtifactLocation(table, found, told, bool(is_written))


def _moved(database: sqlite3.Connection, experiment: str, home: Path) -> list[tuple[ArtifactLocation, Path]]:
    """Return which places lead elsewhere and should not, each with the one beside the registry."""
    places = _places(database, experiment)
    return [(place, there) for place in places if (there := place.beside(home)) and _should_move(place, there)]


def _should_move(place: ArtifactLocation, there: Path) -> bool:
    """Return whether a location belongs beside the registry: it lies there, will be written to, or is missing."""
    here = place.path
    if here is None or here == there or _same_folder(here, there):
        return False
    if there.exists() or place.is_written:
        return True
    return place.table in {"runs", "experiments"} and not here.exists() and _root(there).is_dir()


def _root(place: Path) -> Path:
    """Return the folder of all artefacts that a place lies in."""
    return next(folder for folder in place.parents if folder.name == ARTEFACTS)


def _same_folder(one: Path, other: Path) -> bool:
    """Return whether the folders of all artefacts have one parent folder, reached by two names."""
    first, second = _root(one).parent, _root(other).parent
    return first.exists() and second.exists() and first.samefile(second)
