"""What the serving image installs is what serving imports, and torch is not among it."""

import ast
import importlib.metadata
import re
import sys
from pathlib import Path

import pytest

import spamctl
from spamctl.deploy import requirements
from spamctl.errors import UsageError

PACKAGE = Path(spamctl.__file__).parent
TREES = {
    ".".join(("spamctl", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): ast.parse(
        path.read_text(encoding="utf-8")
    )
    for path in PACKAGE.rglob("*.py")
}
NEVER_IMPORTED = {"psycopg[binary]"}  # SQLAlchemy reaches PostgreSQL through it
TRAINING = {"torch", "transformers", "peft", "nncf", "onnx", "onnxscript", "evidently", "cleanlab", "gguf"}


def imported(tree):
    """Yield every module that a tree imports, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            wholes = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (whole if whole in TREES else node.module for whole in wholes)


def libraries_of_serving():
    """Return the libraries that come with serving, whatever of it is called."""
    waiting = [name for name in TREES if name.startswith("spamctl.serving")] + ["spamctl.flows.serve"]
    waiting += ["spamctl.cli.serve"]
    seen, libraries = set(), set()
    while waiting:
        if (name := waiting.pop()) not in seen:
            seen.add(name)
            found = set(imported(TREES[name]))
            waiting += found & TREES.keys()
            libraries |= {other.partition(".")[0] for other in found - TREES.keys()}
    return libraries - sys.stdlib_module_names - {"spamctl"}


def test_serving_asks_for_what_it_imports_and_for_nothing_else():
    providers = importlib.metadata.packages_distributions()
    asked = {requirements.canonical(name.partition("[")[0]): name for name in requirements.SERVING}
    offers = [{requirements.canonical(one) for one in providers[library]} for library in libraries_of_serving()]
    wanted = {asked.get(min(offer & asked.keys() or offer), min(offer)) for offer in offers}
    assert wanted == set(requirements.SERVING) - NEVER_IMPORTED


def test_pyproject_has_the_same_group(pyproject):
    group = pyproject["dependency-groups"]["serving"]
    assert [re.match(r"[\w.\[\]-]+", line)[0] for line in group] == list(requirements.SERVING)
    assert set(group) <= {re.sub(r"\s+;", ";", line) for line in pyproject["project"]["dependencies"]}


def test_the_serving_image_holds_no_torch():
    pinned = dict(line.split("==") for line in requirements.serving_lock())
    assert TRAINING.isdisjoint(pinned)
    assert {"mlflow", "onnxruntime", "openvino", "sqlalchemy", "psycopg-binary", "alembic"} <= pinned.keys()
    assert pinned["mlflow"] == importlib.metadata.version("mlflow")


def test_the_image_of_the_flows_holds_all_of_it_by_public_versions():
    pinned = dict(line.split("==") for line in requirements.jobs_lock())
    serving = dict(line.split("==") for line in requirements.serving_lock())
    assert pinned.keys() >= TRAINING | serving.keys()
    assert all(pinned[name] == version for name, version in serving.items())
    assert not [version for version in pinned.values() if "+" in version]


def test_what_is_not_installed_is_named():
    with pytest.raises(UsageError, match=r"the package no-such-package-at-all is not installed: run spamctl deploy"):
        requirements.pinned(["mlflow", "no-such-package-at-all"])
