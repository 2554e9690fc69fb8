"""Read the live tree once, for the tests that sweep over it."""

import ast
import subprocess
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(eq=False)
class Module:
    name: str
    path: Path
    text: str

    @property
    def room(self):
        """Name the package it stands in: `model` for spamctl.metrics.scores, and `errors` for spamctl.errors."""
        return [*self.name.split("."), ""][1]

    @cached_property
    def tree(self):
        return ast.parse(self.text)

    @cached_property
    def lines(self):
        return self.text.splitlines()

    def functions(self):
        """Yield every function and method with the name one would look for."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{self.name}.{node.name}", node


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def modules():
    """Return every module of the package, by its dotted name."""
    found = {}
    for path in sorted((ROOT / "spamctl").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = Module(name, path, path.read_text(encoding="utf-8"))
    assert {"spamctl", "spamctl.errors", "spamctl.schema.message"} <= found.keys()
    return found


@pytest.fixture(scope="session")
def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def tracked():
    """Return the files that git knows, or that it would take."""
    words = ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    return [path for name in listed if name and (path := ROOT / name).is_file()]
